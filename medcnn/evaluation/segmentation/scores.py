"""One case, structure by structure: how well the predicted mask agrees with the true one, in the scan's own grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from medcnn.evaluation.arrays import Bools
from medcnn.evaluation.segmentation.surfaces import surface_distances
from medcnn.evaluation.segmentation.units import Units, element_size, units_of

IGNORE = 255
TOLERANCE = 1.0
# Voxel edges come from headers as 32-bit numbers: 1.0000001 mm must not count as beyond 1 mm.
_ROUNDING = 1e-4
_DECIMALS = 9  # of distances: equal ones stay equal whichever way they were computed

Labels = npt.NDArray[np.uint8]

#: both: truth and prediction hold the structure. missed: only the truth does. false_positive: only the prediction
#: does. true_negative: neither does.
State = Literal["both", "missed", "false_positive", "true_negative"]
STATES: tuple[State, ...] = ("both", "missed", "false_positive", "true_negative")
NAN = float("nan")


@dataclass(frozen=True)
class StructureScores:
    """One structure of one case. nan is undefined, and left out of every mean.

    dice, iou   overlap; 0 where one of the two masks is empty, undefined where both are
    nsd         surface Dice (Nikolov et al. 2018) with every surface voxel counting alike: the share of both surfaces
                within `tolerance` of the other; 0 where one mask is empty, undefined where both are
    hd95        the greater of the two directed 95th percentiles of surface distances, interpolated linearly;
                hd the greatest distance, assd the mean over the voxels of both surfaces together.
                Undefined unless both masks are there: an average distance says nothing about what was missed
    tolerance   of nsd, in the units' length
    truth_size, predicted_size  in the units' size
    """

    state: State
    dice: float
    iou: float
    nsd: float
    hd95: float
    hd: float
    assd: float
    truth_size: float
    predicted_size: float
    tolerance: float = TOLERANCE

    @property
    def error(self) -> float:
        """Predicted minus true size; undefined where neither is there."""
        return NAN if self.state == "true_negative" else self.predicted_size - self.truth_size

    @property
    def error_pct(self) -> float:
        """The error in percent of the true size; undefined where the truth is empty."""
        return 100 * (self.predicted_size - self.truth_size) / self.truth_size if self.truth_size > 0 else NAN

    @property
    def abs_error_pct(self) -> float:
        return abs(self.error_pct)


@dataclass(frozen=True)
class CaseScores:
    """Structure -> scores of one case. case_id and patient_key are the keyed ones."""

    case_id: str
    structures: Mapping[str, StructureScores]
    units: Units
    patient_key: str = ""
    split: str = ""

    @property
    def mean_dice(self) -> float:
        """Over the structures that are there or were predicted; nan where none is."""
        known = [found.dice for found in self.structures.values() if np.isfinite(found.dice)]
        return float(np.mean(known)) if known else NAN


def score_case(
    case_id: str,
    truth: Labels,
    predicted: Labels,
    names: Sequence[str],
    *,
    spacing_mm: Sequence[float] | None,
    tolerance: float | Mapping[str, float] = TOLERANCE,
    patient_key: str = "",
    split: str = "",
) -> CaseScores:
    """Every structure of one case.

    truth, predicted  uint8 (1, *size): class 0 is background, 1 ... K in the order of names; or (K, *size): one plane
                      of 0 and 1 per name, which may overlap. 255 in the truth is ignored: taken out of both masks
    spacing_mm        edges of a voxel along the axes; None for a picture of unknown spacing, measured in pixels
    tolerance         of nsd in mm (or pixels), for all structures or by name; 1 where a name is not given
    Raises ValueError where the arrays do not fit together.
    """
    if truth.shape != predicted.shape or truth.ndim < 3 or truth.shape[0] not in (1, len(names)):
        raise ValueError(
            f"truth {truth.shape} and prediction {predicted.shape} must have one shape: "
            f"(1, *size) or ({len(names)}, *size) for {len(names)} structures"
        )
    units = units_of(truth.ndim - 1, spacing_mm)
    exclusive = truth.shape[0] == 1
    boxes = [_boxes(planes, len(names)) for planes in (truth, predicted)]
    found: dict[str, StructureScores] = {}
    for number, name in enumerate(names):
        plane, value = (0, number + 1) if exclusive else (number, 1)
        box = _around(boxes[0][number], boxes[1][number], truth.ndim - 1)
        true, given = truth[plane][box], predicted[plane][box]
        limit = tolerance if isinstance(tolerance, int | float) else tolerance.get(name, TOLERANCE)
        found[name] = score_structure(
            true == value, (given == value) & (true != IGNORE), spacing_mm=spacing_mm, tolerance=float(limit)
        )
    return CaseScores(case_id, found, units, patient_key, split)


def score_structure(
    truth: Bools, predicted: Bools, *, spacing_mm: Sequence[float] | None, tolerance: float = TOLERANCE
) -> StructureScores:
    """One structure: two masks of one shape, (I, J, K) or (H, W); empty ones follow the rules of StructureScores."""
    units = units_of(truth.ndim, spacing_mm)
    one = element_size(units, spacing_mm)
    num_truth, num_predicted = int(np.count_nonzero(truth)), int(np.count_nonzero(predicted))
    sizes = num_truth * one, num_predicted * one
    if not (num_truth and num_predicted):
        state: State = "missed" if num_truth else "false_positive" if num_predicted else "true_negative"
        value = NAN if state == "true_negative" else 0.0
        return StructureScores(state, value, value, value, NAN, NAN, NAN, *sizes, tolerance)
    overlap = int(np.count_nonzero(truth & predicted))
    distances = surface_distances(truth, predicted, spacing_mm if spacing_mm is not None else (1.0,) * truth.ndim)
    both = np.concatenate(distances)
    return StructureScores(
        state="both",
        dice=2 * overlap / (num_truth + num_predicted),
        iou=overlap / (num_truth + num_predicted - overlap),
        nsd=float(np.mean(both <= tolerance + _ROUNDING)),
        hd95=round(max(float(np.percentile(one_way, 95)) for one_way in distances), _DECIMALS),
        hd=round(float(both.max()), _DECIMALS),
        assd=round(float(both.mean()), _DECIMALS),
        truth_size=sizes[0],
        predicted_size=sizes[1],
        tolerance=tolerance,
    )


_Box = tuple[slice, ...]


def _boxes(planes: Labels, num_structures: int) -> list[_Box | None]:
    """The bounding box of each structure, from one pass over each plane; None where it is empty."""
    from scipy.ndimage import find_objects

    if len(planes) == 1:
        return list(find_objects(planes[0], max_label=num_structures))
    return [find_objects(plane, max_label=1)[0] for plane in planes]


def _around(one: _Box | None, other: _Box | None, ndim: int) -> _Box:
    """The box that holds both; where both are empty, a box of nothing."""
    if one is None or other is None:
        return one or other or (slice(0, 0),) * ndim
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
