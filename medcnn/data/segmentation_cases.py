"""A whole data set of scans with masks on the grid of a network: prepared once, cut into patches later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from medcnn.data.cache import Facts
from medcnn.data.fingerprint import CaseFingerprint, regions
from medcnn.data.manifest import Case
from medcnn.data.mapped import Arrays
from medcnn.data.prepared import Report, require_most
from medcnn.data.read_cases import Kept, ReadCase, ReadCases
from medcnn.data.structures import Structures, Target
from medcnn.errors import DataError, NoSpaceError
from medcnn.scan import Reason, Rejection, ScanRejected
from medcnn.transforms.placement import Placement
from medcnn.transforms.whole_grid import WholeGrid

Image = npt.NDArray[np.float32]
Places = npt.NDArray[np.unsignedinteger[Any]]

PREPARED_VERSION = 1  # raised whenever an entry holds something else
MOST_PLACES = 2000  # of a structure in a case, for patches that are drawn around it
_DRAWN = 0x5E6  # the key of that drawing: the same places whenever a case is prepared


@dataclass(frozen=True, eq=False)
class SegmentationCase:
    """One case on the network's grid.

    image       (C, *size) float32
    target      (M, *size) uint8; 255 is ignored
    spacing_mm  of this grid along its turned axes; () where the scan does not say
    foreground  per structure, voxels that belong to it as positions in the flattened size; at most MOST_PLACES, drawn
                without repetition; none where it is not there
    voxels      structure -> voxels on this grid
    """

    image: Image
    target: Target
    placement: Placement
    spacing_mm: tuple[float, ...]
    foreground: tuple[Places, ...]
    voxels: dict[str, int]


def prepared_case(read: ReadCase, grid: WholeGrid, structures: Structures) -> SegmentationCase:
    """A case that was read, on the network's grid. Raises ScanRejected, DataError as WholeGrid.apply does."""
    on_grid = grid.apply(read.scan)
    target = grid.apply_mask(read.target, on_grid.placement)
    foreground, voxels = [], {}
    for number, (name, box, part) in enumerate(regions(target, structures)):
        if box is None or part is None:
            foreground.append(np.zeros(0, np.uint32))
            voxels[name] = 0
            continue
        inside = np.flatnonzero(part)
        voxels[name] = len(inside)
        if len(inside) > MOST_PLACES:
            generator = np.random.Generator(np.random.PCG64([_DRAWN, number]))
            inside = np.sort(inside[generator.choice(len(inside), MOST_PLACES, replace=False)])
        corner = np.array([start for start, _ in box])[:, None]
        at = np.stack(np.unravel_index(inside, part.shape)) + corner
        small = target[0].size <= np.iinfo(np.uint32).max
        foreground.append(np.ravel_multi_index(tuple(at), target.shape[1:]).astype(np.uint32 if small else np.uint64))
    image = np.ascontiguousarray(on_grid.image, np.float32)
    return SegmentationCase(image, target, on_grid.placement, on_grid.spacing_mm, tuple(foreground), voxels)


@dataclass(eq=False)
class SegmentationCases:
    """The cases that could be prepared, in the order asked, and why others could not.

    Held in memory, or mapped from the cache where they do not fit; foreground is always in memory.
    """

    grid: WholeGrid
    structures: Structures
    kept: Kept
    read: ReadCases
    keys: list[str] = field(default_factory=list)
    foreground: list[tuple[Places, ...]] = field(default_factory=list)
    sizes: list[tuple[int, ...]] = field(default_factory=list)
    voxels: list[dict[str, int]] = field(default_factory=list)
    rejected: list[tuple[Case, Rejection]] = field(default_factory=list)
    held: list[SegmentationCase] | None = None

    @property
    def cases(self) -> list[Case]:
        return self.read.cases

    @property
    def facts(self) -> list[Facts]:
        return self.read.facts

    @property
    def fingerprints(self) -> list[CaseFingerprint]:
        return self.read.fingerprints

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> SegmentationCase:
        """One case. Raises DataError where it is neither kept nor readable any more."""
        if self.held is not None:
            return self.held[index]
        return _entry(self.kept, self.keys[index], lambda: self.read[index], self.grid, self.structures)

    def add(self, key: str, case: SegmentationCase, *, hold: bool) -> None:
        """One more; the first that is not to be held lets go of all, which are then mapped."""
        self.keys.append(key)
        self.foreground.append(tuple(np.array(places) for places in case.foreground))
        self.sizes.append(tuple(case.image.shape[1:]))
        self.voxels.append(case.voxels)
        if self.held is not None:
            self.held.append(_in_memory(case))
        if not hold:
            self.held = None

    def own(self, index: int) -> ReadCase:
        """The same case in its scan's own grid, which results are held against."""
        return self.read[index]

    def part(self, wanted: Callable[[Case], bool]) -> SegmentationCases:
        """Only some of the cases; nothing is copied."""
        chosen = [index for index, case in enumerate(self.cases) if wanted(case)]
        return SegmentationCases(
            self.grid,
            self.structures,
            self.kept,
            self.read.part(wanted),
            [self.keys[i] for i in chosen],
            [self.foreground[i] for i in chosen],
            [self.sizes[i] for i in chosen],
            [self.voxels[i] for i in chosen],
            held=None if self.held is None else [self.held[i] for i in chosen],
        )

    def of_split(self, split: str) -> SegmentationCases:
        """The cases of one split."""
        return self.part(lambda case: case.split == split)


def prepare_cases(
    read: ReadCases, grid: WholeGrid, *, memory_bytes: float, max_rejected: float, report: Report
) -> SegmentationCases:
    """Every case that was read, on the network's grid; those that do not fit it are listed.

    max_rejected  share of the cases that may be left out; DataError beyond. NoSpaceError where the prepared cases fit
    neither the memory nor the cache's disk.
    """
    kept = Kept(read.reader.kept.cache)
    steps = {"grid": grid.as_json(), "version": PREPARED_VERSION}
    keys = [kept.cache.derived_key(key, steps) for key in read.keys]
    made = SegmentationCases(grid, read.structures, kept, read, held=[])

    def outcome(index: int) -> SegmentationCase | Rejection:
        try:
            return _entry(kept, keys[index], lambda: read[index], grid, read.structures)
        except ScanRejected as error:
            return error.rejection
        except DataError as error:  # a picture among volumes, or the like
            return Rejection(Reason.GEOMETRY_MISMATCH, str(error), "Take it out of the manifest")

    size_bytes = 0
    for number, result in enumerate(_in_threads(outcome, len(keys))):
        report(number + 1, len(keys))
        if isinstance(result, Rejection):
            made.rejected.append((read.cases[number], result))
        else:
            size_bytes += result.image.nbytes + result.target.nbytes
            made.add(keys[number], result, hold=size_bytes <= memory_bytes)
    require_most(read.cases, made.rejected, max_rejected)
    if made.held is None and not kept.can_write:
        raise NoSpaceError(
            f"the prepared scans ({size_bytes / 1e9:.1f} GB) fit neither data.memory_gb nor the cache's disk. "
            f"Free space in the cache's folder, or set cache.folder to another disk"
        )
    made.read = read.part(lambda case: case.case_id not in {other.case_id for other, _ in made.rejected})
    return made


def _in_threads(work: Callable[[int], Any], count: int) -> Any:
    """work(0), work(1) ... in order, two at a time and few ahead, so that memory holds a handful of cases."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        ahead = [pool.submit(work, index) for index in range(min(4, count))]
        for index in range(count):
            yield ahead.pop(0).result()
            if index + 4 < count:
                ahead.append(pool.submit(work, index + 4))


def _entry(
    kept: Kept, key: str, read: Callable[[], ReadCase], grid: WholeGrid, structures: Structures
) -> SegmentationCase:
    """From the cache, else made and kept there."""
    if (found := kept.cache.read_arrays(key)) is not None:
        return _taken_out(found)
    made = prepared_case(read(), grid, structures)
    kept.write(key, _put_in(made))
    return made


def _in_memory(case: SegmentationCase) -> SegmentationCase:
    """A copy that needs no file, C-ordered."""
    return SegmentationCase(
        np.array(case.image, order="C"),
        np.array(case.target, order="C"),
        case.placement,
        case.spacing_mm,
        tuple(np.array(places) for places in case.foreground),
        case.voxels,
    )


def _put_in(case: SegmentationCase) -> Arrays:
    head = {
        "placement": case.placement.as_json(),
        "spacing_mm": list(case.spacing_mm),
        "voxels": case.voxels,
        "places": [len(places) for places in case.foreground],
    }
    return Arrays(head, {"image": case.image, "target": case.target, "foreground": np.concatenate(case.foreground)})


def _taken_out(kept: Arrays) -> SegmentationCase:
    ends: Sequence[int] = np.cumsum(kept.head["places"]).tolist()
    return SegmentationCase(
        kept.arrays["image"],
        kept.arrays["target"],
        Placement.from_json(kept.head["placement"]),
        tuple(kept.head["spacing_mm"]),
        tuple(np.split(kept.arrays["foreground"], ends[:-1])),
        kept.head["voxels"],
    )
