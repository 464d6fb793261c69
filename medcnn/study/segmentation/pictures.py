"""Cases of a segmentation as they are shown: best, median and worst first of all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medcnn.evaluation.segmentation.ranking import best_median_worst, worst_cases
from medcnn.inference.segmenter import Segmenter
from medcnn.reporting.figures import SavedFigure, save
from medcnn.reporting.overlay_figure import gallery_figure
from medcnn.reporting.overlay_planes import SegmentedCase
from medcnn.study.segmentation.measuring import Choose, MeasuredMasks, outlined

_WORST = 3  # of these are shown


def gallery(measured: MeasuredMasks, choose: Choose, folder: Path) -> list[SavedFigure]:
    """The best case, the one in the middle and the worst few; each is outlined again, so none need be kept."""
    ends = best_median_worst(measured.scores)
    worst = [index for index in worst_cases(measured.scores, _WORST) if index not in ends["best"] + ends["median"]]
    chosen = [("best", index) for index in ends["best"]] + [("median", index) for index in ends["median"]]
    chosen += [(f"worst {rank}", index) for rank, index in enumerate(worst, start=1)]
    if not chosen:
        return []
    cases = [_shown(measured, choose(measured.cases.cases[index]), index, place) for place, index in chosen]
    return [save(gallery_figure(cases), folder, f"{measured.split}_gallery")]


def _shown(measured: MeasuredMasks, segmenter: Segmenter, index: int, place: str) -> SegmentedCase:
    cases, score = measured.cases, measured.scores[index]
    own, placement = cases.own(index), cases[index].placement
    predicted = outlined(segmenter, cases, index).labels
    scan = own.scan
    edges = scan.geometry.spacing_mm() if scan.geometry is not None else scan.spacing_mm
    spacing = None if edges is None else tuple(float(edges[axis]) for axis in placement.axes)
    dice = ", ".join(f"{name} {one.dice:.3f}" for name, one in score.structures.items() if np.isfinite(one.dice))
    return SegmentedCase(
        image=placement.turned(np.asarray(scan.voxels))[0],
        truth=placement.turned(np.asarray(own.target)),
        predicted=placement.turned(predicted),
        spacing_mm=spacing,
        case_id=score.case_id,
        text=f"{place}: Dice {dice}",
        oriented=scan.geometry is not None,
    )
