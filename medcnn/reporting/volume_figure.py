"""True against predicted volumes after Bland and Altman (1986): the error over the size, with limits of agreement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medcnn.evaluation.segmentation.result import SegmentationResult
from medcnn.evaluation.segmentation.scores import CaseScores
from medcnn.reporting.agreement import draw_agreement
from medcnn.reporting.figures import INK, QUIET, Drawn, Row, blank, colour, name, quiet_axes
from medcnn.reporting.segmentation_words import rests_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_COLUMNS = 3
_PANEL_IN = (3.6, 3.1)


def volume_figure(result: SegmentationResult, cases: Sequence[CaseScores], *, split: str) -> Drawn:
    """One panel per structure; cases where truth and prediction are both empty are left out."""
    units = result.units
    title = f"Agreement of {units.extent}s on the {split} split"
    caption = (
        f"{rests_on(result)}; line: mean error with its 95 % interval, dashed: limits of agreement (1.96 standard "
        "deviations), within which 95 % of the errors are expected"
    )
    columns = min(_MOST_COLUMNS, len(result.structures))
    lines = -(-len(result.structures) // columns)
    figure = blank(width_in=max(5.2, _PANEL_IN[0] * columns), height_in=1.3 + _PANEL_IN[1] * lines)
    name(figure, title, caption)
    grid = figure.subplots(lines, columns, squeeze=False)
    rows: list[Row] = []
    for place, axes in enumerate(grid.flat):
        if place >= len(result.structures):
            axes.set_axis_off()
            continue
        structure = result.structures[place]
        rows += _panel(axes, result, cases, structure, place)
        axes.set_title(structure, fontsize=11, color=INK, loc="left")
        axes.set_xlabel(f"Mean of truth and prediction ({units.size})")
        if place % columns == 0:
            axes.set_ylabel(f"Prediction − truth ({units.size})")
    return Drawn(figure, title, rows, caption)


def _panel(
    axes: Axes, result: SegmentationResult, cases: Sequence[CaseScores], structure: str, place: int
) -> list[Row]:
    units = result.units
    there = [case for case in cases if case.structures[structure].state != "true_negative"]
    quiet_axes(axes)
    if not there:
        axes.text(0.5, 0.5, "in no case", transform=axes.transAxes, ha="center", color=QUIET)
        return []
    truth = np.array([case.structures[structure].truth_size for case in there])
    predicted = np.array([case.structures[structure].predicted_size for case in there])
    error, size = predicted - truth, (predicted + truth) / 2
    bias = result.estimates[f"{units.name('error')}.{structure}"]
    limits = [
        result.estimates[f"{units.name(limit)}.{structure}"].value for limit in ("agreement_low", "agreement_high")
    ]
    draw_agreement(axes, size, error, bias=bias, limits=limits, shade=colour(place))
    truth_name, predicted_name = f"truth_{units.size}", f"predicted_{units.size}"
    return [
        {
            "case_id": case.case_id,
            "structure": structure,
            truth_name: t,
            predicted_name: p,
            f"error_{units.size}": p - t,
        }
        for case, t, p in zip(there, truth, predicted, strict=True)
    ]
