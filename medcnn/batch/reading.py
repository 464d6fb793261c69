"""Scans read and prepared in threads ahead of the network; few at a time: memory follows the case, not the folder.

What a scan is prepared into is the model's affair: Prepared is what a reader's `prepare` makes of it.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Generic, TypeVar

from medcnn.batch.cases import Case
from medcnn.batch.outcome import Asked
from medcnn.errors import DataError, UserError
from medcnn.io.options import Reading
from medcnn.io.read import read_scan, source_files
from medcnn.scan import Reason, Rejection, Scan, ScanRejected

Prepared = TypeVar("Prepared")

READERS = min(4, os.cpu_count() or 1)

Mark = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Read(Generic[Prepared]):
    """One case as far as it comes without a network.

    prepared   None where it was answered before (is_done) or cannot be used (rejection)
    """

    asked: Asked
    input_sha256: str
    seconds: float
    prepared: Prepared | None = None
    rejection: Rejection | None = None
    is_done: bool = False

    @property
    def case(self) -> Case:
        """The one asked about."""
        return self.asked.case


class Reader(Generic[Prepared]):
    """Hashes, reads and prepares the cases of one root.

    spatial_dims  of the scans that the model takes; others are rejected
    is_done       whether a case with this content was answered before, and its output is still whole
    require_memory  raises ScanRejected for a reference that would take more than there is; asked before it is read
    """

    def __init__(
        self,
        root: Path,
        reading: Reading,
        spatial_dims: int,
        prepare: Callable[[Scan], Prepared],
        is_done: Callable[[Asked, str], bool],
        require_memory: Callable[[str], None] = lambda reference: None,
    ) -> None:
        self.root, self.reading, self.spatial_dims = root, reading, spatial_dims
        self._prepare, self._is_done, self._require_memory = prepare, is_done, require_memory

    def all(self, cases: Iterable[Asked]) -> Generator[Read[Prepared]]:
        """In the order of the cases. Closing the iterator waits for the reads in hand only."""
        waiting: deque[Future[Read[Prepared]]] = deque()
        pool = ThreadPoolExecutor(READERS, thread_name_prefix="medcnn-read")
        try:
            for case in cases:
                waiting.append(pool.submit(self.one, case))
                if len(waiting) > 2 * READERS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def one_ahead(self, cases: Iterable[Asked], may_be_joined: Callable[[Prepared], bool]) -> Generator[Read[Prepared]]:
        """In the order of the cases, the next being read while one is used, where may_be_joined says that memory lets
        it. Nothing is kept here of what was handed out.
        """
        coming = iter(cases)
        pool = ThreadPoolExecutor(1, thread_name_prefix="medcnn-read")
        next_one: Future[Read[Prepared]] | None = None
        try:
            while True:
                if next_one is None:
                    case = next(coming, None)
                    if case is None:
                        return
                    next_one = pool.submit(self.one, case)
                hand = [next_one.result()]
                next_one = None
                prepared = hand[0].prepared
                if prepared is None or may_be_joined(prepared):
                    case = next(coming, None)
                    next_one = pool.submit(self.one, case) if case is not None else None
                    if case is None:
                        coming = iter(())
                del prepared
                yield hand.pop()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def one(self, asked: Asked) -> Read[Prepared]:
        """Never raises: what goes wrong with one case ends as its rejection."""
        case = asked.case
        began = time.perf_counter()
        digest = ""
        try:
            files = _files(self.root, case)
            marks = [_mark(path) for path in files]
            digest = _asked_digest(_content_digest(files, marks), case)
            if self._is_done(asked, digest):
                return Read(asked, digest, time.perf_counter() - began, is_done=True)
            if case.rejection is not None:
                return Read(asked, digest, time.perf_counter() - began, rejection=case.rejection)
            prepared = self._prepared(case)
            _require_unchanged(files, marks)
            return Read(asked, digest, time.perf_counter() - began, prepared)
        except Exception as error:
            return Read(asked, digest, time.perf_counter() - began, rejection=as_rejection(error, case.rejection))

    def _prepared(self, case: Case) -> Prepared:
        self._require_memory(case.reference)
        scan = read_scan(self.root, case.reference, self.reading)
        _require_same_kind(scan, self.spatial_dims)
        return self._prepare(scan)


def as_rejection(error: Exception, known: Rejection | None = None) -> Rejection:
    """What one case's exception is called; the header's own rejection comes first."""
    if known is not None:
        return known
    match error:
        case ScanRejected():
            return error.rejection
        case DataError():
            return Rejection(Reason.DTYPE, str(error), "Give scans like those the model was trained on")
        case MemoryError():
            return Rejection(Reason.MEMORY, "there is not enough memory for this scan", "Give the process more memory")
        case OSError():
            return Rejection(
                Reason.READ_ERROR,
                f"the file cannot be read ({type(error).__name__})",
                "Check the disk and that you may read the file",
            )
    return Rejection(Reason.INTERNAL, f"unforeseen {type(error).__name__}", "Report this as a bug in medcnn")


def failure(error: Exception) -> Rejection:
    """What went wrong with one case while the network was asked."""
    import torch

    too_small = isinstance(error, UserError) and not isinstance(error, DataError)  # a device that holds not one tile
    if too_small or isinstance(error, torch.OutOfMemoryError):
        return Rejection(
            Reason.MEMORY, "the device has too little memory for this scan", "Set inference.accelerator=cpu"
        )
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):  # as torch says it on a CPU
        return as_rejection(MemoryError())
    return as_rejection(error)


def _files(root: Path, case: Case) -> list[Path]:
    if case.rejection is None:
        return source_files(root, case.reference)
    path = root / case.reference
    return [path] if path.is_file() else []


def _mark(path: Path) -> Mark:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _content_digest(files: Sequence[Path], marks: Sequence[Mark]) -> str:
    digests = [_file_digest(path, mark) for path, mark in zip(files, marks, strict=True)]
    return sha256(b"".join(digests)).hexdigest() if digests else ""


def _asked_digest(of_files: str, case: Case) -> str:
    """Of all that is asked about: where covariates change, the answer does."""
    if not (of_files and case.covariates):
        return of_files
    return sha256(f"{of_files} {sorted(case.covariates.items())}".encode()).hexdigest()


@lru_cache(maxsize=8)  # an archive holds thousands of cases; other files are hashed once anyway
def _file_digest(path: Path, mark: Mark) -> bytes:
    digest = sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.digest()


def _require_unchanged(files: Sequence[Path], marks: Sequence[Mark]) -> None:
    if [_mark(path) for path in files] != list(marks):
        raise ScanRejected(
            Reason.INPUT_CHANGED,
            "the file changed while it was read",
            "Let the copying end, then run the command again",
        )


def _require_same_kind(scan: Scan, wanted: int) -> None:
    if scan.spatial_dims != wanted:
        kinds = {2: "a picture", 3: "a volume"}
        raise ScanRejected(
            Reason.GEOMETRY_MISMATCH,
            f"this scan is {kinds.get(scan.spatial_dims, 'of unknown shape')} and the model takes {kinds[wanted]}",
            f"Leave it out, or use a model for {'volumes' if wanted == 2 else 'pictures'}",
        )
