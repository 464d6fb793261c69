"""A whole data set ready for a network: every scan read, prepared and cached once."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
import numpy.typing as npt

from medcnn.data.cache import Cache, Entry, Facts
from medcnn.data.manifest import Case
from medcnn.data.pixels import pixel_digest
from medcnn.errors import DataError, NoSpaceError
from medcnn.io.read import read_scan, source_files
from medcnn.scan import Reason, Rejection, Scan, ScanRejected
from medcnn.transforms.preprocessing import Preprocessing

Image = npt.NDArray[np.float32]
Report = Callable[[int, int], None]

log = logging.getLogger(__name__)

_MOST_SAMPLED = 10_000_000  # voxels; percentiles of more take longer than reading them


class Images(Protocol):
    """Prepared scans by index, (len(indices), C, *size) float32."""

    def __getitem__(self, indices: Sequence[int]) -> Image: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Prepared:
    """The cases that could be prepared, in the order asked, and why others could not.

    covariates  (n, V) of a model that takes more than the image
    """

    cases: list[Case]
    images: Images
    facts: list[Facts]
    rejected: list[tuple[Case, Rejection]] = field(default_factory=list)
    covariates: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.cases)

    def part(self, wanted: Callable[[Case], bool]) -> Prepared:
        """Only some of the cases; nothing is copied."""
        kept = [index for index, case in enumerate(self.cases) if wanted(case)]
        covariates = None if self.covariates is None else self.covariates[kept]
        facts = [self.facts[i] for i in kept]
        return Prepared([self.cases[i] for i in kept], _Part(self.images, kept), facts, covariates=covariates)

    def covariates_of(self, indices: Sequence[int]) -> npt.NDArray[np.float32] | None:
        """(len(indices), V), where there are any."""
        return None if self.covariates is None else self.covariates[np.asarray(indices, np.int64)]

    def of_split(self, split: str) -> Prepared:
        """The cases of one split."""
        return self.part(lambda case: case.split == split)


class _InMemory:
    def __init__(self, images: list[Image]) -> None:
        self._images = np.stack(images) if images else np.zeros((0, 1, 1, 1), np.float32)

    def __getitem__(self, indices: Sequence[int]) -> Image:
        return np.asarray(self._images[np.asarray(indices, np.int64)])

    def __len__(self) -> int:
        return len(self._images)


class _OnDisk:
    """Read from the cache when asked; an entry that was damaged meanwhile is made again."""

    def __init__(self, make: Callable[[Case], Entry], cases: list[Case]) -> None:
        self._make, self._cases = make, cases

    def __getitem__(self, indices: Sequence[int]) -> Image:
        return np.stack([self._image(self._cases[index]) for index in indices])

    def _image(self, case: Case) -> Image:
        try:
            return self._make(case).image
        except (ScanRejected, OSError) as error:
            reason = error if isinstance(error, ScanRejected) else "READ_ERROR: the file cannot be read any more"
            raise DataError(f"case {case.case_id} was readable before and is not now. {reason}") from error

    def __len__(self) -> int:
        return len(self._cases)


class _Part:
    def __init__(self, whole: Images, kept: list[int]) -> None:
        self._whole, self._kept = whole, np.asarray(kept, np.int64)

    def __getitem__(self, indices: Sequence[int]) -> Image:
        return self._whole[self._kept[np.asarray(indices, np.int64)].tolist()]

    def __len__(self) -> int:
        return len(self._kept)


class Preparer:
    """Reads and prepares the cases of one data root, through a cache."""

    def __init__(self, root: Path, preprocessing: Preprocessing, cache: Cache) -> None:
        self.root, self.preprocessing, self.cache = root, preprocessing, cache
        self._steps = preprocessing.as_json()
        self._can_write = True
        self._said = Lock()

    def entry(self, case: Case) -> Entry:
        """One case. Raises ScanRejected where a file cannot be used, DataError where it does not fit the network."""
        references = list(case.images.values())
        files = [path for reference in references for path in source_files(self.root, reference)]
        places = [reference.partition("#")[2] for reference in references]  # never the path
        key = self.cache.key(files, places, self._steps)
        if (found := self.cache.read(key)) is not None:
            return found
        scans = [read_scan(self.root, reference, self.preprocessing.reading) for reference in references]
        made = prepared_entry(joined(scans), self.preprocessing)
        self._write(key, made)
        return made

    def _write(self, key: str, entry: Entry) -> None:
        if not self._can_write:
            return
        try:
            self.cache.write(key, entry)
        except OSError as error:
            if not self._is_first_failure():  # the other thread has said so
                return
            why = "the disk is full" if error.errno == errno.ENOSPC else f"{type(error).__name__} {error.errno}"
            log.warning("prepared scans cannot be kept (%s): they will be prepared again next time", why)

    def _is_first_failure(self) -> bool:
        with self._said:
            first, self._can_write = self._can_write, False
        return first

    def all(self, cases: Sequence[Case], *, memory_bytes: float, max_rejected: float, report: Report) -> Prepared:
        """Every case; those that cannot be read are listed, and too many of them stop the work.

        max_rejected  share of the cases that may be left out. Raises DataError beyond.
        """
        good: list[Case] = []
        entries: list[Entry | None] = []
        facts: list[Facts] = []
        rejected: list[tuple[Case, Rejection]] = []
        held = 0
        with ThreadPoolExecutor(max_workers=2) as pool:  # decoders release the interpreter, so two keep both busy
            for number, (case, result) in enumerate(zip(cases, pool.map(self._outcome, cases), strict=True), start=1):
                report(number, len(cases))
                if isinstance(result, Rejection):
                    rejected.append((case, result))
                    continue
                held += result.image.nbytes
                good.append(case)
                facts.append(result.facts)
                entries.append(result if held <= memory_bytes else None)
        self.cache.remember()
        require_most(cases, rejected, max_rejected)
        if held <= memory_bytes:
            return Prepared(good, _InMemory([entry.image for entry in entries if entry]), facts, rejected)
        if not self._can_write:
            raise NoSpaceError(
                f"the prepared scans ({held / 1e9:.1f} GB) fit neither data.memory_gb nor the cache's disk. "
                f"Free space in the cache's folder, or set cache.folder to another disk"
            )
        return Prepared(good, _OnDisk(self.entry, good), facts, rejected)

    def _outcome(self, case: Case) -> Entry | Rejection:
        try:
            return self.entry(case)
        except ScanRejected as error:
            return error.rejection
        except DataError as error:  # a picture among volumes, or the like
            return Rejection(Reason.GEOMETRY_MISMATCH, str(error), "Take it out of the manifest")


def prepared_entry(scan: Scan, preprocessing: Preprocessing) -> Entry:
    """A scan on the network's grid, and its facts."""
    return Entry(preprocessing.apply(scan), facts_of(scan))


def facts_of(scan: Scan) -> Facts:
    """What is worth knowing of a scan without reading it again."""
    voxels = scan.voxels
    step = max(1, voxels.size // _MOST_SAMPLED)
    low, high = (float(value) for value in np.percentile(voxels.reshape(-1)[::step], [1, 99]))
    return Facts(
        pixels=pixel_digest(voxels),
        constant=bool(voxels.min() == voxels.max()),
        low=low,
        high=high,
        modality=scan.modality,
        body_part=scan.body_part,
        shape=tuple(voxels.shape),
        spacing_mm=tuple(float(edge) for edge in scan.spacing_mm or ()),
        flags=dict(scan.facts),
    )


def joined(scans: list[Scan]) -> Scan:
    """Several channels of one case as one scan; they must lie on one grid."""
    first = scans[0]
    if len(scans) == 1:
        return first
    for number, other in enumerate(scans[1:], start=2):
        apart = first.geometry.corner_distance_mm(other.geometry) if first.geometry and other.geometry else 0.0
        if other.voxels.shape[1:] != first.voxels.shape[1:] or apart > 0.1:
            raise ScanRejected(
                Reason.GEOMETRY_MISMATCH,
                f"channel {number} lies on another grid than the first",
                "Resample the channels to one grid first",
            )
    voxels = np.concatenate([scan.voxels for scan in scans])
    return Scan(voxels, first.geometry, first.spacing_mm, None, first.modality, first.body_part, first.identity)


def require_most(cases: Sequence[Case], rejected: list[tuple[Case, Rejection]], max_rejected: float) -> None:
    """Raise DataError where more than this share of the cases cannot be used."""
    if rejected and len(rejected) > max_rejected * len(cases):
        lines = [f"  - {case.case_id}: {rejection}" for case, rejection in rejected[:10]]
        more = [f"  - and {len(rejected) - 10} more"] if len(rejected) > 10 else []
        raise DataError(
            f"{len(rejected)} of {len(cases)} scans cannot be used, more than data.max_rejected={max_rejected:g} "
            f"of them:\n" + "\n".join([*lines, *more]) + "\nMend or replace the files, or take the rows out"
        )
