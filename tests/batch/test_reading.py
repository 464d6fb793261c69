"""Reading ahead is bounded, in order, and ends when it is not wanted any more."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from folders import write_png

from medcnn.batch import reading
from medcnn.batch.answers import Shown
from medcnn.batch.cases import Case, list_cases
from medcnn.batch.classifying import batches
from medcnn.batch.masks import Grid
from medcnn.batch.outcome import Asked
from medcnn.batch.reading import READERS, Reader
from medcnn.data.prepared import prepared_entry
from medcnn.data.privacy import Keyring
from medcnn.io.options import Reading
from medcnn.scan import Reason, Rejection, Scan
from medcnn.transforms.preprocessing import Preprocessing

STEPS = Preprocessing((16, 16), (), True, "percentiles", 0.5, 99.5, Reading(), 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(30):
        write_png(tmp_path / f"{number:02}.png", number)
    return tmp_path


def listed(folder: Path) -> list[Asked]:
    return [Asked(case, case.reference) for case in list_cases(folder, Keyring(b"k" * 32)).cases]


def reader(folder: Path, is_done: Callable[[Asked, str], bool]) -> Reader[Shown]:
    def prepare(scan: Scan) -> Shown:
        return Shown(prepared_entry(scan, STEPS), None, Grid(scan.voxels.shape[1:], None, None))

    return Reader(folder, STEPS.reading, 2, prepare, is_done)


def test_in_order_and_few_ahead(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    real = reading.read_scan

    def counting(root: Path, reference: str, choices: Reading) -> object:
        begun.append(reference)
        return real(root, reference, choices)

    monkeypatch.setattr(reading, "read_scan", counting)
    reads = reader(folder, lambda case, digest: False).all(listed(folder))
    got = []
    for number, read in enumerate(reads, start=1):
        got.append(read.case.reference)
        assert read.prepared is not None
        assert len(begun) <= number + 2 * READERS + 1
    assert got == [f"{number:02}.png" for number in range(30)]


def test_closing_leaves_the_rest_unread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    real = reading.read_scan

    def slow(root: Path, reference: str, choices: Reading) -> object:
        begun.append(reference)
        time.sleep(0.02)
        return real(root, reference, choices)

    monkeypatch.setattr(reading, "read_scan", slow)
    reads = reader(folder, lambda case, digest: False).all(listed(folder))
    next(reads)
    reads.close()
    assert len(begun) <= 3 * READERS + 2 < 30
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("medcnn-read")]


def test_content_decides_the_hash(folder: Path) -> None:
    one = reader(folder, lambda case, digest: False).one
    first, *_, last = (one(case).input_sha256 for case in listed(folder))
    assert len(first) == 64
    assert first != last
    write_png(folder / "00.png", 29)
    assert one(listed(folder)[0]).input_sha256 == last


def test_what_vanished_is_a_rejection(folder: Path) -> None:
    one = reader(folder, lambda case, digest: False).one
    read = one(Asked(Case("c", "gone.png"), "gone"))
    assert read.rejection is not None
    assert (read.rejection.code, read.input_sha256) == (Reason.READ_ERROR, "")


def test_the_headers_own_rejection_stands(folder: Path) -> None:
    known = Rejection(Reason.META_INVALID, "x", "y")
    read = reader(folder, lambda case, digest: False).one(Asked(Case("c", "00.png", known), "00"))
    assert read.rejection is known
    assert len(read.input_sha256) == 64


def test_batches_hold_so_many_questions(folder: Path) -> None:
    reads = reader(folder, lambda asked, digest: asked.case.reference < "10").all(listed(folder))
    sizes = [sum(not read.is_done for read in batch) for batch in batches(reads, 8)]
    assert sum(sizes) == 20
    assert max(sizes) == 8


@pytest.mark.parametrize("joined", [True, False])
def test_one_ahead_at_most_and_none_where_memory_forbids(
    folder: Path, monkeypatch: pytest.MonkeyPatch, joined: bool
) -> None:
    begun: list[str] = []
    real = reading.read_scan

    def counting(root: Path, reference: str, choices: Reading) -> object:
        begun.append(reference)
        return real(root, reference, choices)

    monkeypatch.setattr(reading, "read_scan", counting)
    reads = reader(folder, lambda case, digest: False).one_ahead(listed(folder), lambda prepared: joined)
    got = []
    for number, read in enumerate(reads, start=1):
        got.append(read.case.reference)
        time.sleep(0.01)
        assert number <= len(begun) <= number + joined
    assert got == [f"{number:02}.png" for number in range(30)]


def test_what_was_handed_out_is_not_kept(folder: Path) -> None:
    reads = reader(folder, lambda case, digest: False).one_ahead(listed(folder), lambda prepared: False)
    for read in reads:
        assert read.prepared is not None
        gone = weakref.ref(read.prepared)
        del read
        assert gone() is None
        break
    reads.close()
