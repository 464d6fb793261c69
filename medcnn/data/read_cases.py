"""Every case with masks read once, in its own grid: what a training is planned from, and what validation is held to.

Nothing here knows the network's grid. What was read is kept uncompressed, so that no file is decoded twice.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from medcnn.data.cache import Cache, Facts
from medcnn.data.fingerprint import FINGERPRINT_VERSION, CaseFingerprint, fingerprint_of
from medcnn.data.manifest import Case
from medcnn.data.mapped import Arrays
from medcnn.data.masks import read_target
from medcnn.data.prepared import Report, facts_of, joined, require_most
from medcnn.data.structures import Structures, Target
from medcnn.errors import DataError
from medcnn.geometry import Geometry
from medcnn.io.options import Reading
from medcnn.io.read import read_scan, source_files
from medcnn.scan import Reason, Rejection, Scan, ScanRejected

log = logging.getLogger(__name__)

READ_VERSION = 1  # raised whenever reading keeps something else
_SHOWN = 10


@dataclass(frozen=True, eq=False)
class ReadCase:
    """A scan in its own grid, its target (M, *its spatial shape), and what is worth knowing of both.

    The scan's identity and patient are not kept.
    """

    scan: Scan
    target: Target
    facts: Facts
    fingerprint: CaseFingerprint


class Kept:
    """Arrays in the cache; a disk that takes no more is told once, and the work goes on."""

    def __init__(self, cache: Cache) -> None:
        self.cache, self.can_write = cache, True

    def write(self, key: str, arrays: Arrays) -> None:
        """Where that can be."""
        if not self.can_write:
            return
        try:
            self.cache.write_arrays(key, arrays)
        except OSError as error:
            first, self.can_write = self.can_write, False
            if first:
                why = "the disk is full" if error.errno == errno.ENOSPC else f"{type(error).__name__} {error.errno}"
                log.warning("what was read cannot be kept (%s): it will be read again where it is needed", why)


class CaseReader:
    """Reads the cases of one data root with their masks, through a cache."""

    def __init__(self, root: Path, structures: Structures, reading: Reading, cache: Cache) -> None:
        self.root, self.structures, self.reading = root, structures, reading
        self.kept = Kept(cache)
        self._steps = {
            "reading": asdict(reading),
            "structures": {name: value for name, value in structures.as_json().items() if name != "codes"},
            "versions": [READ_VERSION, FINGERPRINT_VERSION],
        }

    def key(self, case: Case) -> str:
        """Of the image and mask files' bytes, the places in them, the structures and the choices of reading."""
        files, places = [], []
        for kind, references in (("image", case.images), ("mask", case.masks)):
            for name, reference in references.items():
                own = source_files(self.root, reference) if reference else []
                files += own
                places.append(f"{kind}.{name} {len(own)} {reference.partition('#')[2]}")  # never the path
        return self.kept.cache.key(files, places, self._steps)

    def read(self, case: Case, key: str = "") -> ReadCase:
        """One case; its arrays are views of the cache where they were kept. Raises ScanRejected."""
        key = key or self.key(case)
        if (found := self.kept.cache.read_arrays(key)) is not None:
            return _taken_out(case, found)
        scan = joined([read_scan(self.root, reference, self.reading) for reference in case.images.values()])
        scan = replace(scan, identity=(), patient_id="")
        target = read_target(scan, case, self.root, self.structures, self.reading)
        made = ReadCase(scan, target, facts_of(scan), fingerprint_of(case.case_id, scan, target, self.structures))
        self.kept.write(key, _put_in(made))
        return made

    def all(self, cases: Sequence[Case], *, max_rejected: float, report: Report) -> ReadCases:
        """Every case; those that cannot be read are listed, and more than a share of max_rejected raise DataError."""
        read = ReadCases(self)
        with ThreadPoolExecutor(max_workers=2) as pool:  # decoders release the interpreter, so two keep both busy
            for number, (case, result) in enumerate(zip(cases, pool.map(self._outcome, cases), strict=True), start=1):
                report(number, len(cases))
                if isinstance(result, Rejection):
                    read.rejected.append((case, result))
                    continue
                read.cases.append(case)
                read.keys.append(result[0])
                read.facts.append(result[1])
                read.fingerprints.append(result[2])
        self.kept.cache.remember()
        require_most(cases, read.rejected, max_rejected)
        return read

    def _outcome(self, case: Case) -> tuple[str, Facts, CaseFingerprint] | Rejection:
        try:
            key = self.key(case)
            read = self.read(case, key)
        except ScanRejected as error:
            return error.rejection
        return key, read.facts, read.fingerprint


@dataclass(eq=False)
class ReadCases:
    """The cases that could be read, in the order asked, and why others could not. Voxels are looked up when needed."""

    reader: CaseReader
    cases: list[Case] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    facts: list[Facts] = field(default_factory=list)
    fingerprints: list[CaseFingerprint] = field(default_factory=list)
    rejected: list[tuple[Case, Rejection]] = field(default_factory=list)

    @property
    def structures(self) -> Structures:
        return self.reader.structures

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> ReadCase:
        """One case in its own grid. Raises DataError where its files have gone or changed for the worse meanwhile."""
        case = self.cases[index]
        try:
            return self.reader.read(case, self.keys[index])
        except (ScanRejected, OSError) as error:
            reason = error if isinstance(error, ScanRejected) else "READ_ERROR: the file cannot be read any more"
            raise DataError(f"case {case.case_id} was readable before and is not now. {reason}") from error

    def part(self, wanted: Callable[[Case], bool]) -> ReadCases:
        """Only some of the cases; nothing is copied."""
        chosen = [index for index, case in enumerate(self.cases) if wanted(case)]
        return ReadCases(
            self.reader,
            [self.cases[i] for i in chosen],
            [self.keys[i] for i in chosen],
            [self.facts[i] for i in chosen],
            [self.fingerprints[i] for i in chosen],
        )

    def of_split(self, split: str) -> ReadCases:
        """The cases of one split."""
        return self.part(lambda case: case.split == split)

    @property
    def remarks(self) -> list[str]:
        """What a reader of results must know of these cases."""
        constant = sum(fact.constant for fact in self.facts)
        empty = sum(one.is_empty for one in self.fingerprints)
        told = [f"{constant} scans have one value everywhere; they say nothing, and stay"] if constant else []
        return [*told, *([f"{empty} cases hold none of the structures; they stay, as healthy ones"] if empty else [])]


def require_learnable(read: ReadCases) -> None:
    """Raise DataError where training cannot mean what was asked: odd values in masks, a structure nobody has."""
    odd = [(case, why) for case, why in read.rejected if why.code is Reason.LABEL_VALUES]
    if odd:
        lines = [f"  - {case.case_id} ({case.split}): {why.found}" for case, why in odd[:_SHOWN]]
        more = [f"  - and {len(odd) - _SHOWN} more"] if len(odd) > _SHOWN else []
        raise DataError(
            f"the masks of {len(odd)} cases are not what data.structures says:\n"
            + "\n".join([*lines, *more])
            + f"\n{odd[0][1].remedy}"
        )
    train = read.of_split("train").fingerprints
    if not train:
        raise DataError("no case is in the split 'train' that could be read with its mask. Name some")
    missing = [name for name in read.structures.names if not any(one.structure_voxels[name] for one in train)]
    if missing:
        raise DataError(
            f"no training case holds {', '.join(missing)}. Add some, or take it out of data.structures (as a value of "
            f"background it may stay in the masks)"
        )


def _put_in(read: ReadCase) -> Arrays:
    scan = read.scan
    geometry = None if scan.geometry is None else scan.geometry.affine.tolist()
    head = {
        "geometry": geometry,
        "spacing_mm": scan.spacing_mm and [float(edge) for edge in scan.spacing_mm],
        "value_range": scan.value_range and [float(end) for end in scan.value_range],
        "modality": scan.modality,
        "body_part": scan.body_part,
        "scan_facts": scan.facts,
        "facts": asdict(read.facts),
        "fingerprint": {**read.fingerprint.as_json(), "case_id": ""},  # another case may have the same files
    }
    return Arrays(head, {"voxels": scan.voxels, "target": read.target})


def _taken_out(case: Case, kept: Arrays) -> ReadCase:
    head: dict[str, Any] = kept.head
    voxels, target = kept.arrays["voxels"], kept.arrays["target"]
    geometry = head["geometry"] and Geometry(np.array(head["geometry"], np.float64), voxels.shape[1:])
    scan = Scan(
        voxels,
        geometry or None,
        head["spacing_mm"] and tuple(head["spacing_mm"]),
        head["value_range"] and tuple(head["value_range"]),
        head["modality"],
        head["body_part"],
        facts=head["scan_facts"],
    )
    facts = head["facts"]
    facts["shape"], facts["spacing_mm"] = tuple(facts["shape"]), tuple(facts["spacing_mm"])
    fingerprint = CaseFingerprint.from_json({**head["fingerprint"], "case_id": case.case_id})
    return ReadCase(scan, target, Facts(**facts), fingerprint)
