"""What a run would do, and what it would cost: told from headers alone. Nothing is computed and nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

from medcnn.batch.cases import Case, CaseList
from medcnn.batch.estimate import Estimate, ModelNeeds, estimate
from medcnn.batch.progress import in_words
from medcnn.io.options import AS_THE_FILE_SAYS, Reading
from medcnn.io.size import scan_size
from medcnn.scan import Reason, ScanRejected

ASKED, OF_ANOTHER_KIND, REJECTED, TOO_LARGE = "asked", "of another kind", "rejected", "too large"
HEADER = ["reference", "modality", "shape", "verdict", "reason", "memory_mb", "seconds", "results_mb"]
#: Between half and twice the estimate: background that is skipped, other work on the machine.
_LEAST_TIME, _MOST_TIME = 0.5, 2.0
_SHOWN = 20  # cases, in the terminal
_SMALL_FILES_MB = 0.3  # pictures, result.json and rows of the tables
_VIEW_MB = 8.0  # at most, of a volume that the page can scroll
_PACKED = {"mask": 0.02, "uncertainty": 0.2, "probability": 1.0, "view": 0.5}  # bytes a voxel once they are packed


@dataclass(frozen=True)
class Extras:
    """What is written besides masks, tables and pictures, as the config of predict asks."""

    probabilities: bool = False
    views: bool = True
    dicom: bool = False


@dataclass(frozen=True)
class Forecast:
    """Of one case. Private zone: the reference may hold a folder's name.

    verdict   asked, of another kind (no answer is computed), rejected, or too large for this machine
    cost      None where the header does not say, or nothing is computed
    """

    reference: str
    modality: str
    shape_vox: tuple[int, ...]
    verdict: str
    reason: str = ""
    cost: Estimate | None = None
    seconds: float = nan
    results_mb: float = 0.0

    def cells(self) -> list[str]:
        """As HEADER has them."""
        memory = "" if self.cost is None else f"{self.cost.memory_mb:.0f}"
        seconds = "" if self.seconds != self.seconds else f"{self.seconds:.1f}"
        shape = " x ".join(map(str, self.shape_vox))
        return [
            self.reference,
            self.modality,
            shape,
            self.verdict,
            self.reason,
            memory,
            seconds,
            f"{self.results_mb:.1f}",
        ]


def forecasts(
    listed: CaseList,
    needs: ModelNeeds,
    *,
    left_mb: float,
    seconds_per_tile: float | None = None,
    extras: Extras | None = None,
    reading: Reading = AS_THE_FILE_SAYS,
) -> Iterator[Forecast]:
    """Each case, in the order of the list.

    left_mb           that one case may take (batch/memory_left.py)
    seconds_per_tile  as batch/tile_cost.py measures them; None: nothing is said of time
    """
    for case in listed.cases:
        yield _forecast(case, listed.root, needs, reading, left_mb, seconds_per_tile, extras or Extras())


def _forecast(
    case: Case,
    root: Path,
    needs: ModelNeeds,
    reading: Reading,
    left_mb: float,
    seconds_per_tile: float | None,
    extras: Extras,
) -> Forecast:
    if case.rejection is not None:
        return Forecast(case.reference, case.modality, (), REJECTED, str(case.rejection))
    try:
        size = scan_size(root, case.reference, reading)
    except ScanRejected as rejected:
        return Forecast(case.reference, case.modality, (), REJECTED, str(rejected.rejection))
    shape = () if size is None else size.shape_vox
    if case.misfits:
        reason = "; ".join(case.misfits)
        return Forecast(case.reference, case.modality, shape, OF_ANOTHER_KIND, reason, results_mb=_SMALL_FILES_MB)
    if size is None:
        return Forecast(case.reference, case.modality, (), ASKED, "how large it is shows when it is read")
    if len(shape) != needs.spatial_dims:
        kind = "volumes" if needs.spatial_dims == 3 else "pictures"
        reason = f"{Reason.GEOMETRY_MISMATCH}: the model takes {kind}"
        return Forecast(case.reference, case.modality, shape, OF_ANOTHER_KIND, reason, results_mb=_SMALL_FILES_MB)
    cost = estimate(size, needs)
    if not cost.fits(left_mb):
        reason = f"{Reason.MEMORY}: {left_mb:.0f} MB are left"
        return Forecast(case.reference, case.modality, shape, TOO_LARGE, reason, cost)
    seconds = nan if seconds_per_tile is None else cost.seconds(seconds_per_tile)
    return Forecast(case.reference, case.modality, shape, ASKED, "", cost, seconds, results_mb(cost, needs, extras))


def results_mb(cost: Estimate, needs: ModelNeeds, extras: Extras) -> float:
    """What one answer takes on the disk, roughly."""
    voxels_mb = cost.voxels / 1e6
    total = _SMALL_FILES_MB
    is_volume = needs.spatial_dims == 3
    if extras.views and is_volume:
        total += min(_VIEW_MB, _PACKED["view"] * voxels_mb) * 4 / 3  # in base64
    if needs.kind == "segmentation":
        planes = needs.structures if needs.overlapping else 1
        total += _PACKED["mask"] * voxels_mb * planes
        total += _PACKED["uncertainty"] * voxels_mb * bool(needs.inference["uncertainty"])
        total += _PACKED["probability"] * voxels_mb * needs.structures * extras.probabilities
        total += voxels_mb / 8 * needs.structures * extras.dicom  # a bit a voxel, not packed
    return total


def told(found: Sequence[Forecast], *, workers: int = 1, left_mb: float, free_mb: float | None = None) -> Iterator[str]:
    """Lines for the user's own terminal: the cases, the first and the costly, then what they sum up to.

    free_mb  on the disk of the output
    """
    yield from _lines(found)
    verdicts = Counter(one.verdict for one in found)
    kinds = ", ".join(
        f"{verdicts[name]} {name}" for name in (ASKED, OF_ANOTHER_KIND, REJECTED, TOO_LARGE) if verdicts[name]
    )
    yield f"{len(found)} case{'s' * (len(found) != 1)}: {kinds or 'nothing to do'}"
    yield _time_in_words(found, workers)
    costs = [one.cost for one in found if one.cost is not None]
    if costs:
        largest = max(cost.memory_mb for cost in costs)
        times = f" in each of {workers} processes" if workers > 1 else ""
        yield f"memory: up to {largest:.0f} MB for a case{times}, beside the model; {left_mb:.0f} MB are left here"
    needed = sum(one.results_mb for one in found)
    free = "" if free_mb is None else f"; {free_mb:.0f} MB are free"
    yield f"disk: about {needed:.0f} MB of results{free}"


def _lines(found: Sequence[Forecast]) -> Iterator[str]:
    """A table of the first cases."""
    for one in found[:_SHOWN]:
        reference, modality, shape, verdict, reason, memory, seconds, _ = one.cells()
        cost = reason or (f"{memory} MB, {seconds} s" if seconds else f"{memory} MB")
        yield "  ".join(filter(None, (reference, modality, shape, verdict if verdict != ASKED else "", cost)))
    if len(found) > _SHOWN:
        yield f"and {len(found) - _SHOWN} more"


def _time_in_words(found: Iterable[Forecast], workers: int) -> str:
    """A range; cases whose size is not known are taken as long as the others are on average."""
    asked = [one for one in found if one.verdict == ASKED]
    known = [one.seconds for one in asked if one.seconds == one.seconds]
    if not known:
        return "time: not known" if asked else "time: none"
    seconds = sum(known) * len(asked) / len(known) / max(1, workers)
    return f"time: {in_words(_LEAST_TIME * seconds)} to {in_words(_MOST_TIME * seconds)}, and opening the model"
