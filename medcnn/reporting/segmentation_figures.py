"""All figures of one segmented split's scores, by the names they are saved under."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medcnn.evaluation.arrays import Floats
from medcnn.evaluation.segmentation.result import SegmentationResult
from medcnn.evaluation.segmentation.scores import CaseScores
from medcnn.reporting.figures import INK, QUIET, Drawn, Row, colour, one_plot
from medcnn.reporting.segmentation_words import missed_in_words, rests_on
from medcnn.reporting.volume_figure import volume_figure
from medcnn.reporting.words import METRIC_WORDS, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE_IN, _LEAST_IN, _LINE_IN, _AROUND_IN = 6.4, 4.4, 0.62, 1.75
_BOX, _JITTER = 0.24, 0.19  # half heights on the axis of structures, which are 1 apart


def segmentation_figures(result: SegmentationResult, cases: Sequence[CaseScores], *, split: str) -> dict[str, Drawn]:
    """`dice_test` and so on -> figure; the cases are those that were evaluated."""
    figures = {f"{measure}_{split}": score_figure(result, cases, measure, split=split) for measure in ("dice", "hd95")}
    return figures | {f"{result.units.extent}s_{split}": volume_figure(result, cases, split=split)}


def score_figure(result: SegmentationResult, cases: Sequence[CaseScores], measure: str, *, split: str) -> Drawn:
    """Every case as a dot, a line per structure; the box holds the middle half, its line is the median.

    measure  a field of StructureScores: dice, nsd, hd95, assd
    """
    metric = result.units.name(measure)
    title = f"{METRIC_WORDS[metric]} on the {split} split"
    caption = (
        f"{rests_on(result)}; box: middle half of the cases and median, whiskers 5th to 95th percentile, diamond: mean"
    )
    if missed := missed_in_words(result.counts, result.structures):
        caption += f". {missed[0].upper()}{missed[1:]}" + ("" if measure in ("dice", "nsd") else ": not in this figure")
    height = _AROUND_IN + _LINE_IN * len(result.structures)
    figure, axes = one_plot(title, caption, width_in=_WIDE_IN, height_in=max(_LEAST_IN, height))
    rows: list[Row] = []
    for place, structure in enumerate(result.structures):
        value = np.array([getattr(case.structures[structure], measure) for case in cases], dtype=np.float64)
        _draw_line(axes, value[np.isfinite(value)], place)
        mean = result.estimates[f"{metric}.{structure}"].value
        axes.plot(mean, place, "D", color="white", markeredgecolor=INK, markersize=6, markeredgewidth=1.4, zorder=5)
        axes.text(1.01, place, number(mean), transform=axes.get_yaxis_transform(), va="center", fontsize=9, color=INK)
        rows += [
            {"case_id": case.case_id, "structure": structure, metric: one}
            for case, one in zip(cases, value, strict=True)
        ]
    axes.set_yticks(range(len(result.structures)), labels=result.structures)
    axes.set(ylim=(len(result.structures) - 0.5, -0.5), xlabel=METRIC_WORDS[metric])
    axes.grid(visible=False, axis="y")
    if measure in ("dice", "nsd"):
        axes.set_xlim(right=1.005)
    else:
        axes.set_xlim(left=0)
    return Drawn(figure, title, rows, caption)


def _draw_line(axes: Axes, value: Floats, place: int) -> None:
    """One structure: dots that do not hide each other, and the box on top."""
    from matplotlib.patches import Rectangle

    if not len(value):
        axes.text(0.01, place, "in no case", transform=axes.get_yaxis_transform(), va="center", fontsize=9, color=QUIET)
        return
    # spread by the golden ratio: even, and equal cases give equal pictures
    spread = _JITTER * (2 * ((np.arange(len(value)) * 0.6180339887498949) % 1) - 1)
    ink = colour(place)
    axes.plot(value, place + spread, "o", color=ink, alpha=0.55, markersize=4, markeredgewidth=0)
    low, first, middle, third, high = np.percentile(value, [5, 25, 50, 75, 95])
    for start, end in ((low, first), (third, high)):
        axes.plot([start, end], [place, place], color=INK, linewidth=1)
    axes.add_patch(
        Rectangle((first, place - _BOX), third - first, 2 * _BOX, facecolor=ink, alpha=0.16, edgecolor="none")
    )
    axes.add_patch(Rectangle((first, place - _BOX), third - first, 2 * _BOX, fill=False, edgecolor=INK, linewidth=1))
    axes.plot([middle, middle], [place - _BOX, place + _BOX], color=INK, linewidth=2)
