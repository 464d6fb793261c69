"""Prepared scans on disk: found by what they were made from and how, never believed when damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medcnn.data import cache as cache_module
from medcnn.data.cache import Cache, Entry, Facts

STEPS = {"size_px": [8, 8], "scale": "percentiles"}


@pytest.fixture
def widest_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "run" / ".medcnn" / "cache")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.dcm"
    path.write_bytes(b"pixels of one kind")
    return path


def entry(value: float = 1.0) -> Entry:
    facts = Facts("0f" * 32, constant=False, low=-1.5, high=2.5, modality="CR", body_part="CHEST", shape=(1, 4, 5),
                  spacing_mm=(0.2, 0.3), flags={"view_position": "PA"})  # fmt: skip
    return Entry(np.full((1, 4, 5), value, np.float32) + np.arange(5, dtype=np.float32), facts)


# What it gives back


def test_an_entry_comes_back_as_it_was(cache: Cache) -> None:
    cache.write("ab" * 32, entry())
    found = cache.read("ab" * 32)
    assert found is not None
    assert np.array_equal(found.image, entry().image)
    assert found.image.dtype == np.float32
    assert found.facts == entry().facts
    assert cache.read("cd" * 32) is None


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 2, 2), (2, 5, 7)])
def test_any_shape(cache: Cache, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    cache.write("k" * 64, Entry(np.asfortranarray(image), entry().facts))
    found = cache.read("k" * 64)
    assert found is not None
    assert np.array_equal(found.image, image)


# What an entry is found by


def test_the_same_content_and_steps_are_the_same_key(cache: Cache, scan: Path, tmp_path: Path) -> None:
    first = cache.key([scan], [""], STEPS)
    copy = Path(shutil.copy(scan, tmp_path / "elsewhere.dcm"))
    assert cache.key([copy], [""], STEPS) == first
    assert cache.key([scan], [""], dict(reversed(STEPS.items()))) == first
    assert Cache(tmp_path / "another").key([scan], [""], STEPS) == first


@pytest.mark.parametrize(
    ("places", "steps"),
    [(["row=train/1"], STEPS), (["frame=0"], STEPS), ([""], {**STEPS, "size_px": [8, 9]}),
     ([""], {**STEPS, "scale": "range"}), ([""], {**STEPS, "more": 1}), ([""], {**STEPS, "version": 2})],
)  # fmt: skip
def test_another_place_or_step_is_another_key(
    cache: Cache, scan: Path, places: list[str], steps: dict[str, Any]
) -> None:
    assert cache.key([scan], places, steps) != cache.key([scan], [""], STEPS)


def test_other_libraries_and_another_format_are_another_key(
    cache: Cache, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cache.key([scan], [""], STEPS)
    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "versions", lambda: {"monai": "99"})
        assert Cache(tmp_path / "c").key([scan], [""], STEPS) != first
    monkeypatch.setattr(cache_module, "FORMAT", cache_module.FORMAT + 1)
    assert cache.key([scan], [""], STEPS) != first


def test_the_order_of_channels_counts(cache: Cache, tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    assert cache.key([one, two], ["", ""], STEPS) != cache.key([two, one], ["", ""], STEPS)


def test_a_file_changed_behind_its_size_and_time_is_read_anew(cache: Cache, scan: Path) -> None:
    before, status = cache.key([scan], [""], STEPS), scan.stat()
    cache.remember()
    scan.write_bytes(b"pixels of two kind")
    os.utime(scan, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (scan.stat().st_size, scan.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert cache.key([scan], [""], STEPS) != before
    assert Cache(cache.folder).key([scan], [""], STEPS) != before


def test_a_file_changed_within_one_tick_of_the_clock_is_read_anew(
    cache: Cache, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size, times and inode all alike: only a file at rest may be remembered."""
    status = scan.stat()
    before = cache.key([scan], [""], STEPS)
    scan.write_bytes(b"pixels of two kind")
    monkeypatch.setattr(Path, "stat", lambda self, **options: status)
    assert cache.key([scan], [""], STEPS) != before


def test_a_file_at_rest_is_not_read_again(cache: Cache, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_SETTLED_NS", -1)  # all files are at rest
    first = cache.key([scan], [""], STEPS)
    cache.remember()
    again = Cache(cache.folder)
    monkeypatch.setattr(Path, "open", lambda *given, **options: pytest.fail("the file was read"))
    assert again.key([scan], [""], STEPS) == first


def test_the_cache_holds_no_paths(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_SETTLED_NS", -1)
    path = tmp_path / "canary^name.dcm"
    path.write_bytes(b"x")
    cache.write(cache.key([path], [""], STEPS), entry())
    cache.remember()
    files = [file for file in cache.folder.rglob("*") if file.is_file()]
    assert len(files) == 2
    assert all(
        b"canary" not in file.read_bytes() and "canary" not in str(file.relative_to(cache.folder)) for file in files
    )


@pytest.mark.parametrize("content", ["", "not json", "[]", '"text"', "null"])
def test_a_damaged_list_of_digests_is_forgotten(cache: Cache, scan: Path, content: str) -> None:
    first = cache.key([scan], [""], STEPS)
    cache.folder.mkdir(parents=True)
    (cache.folder / "files.json").write_text(content)
    assert Cache(cache.folder).key([scan], [""], STEPS) == first


# Damage


def test_an_entry_cut_anywhere_is_gone_and_never_believed(cache: Cache) -> None:
    cache.write("ab" * 32, entry())
    (path,) = cache.entries()
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert cache.read("ab" * 32) is None
        assert not path.exists()
    path.write_bytes(whole)
    assert cache.read("ab" * 32) is not None


def test_a_flipped_bit_anywhere_is_seen(cache: Cache) -> None:
    cache.write("ab" * 32, entry())
    (path,) = cache.entries()
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        assert cache.read("ab" * 32) is None


def test_bytes_that_were_appended_or_are_another_entrys(cache: Cache) -> None:
    cache.write("ab" * 32, entry())
    (path,) = cache.entries()
    path.write_bytes(path.read_bytes() + b"\0")
    assert cache.read("ab" * 32) is None


def test_a_damaged_entry_in_a_read_only_folder_is_not_believed_either(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write("ab" * 32, entry())
    (path,) = cache.entries()
    path.write_bytes(path.read_bytes()[:-1])
    monkeypatch.setattr(Path, "unlink", _failing(errno.EROFS))
    assert cache.read("ab" * 32) is None


def _failing(number: int) -> Any:
    def fail(*given: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_leaves_nothing(cache: Cache, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    cache.write("ab" * 32, entry(1))
    monkeypatch.setattr(Path, "replace", _failing(number))
    with pytest.raises(OSError, match=r"\[Errno"):
        cache.write("ab" * 32, entry(2))
    monkeypatch.undo()
    assert len(list(cache.entries())) == 1
    found = cache.read("ab" * 32)
    assert found is not None
    assert np.array_equal(found.image, entry(1).image)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_digests_that_cannot_be_kept_are_read_again_next_time(
    cache: Cache, scan: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(cache_module, "_SETTLED_NS", -1)
    cache.key([scan], [""], STEPS)
    monkeypatch.setattr(Path, "write_text", _failing(number))
    cache.remember()
    assert not (cache.folder / "files.json").exists()


# Room and rights


@pytest.mark.usefixtures("widest_umask")
def test_every_folder_and_entry_is_private(cache: Cache, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_SETTLED_NS", -1)
    cache.write(cache.key([scan], [""], STEPS), entry())
    cache.remember()
    for path in (cache.folder.parent, cache.folder, *cache.folder.glob("??")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    for path in cache.entries():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_oldest_go_when_there_is_no_room(cache: Cache) -> None:
    keys = [f"{number:02x}" * 32 for number in range(5)]
    for age, key in enumerate(keys):
        cache.write(key, entry())
        path = cache.folder / key[:2] / key
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    size = cache.size_bytes() // 5
    assert cache.shrink(3.5 * size) == 2
    assert [cache.read(key) is not None for key in keys] == [True, True, True, False, False]
    assert cache.shrink(3.5 * size) == 0


def test_what_a_crash_left_half_written_counts_and_goes(cache: Cache) -> None:
    cache.write("ab" * 32, entry())
    (cache.folder / "ab" / ".part-x").write_bytes(b"half")
    assert len(list(cache.entries())) == 2
    assert cache.clear() == 2
    assert cache.size_bytes() == 0


def test_another_process_may_shrink_it_too(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("ab" * 32, "cd" * 32):
        cache.write(key, entry())
    found = list(cache.entries())
    found[0].unlink()
    monkeypatch.setattr(Cache, "entries", lambda self: iter(found))
    assert cache.size_bytes() > 0
    assert cache.clear() == 1


def test_an_empty_cache_is_no_problem(cache: Cache) -> None:
    assert (cache.size_bytes(), cache.shrink(0), cache.clear()) == (0, 0, 0)
    cache.remember()


def test_entries_are_plain_json_and_numbers(cache: Cache) -> None:
    """Nothing in an entry can run: a header of JSON, then the image's bytes, then a SHA-256."""
    cache.write("ab" * 32, entry())
    (path,) = cache.entries()
    content = path.read_bytes()
    start = content.index(b"{")
    head = json.loads(content[start : content.index(b"}}", start) + 2] + b"}")
    assert head["shape"] == [1, 4, 5]
    assert head["facts"]["body_part"] == "CHEST"
    assert np.frombuffer(content[-32 - 80 : -32], np.float32).reshape(1, 4, 5).tolist() == entry().image.tolist()
