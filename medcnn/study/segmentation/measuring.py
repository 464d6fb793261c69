"""A segmenter on cases with true masks: whole scans, in their own grids, every case by itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medcnn.data.manifest import Case
from medcnn.data.privacy import Keyring
from medcnn.data.segmentation_cases import SegmentationCases
from medcnn.errors import DataError
from medcnn.evaluation.segmentation.result import SegmentationResult, evaluate_segmentation
from medcnn.evaluation.segmentation.scores import CaseScores, score_case
from medcnn.inference.segmenter import Segmentation, Segmenter
from medcnn.scan import ScanRejected
from medcnn.study.preparing import reporter
from medcnn.transforms.whole_grid import OnGrid

log = logging.getLogger("medcnn.train")

Choose = Callable[[Case], Segmenter]


@dataclass(frozen=True, eq=False)
class MeasuredMasks:
    """A segmenter on one split's cases.

    expected_dice  per case, structure -> what the segmenter itself expected
    seconds        per case: prepared already, so computing, restoring and mending only
    """

    split: str
    cases: SegmentationCases
    scores: list[CaseScores]
    expected_dice: list[dict[str, float]]
    seconds: list[float]
    result: SegmentationResult


def outlined(segmenter: Segmenter, cases: SegmentationCases, index: int) -> Segmentation:
    """One prepared case, on its scan's own grid. Raises ScanRejected where the answer is no number."""
    case = cases[index]
    return segmenter.segment(OnGrid(np.asarray(case.image), case.placement, case.spacing_mm))


def _outlined(segmenter: Segmenter, cases: SegmentationCases, index: int) -> Segmentation:
    try:
        return outlined(segmenter, cases, index)
    except ScanRejected as error:
        raise DataError(f"case {cases.cases[index].case_id}: {error}") from error


def scored(
    cases: SegmentationCases, index: int, segmentation: Segmentation, keyring: Keyring, split: str, tolerance_mm: float
) -> CaseScores:
    """Against the truth in the scan's own grid."""
    own, case = cases.own(index), cases.cases[index]
    return score_case(
        case.case_id,
        np.asarray(own.target),
        segmentation.labels,
        cases.structures.names,
        spacing_mm=spacing_of(cases, index),
        tolerance=tolerance_mm,
        patient_key=keyring.patient_key(case.patient_id),
        split=split,
    )


def spacing_of(cases: SegmentationCases, index: int) -> tuple[float, ...] | None:
    """Edges along the scan's own axes; None where the file does not say."""
    scan = cases.own(index).scan
    if scan.geometry is not None:
        return tuple(float(edge) for edge in scan.geometry.spacing_mm())
    return scan.spacing_mm


def measure_masks(
    choose: Choose,
    cases: SegmentationCases,
    split: str,
    keyring: Keyring,
    *,
    seed: int,
    resamples: int,
    tolerance_mm: float,
) -> MeasuredMasks:
    """Every metric with its interval. Raises DataError where there is nothing to measure on.

    tolerance_mm  of NSD
    choose        case -> who answers for it: in a cross-validation the member that never saw it
    """
    if not len(cases):
        raise DataError(f"the split {split!r} has no usable case to evaluate on")
    scores, expected, seconds = [], [], []
    report = reporter(f"measuring {split}")
    for index, case in enumerate(cases.cases):
        began = time.perf_counter()
        segmentation = _outlined(choose(case), cases, index)
        seconds.append(time.perf_counter() - began)
        scores.append(scored(cases, index, segmentation, keyring, split, tolerance_mm))
        expected.append(segmentation.expected_dice)
        report(index + 1, len(cases))
    patients = [case.patient_id or None for case in cases.cases]
    result = evaluate_segmentation(
        _in_one_unit(scores), patient=patients if all(patients) else None, seed=seed, num_resamples=resamples
    )
    return MeasuredMasks(split, cases, scores, expected, seconds, result)


def _in_one_unit(scores: Sequence[CaseScores]) -> Sequence[CaseScores]:
    """Millimetres and pixels cannot be averaged. Raises DataError naming how many cases say their spacing."""
    in_mm = sum(score.units == scores[0].units for score in scores)
    if in_mm < len(scores):
        raise DataError(
            f"{in_mm} cases are measured in {scores[0].units.length} and {len(scores) - in_mm} are not, since some "
            f"files do not say their spacing. Evaluate them apart, or give them a spacing"
        )
    return scores
