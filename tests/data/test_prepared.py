"""A whole data set ready for a network: cached, counted, from memory or from disk."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medcnn.config.transforms import IntensityConf, TransformsConf
from medcnn.data import prepared as prepared_module
from medcnn.data.cache import Cache
from medcnn.data.manifest import Case
from medcnn.data.prepared import Prepared, Preparer, prepared_entry
from medcnn.errors import DataError, NoSpaceError
from medcnn.geometry import Geometry
from medcnn.io.options import Reading
from medcnn.scan import Reason, Scan, ScanRejected
from medcnn.transforms.preprocessing import Preprocessing


def steps(num_channels: int = 1, size_px: tuple[int, ...] = (10, 12), scale: str = "range") -> Preprocessing:
    conf = TransformsConf(size_px=list(size_px), intensity=IntensityConf(scale=scale))
    return Preprocessing.of(conf, reading=Reading(), num_channels=num_channels)


def case(number: int, *references: str, split: str = "train") -> Case:
    names = [""] if len(references) == 1 else [f"ch{k}" for k in range(len(references))]
    return Case(f"c{number:02d}", dict(zip(names, references, strict=True)), {"": "x"}, f"p{number}", split)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "run" / ".medcnn" / "cache")


@pytest.fixture
def pictures(write_picture: Callable[..., str]) -> list[Case]:
    return [case(n, write_picture(f"{n}.png", seed=n)) for n in range(6)]


def everything(root: Path, cases: list[Case], cache: Cache, *, memory_bytes: float = 1e9, max_rejected: float = 0.0,
               preprocessing: Preprocessing | None = None) -> Prepared:  # fmt: skip
    preparer = Preparer(root, preprocessing or steps(), cache)
    return preparer.all(cases, memory_bytes=memory_bytes, max_rejected=max_rejected, report=lambda done, total: None)


def test_scans_come_in_the_order_asked_for(tmp_path: Path, pictures: list[Case], cache: Cache) -> None:
    from PIL import Image

    found = everything(tmp_path, pictures, cache)
    assert [c.case_id for c in found.cases] == [c.case_id for c in pictures]
    assert len(found) == len(found.images) == 6
    for n in (0, 3, 5):
        pixels = np.asarray(Image.open(tmp_path / f"{n}.png"), np.float32)
        np.testing.assert_allclose(found.images[[n]][0, 0], pixels / 127.5 - 1, atol=1e-5)
    assert found.images[[5, 0]].shape == (2, 1, 10, 12)
    assert found.images[[]].shape[0] == 0


def test_from_disk_is_as_from_memory(tmp_path: Path, pictures: list[Case], cache: Cache) -> None:
    in_memory = everything(tmp_path, pictures, cache)
    on_disk = everything(tmp_path, pictures, cache, memory_bytes=0)
    assert type(in_memory.images) is not type(on_disk.images)
    for chosen in ([0, 1, 2, 3, 4, 5], [4, 1], [3, 3]):
        assert np.array_equal(in_memory.images[chosen], on_disk.images[chosen])
    assert in_memory.facts == on_disk.facts


def test_a_part_is_a_view(tmp_path: Path, pictures: list[Case], cache: Cache) -> None:
    whole = everything(tmp_path, pictures, cache)
    part = whole.part(lambda c: c.case_id in ("c01", "c04", "c05"))
    assert len(part) == 3
    assert np.array_equal(part.images[[2, 0]], whole.images[[5, 1]])
    assert part.facts == [whole.facts[1], whole.facts[4], whole.facts[5]]
    smaller = part.part(lambda c: c.case_id == "c04")
    assert np.array_equal(smaller.images[[0]], whole.images[[4]])


def test_nothing_is_prepared_twice(
    tmp_path: Path, pictures: list[Case], cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = everything(tmp_path, pictures, cache)
    monkeypatch.setattr(prepared_module, "read_scan", lambda *a, **k: pytest.fail("it was read again"))
    again = everything(tmp_path, pictures, Cache(cache.folder))
    assert np.array_equal(first.images[[0, 5]], again.images[[0, 5]])
    assert first.facts == again.facts


def test_a_changed_step_never_reads_an_old_entry(tmp_path: Path, pictures: list[Case], cache: Cache) -> None:
    one = everything(tmp_path, pictures, cache)
    other = everything(tmp_path, pictures, cache, preprocessing=steps(scale="zscore"))
    smaller = everything(tmp_path, pictures, cache, preprocessing=steps(size_px=(8, 8)))
    assert not np.allclose(one.images[[0]], other.images[[0]])
    assert smaller.images[[0]].shape == (1, 1, 8, 8)
    assert len(list(cache.entries())) == 18


def test_a_changed_file_never_reads_an_old_entry(
    tmp_path: Path, pictures: list[Case], cache: Cache, write_picture: Callable[..., str]
) -> None:
    one = everything(tmp_path, pictures, cache)
    status = (tmp_path / "0.png").stat()
    write_picture("0.png", seed=100)
    os.utime(tmp_path / "0.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    other = everything(tmp_path, pictures, cache)
    assert not np.allclose(one.images[[0]], other.images[[0]])
    assert np.array_equal(one.images[[1]], other.images[[1]])


def test_rows_of_an_archive_are_cases_of_their_own(tmp_path: Path, cache: Cache) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 10, 12), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", train_images=pixels, train_labels=np.zeros((3, 1), np.uint8))
    rows = [case(n, f"set.npz#row=train/{n}") for n in range(3)]
    for _ in range(2):
        found = everything(tmp_path, rows, cache)
        np.testing.assert_allclose(found.images[[0, 1, 2]][:, 0], pixels / 127.5 - 1, atol=1e-5)


def test_a_damaged_entry_is_made_again(tmp_path: Path, pictures: list[Case], cache: Cache) -> None:
    first = everything(tmp_path, pictures, cache, memory_bytes=0)
    expected = first.images[[0, 1, 2, 3, 4, 5]]
    for number, path in enumerate(sorted(cache.entries())):
        content = path.read_bytes()
        path.write_bytes(content[: 7 * number] if number % 2 else content[:40] + b"!" + content[41:])
    assert np.array_equal(first.images[[0, 1, 2, 3, 4, 5]], expected)
    assert all(cache.read(path.name) is not None for path in cache.entries())
    assert np.array_equal(everything(tmp_path, pictures, cache).images[[0, 1, 2, 3, 4, 5]], expected)


# Scans that cannot be used


def test_rejections_are_counted_and_named(tmp_path: Path, pictures: list[Case], cache: Cache) -> None:
    (tmp_path / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (tmp_path / "4.png").unlink()
    found = everything(tmp_path, pictures, cache, max_rejected=0.34)
    assert [c.case_id for c in found.cases] == ["c00", "c01", "c03", "c05"]
    assert [c.case_id for c, _ in found.rejected] == ["c02", "c04"]
    assert len(found.images) == 4
    with pytest.raises(DataError) as caught:
        everything(tmp_path, pictures, cache, max_rejected=0.33)
    said = str(caught.value)
    assert "2 of 6 scans cannot be used, more than data.max_rejected=0.33" in said
    assert "c02: " in said
    assert "c04: READ_ERROR" in said


def test_none_may_be_bad_where_none_is_allowed(tmp_path: Path, pictures: list[Case], cache: Cache) -> None:
    (tmp_path / "2.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 of 6 scans"):
        everything(tmp_path, pictures, cache)


@pytest.mark.parametrize("reference", ["../outside.png", "/etc/passwd", "a/../../b.png", "C:\\x.png", ""])
def test_a_reference_stays_inside_the_root(tmp_path: Path, pictures: list[Case], cache: Cache, reference: str) -> None:
    found = everything(tmp_path, [*pictures, case(9, reference)], cache, max_rejected=1.0)
    ((_, rejection),) = found.rejected
    assert rejection.code is Reason.PATH_ESCAPE


def test_a_link_out_of_the_root_is_refused(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, pictures: list[Case], cache: Cache
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    outside.write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "link.png").symlink_to(outside)
    found = everything(tmp_path, [case(9, "link.png"), *pictures], cache, max_rejected=1.0)
    assert [r.code for _, r in found.rejected] == [Reason.PATH_ESCAPE]


def test_a_volume_among_pictures_stops_the_work(tmp_path: Path, pictures: list[Case], cache: Cache) -> None:
    np.savez(tmp_path / "set.npz", test_images=np.zeros((1, 8, 8, 8), np.uint8))
    with pytest.raises(DataError, match="is a volume and the network takes a picture"):
        everything(tmp_path, [*pictures, case(9, "set.npz#row=test/0")], cache)


def test_a_scan_that_goes_away_during_training_is_named(tmp_path: Path, pictures: list[Case], cache: Cache) -> None:
    found = everything(tmp_path, pictures, cache, memory_bytes=0)
    (tmp_path / "3.png").unlink()
    with pytest.raises(DataError, match="case c03 was readable before and is not now"):
        found.images[[3]]
    assert found.images[[2]].shape == (1, 1, 10, 12)


# A cache that cannot be written


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "OSError 30")])
def test_without_room_the_work_goes_on_with_one_warning(
    tmp_path: Path, pictures: list[Case], cache: Cache, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, number: int, words: str,
) -> None:  # fmt: skip
    expected = everything(tmp_path, pictures, Cache(tmp_path / "other"))

    def fail(*given: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("medcnn.data.cache.tempfile.mkstemp", fail)
    monkeypatch.setattr("medcnn.data.cache._SETTLED_NS", -1)
    monkeypatch.setattr(Path, "write_text", fail)
    logging.getLogger("medcnn").propagate = True
    with caplog.at_level(logging.WARNING, logger="medcnn"):
        found = everything(tmp_path, pictures, cache)
    assert np.array_equal(found.images[[0, 5]], expected.images[[0, 5]])
    warnings = [record.getMessage() for record in caplog.records if "cannot be kept" in record.getMessage()]
    assert len(warnings) == 1
    assert words in warnings[0]


def test_neither_memory_nor_disk_is_said(
    tmp_path: Path, pictures: list[Case], cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("medcnn.data.cache.tempfile.mkstemp", fail)
    with pytest.raises(NoSpaceError, match=r"fit neither data\.memory_gb nor the cache's disk"):
        everything(tmp_path, pictures, cache, memory_bytes=100)


# Channels and facts


def test_channels_become_one_scan(tmp_path: Path, write_picture: Callable[..., str], cache: Cache) -> None:
    two = case(0, write_picture("t1.png", seed=1), write_picture("t2.png", seed=2))
    found = everything(tmp_path, [two], cache, preprocessing=steps(num_channels=2))
    alone = everything(tmp_path, [case(1, "t2.png")], cache)
    assert found.images[[0]].shape == (1, 2, 10, 12)
    # channels of one case have no common range of a format: each is scaled by its own values
    assert np.corrcoef(found.images[[0]][0, 1].ravel(), alone.images[[0]][0, 0].ravel())[0, 1] > 0.9999


def test_channels_on_another_grid_are_a_mismatch(
    tmp_path: Path, write_picture: Callable[..., str], cache: Cache
) -> None:
    two = case(0, write_picture("t1.png"), write_picture("t2.png", size=(10, 13)))
    found = everything(tmp_path, [two], cache, preprocessing=steps(num_channels=2), max_rejected=1.0)
    assert found.rejected[0][1].code is Reason.GEOMETRY_MISMATCH


def test_volumes_of_one_shape_at_other_places_are_a_mismatch_too() -> None:
    moved = np.eye(4)
    moved[0, 3] = 0.2
    one, other = (Scan(np.zeros((1, 8, 8, 8), np.float32), Geometry(a, (8, 8, 8))) for a in (np.eye(4), moved))
    with pytest.raises(ScanRejected, match="GEOMETRY_MISMATCH"):
        prepared_module.joined([one, other])
    near = np.eye(4)
    near[0, 3] = 0.05
    joined = prepared_module.joined([one, Scan(one.voxels, Geometry(near, (8, 8, 8)))])
    assert joined.voxels.shape == (2, 8, 8, 8)


def test_facts_of_a_scan() -> None:
    values = np.arange(101, dtype=np.float32).reshape(1, 1, 101)
    scan = Scan(values, spacing_mm=(0.2, 0.3), modality="CR", body_part="CHEST", patient_id="canary", facts={"a": "b"})
    entry = prepared_entry(scan, steps(size_px=(1, 101)))
    assert (entry.facts.low, entry.facts.high, entry.facts.constant) == (1.0, 99.0, False)
    assert (entry.facts.modality, entry.facts.body_part, entry.facts.spacing_mm) == ("CR", "CHEST", (0.2, 0.3))
    assert entry.facts.flags == {"a": "b"}
    assert "canary" not in repr(entry.facts)


def test_pixels_name_the_picture_not_its_file() -> None:
    values = np.random.default_rng(0).random((1, 10, 12)).astype(np.float32)
    one = prepared_entry(Scan(values, modality="CR"), steps()).facts
    copy = prepared_entry(Scan(values.copy(order="F"), modality="DX"), steps(scale="zscore")).facts
    turned = prepared_entry(Scan(np.ascontiguousarray(values.reshape(1, 12, 10))), steps(size_px=(12, 10))).facts
    assert one.pixels == copy.pixels
    assert one.pixels != turned.pixels
    assert prepared_entry(Scan(np.full((1, 10, 12), 7, np.float32)), steps()).facts.constant
