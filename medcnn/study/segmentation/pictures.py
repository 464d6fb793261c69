"""Cases of a segmentation as they are shown: best, median and worst first of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medcnn.inference.segmenter import Segmenter
from medcnn.reporting.figures import SavedFigure, save
from medcnn.reporting.overlay_figure import gallery_figure
from medcnn.reporting.overlay_planes import SegmentedCase
from medcnn.study.segmentation.measuring import Choose, MeasuredMasks, outlined

_GALLERY = 3  # of the worst, of those in the middle and of the best


def gallery(measured: MeasuredMasks, choose: Choose, folder: Path) -> list[SavedFigure]:
    """The worst cases, and one picture of worst, middle and best; each is outlined again, so none need be kept."""
    order = [index for index in measured.worst_first if np.isfinite(measured.scores[index].mean_dice)]
    if not order:
        return []
    worst, best = order[:_GALLERY], order[::-1][:1]
    middle = [order[len(order) // 2]]
    chosen = list(dict.fromkeys([*best, *middle, *worst]))
    cases = [_shown(measured, choose(measured.cases.cases[index]), index, _place(index, order)) for index in chosen]
    return [save(gallery_figure(cases), folder, f"{measured.split}_gallery")]


def _place(index: int, order: Sequence[int]) -> str:
    rank = order.index(index)
    if rank == len(order) - 1:
        return "best"
    return "median" if rank == len(order) // 2 else f"worst {rank + 1}"


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
