"""Reading ahead is bounded, in order, and ends when it is not wanted any more."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from folders import write_png

from medcnn.batch import reading
from medcnn.batch.cases import Case, list_cases
from medcnn.batch.folder import batches
from medcnn.batch.reading import READERS, Reader
from medcnn.data.privacy import Keyring
from medcnn.io.options import Reading
from medcnn.scan import Reason, Rejection
from medcnn.transforms.preprocessing import Preprocessing

STEPS = Preprocessing((16, 16), (), True, "percentiles", 0.5, 99.5, Reading(), 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(30):
        write_png(tmp_path / f"{number:02}.png", number)
    return tmp_path


def listed(folder: Path) -> list[Case]:
    return list_cases(folder, Keyring(b"k" * 32)).cases


def test_in_order_and_few_ahead(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    real = reading.read_scan

    def counting(root: Path, reference: str, choices: Reading) -> object:
        begun.append(reference)
        return real(root, reference, choices)

    monkeypatch.setattr(reading, "read_scan", counting)
    reads = Reader(folder, STEPS, lambda case, digest: False, with_views=False).all(listed(folder))
    got = []
    for number, read in enumerate(reads, start=1):
        got.append(read.case.reference)
        assert read.entry is not None
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
    reads = Reader(folder, STEPS, lambda case, digest: False, with_views=False).all(listed(folder))
    next(reads)
    reads.close()
    assert len(begun) <= 3 * READERS + 2 < 30
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("medcnn-read")]


def test_content_decides_the_hash(folder: Path) -> None:
    reader = Reader(folder, STEPS, lambda case, digest: False, with_views=False)
    first, *_, last = (reader.one(case).input_sha256 for case in listed(folder))
    assert len(first) == 64
    assert first != last
    write_png(folder / "00.png", 29)
    assert reader.one(listed(folder)[0]).input_sha256 == last


def test_what_vanished_is_a_rejection(folder: Path) -> None:
    reader = Reader(folder, STEPS, lambda case, digest: False, with_views=False)
    read = reader.one(Case("c", "gone.png"))
    assert read.rejection is not None
    assert (read.rejection.code, read.input_sha256) == (Reason.READ_ERROR, "")


def test_the_headers_own_rejection_stands(folder: Path) -> None:
    known = Rejection(Reason.META_INVALID, "x", "y")
    read = Reader(folder, STEPS, lambda case, digest: False, with_views=False).one(Case("c", "00.png", known))
    assert read.rejection is known
    assert len(read.input_sha256) == 64


def test_batches_hold_so_many_questions(folder: Path) -> None:
    reader = Reader(folder, STEPS, lambda case, digest: case.reference < "10", with_views=False)
    sizes = [sum(not read.is_done for read in batch) for batch in batches(reader.all(listed(folder)), 8)]
    assert sum(sizes) == 20
    assert max(sizes) == 8
