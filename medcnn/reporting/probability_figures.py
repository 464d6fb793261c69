"""Reliability and histograms: what the probabilities of a classifier are worth, and how they are spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medcnn.evaluation.arrays import Bools, Floats, Ints
from medcnn.evaluation.classification import ClassificationResult
from medcnn.evaluation.curves import Reliability
from medcnn.reporting.figures import INK, QUIET, Drawn, Row, blank, colour, legend, name, quiet_axes
from medcnn.reporting.words import rests_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def reliability_figure(result: ClassificationResult, *, split: str) -> Drawn:
    """Observed against predicted probability, with how many cases each point rests on below."""
    title = f"Do probabilities mean what they say? ({split} split)"
    caption = rests_on(result) + "; bars: Wilson's 95 % interval, cases taken as independent"
    figure = blank(height_in=6.2)
    name(figure, title, caption)
    axes, below = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 3)), label="perfect calibration")
    rows: list[Row] = []
    for index, (of_class, curve) in enumerate(result.reliability.items()):
        _draw_reliability(axes, below, curve, index, len(result.reliability), _calibration_label(result, of_class))
        rows += _reliability_rows(curve, of_class)
    for one in (axes, below):
        quiet_axes(one)
    axes.set(ylabel="Observed share", xlim=(-0.01, 1.01), ylim=(-0.02, 1.02))
    below.set(xlabel="Predicted probability", ylabel="Cases")
    legend(axes, loc="best")
    return Drawn(figure, title, rows, caption)


def score_figure(result: ClassificationResult, probability: Floats, truth: Floats | Ints, *, split: str) -> Drawn:
    """Histogram of each class's probability, apart for cases that have it and cases that do not."""
    title = f"Scores on the {split} split"
    asked = list(result.roc)
    caption = rests_on(result) + "; dashed: decision threshold"
    lines = -(-len(asked) // 2)
    wide = len(asked) > 1
    figure = blank(width_in=9.0 if wide else 6.4, height_in=1.2 + 2.4 * lines if wide else 4.6)
    name(figure, title, caption)
    grid = figure.subplots(lines, 2 if wide else 1, squeeze=False)
    for axes in grid.flat[len(asked) :]:
        axes.set_axis_off()
    rows: list[Row] = []
    for index, of_class in enumerate(asked):
        axes, column = grid.flat[index], result.class_names.index(of_class)
        for shade, (label, chosen) in enumerate(_sides(result, truth, column)):
            rows += _draw_histogram(axes, probability[chosen, column], label, shade, of_class)
        if result.thresholds:
            axes.axvline(result.thresholds[index], color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
        quiet_axes(axes)
        axes.set(xlabel=f"Probability of {of_class}", ylabel="Cases", xlim=(0, 1))
        axes.set_ylim(top=1.22 * axes.get_ylim()[1])  # room for the legend
        legend(axes, loc="upper center", ncols=2)
    return Drawn(figure, title, rows, caption)


def _sides(result: ClassificationResult, truth: Floats | Ints, column: int) -> list[tuple[str, Bools]]:
    """The cases without the class, and those with it; cases whose label is missing are in neither."""
    of_class = result.class_names[column]
    if result.kind == "multilabel":
        return [("others", truth[:, column] == 0), (of_class, truth[:, column] == 1)]
    other = result.class_names[0] if result.kind == "binary" else "others"
    return [(other, truth != column), (of_class, truth == column)]


def _draw_histogram(axes: Axes, score: Floats, label: str, shade: int, of_class: str) -> list[Row]:
    count, edges = np.histogram(score, np.linspace(0, 1, 31))
    axes.stairs(count, edges, fill=True, color=colour(shade), alpha=0.45, label=f"{label} (n = {len(score):,})")
    axes.stairs(count, edges, color=colour(shade), linewidth=1.2)
    bins = zip(edges[:-1], edges[1:], count, strict=True)
    return [{"class": of_class, "cases_of": label, "from": low, "to": high, "cases": c} for low, high, c in bins]


def _calibration_label(result: ClassificationResult, of_class: str) -> str:
    if len(result.reliability) > 1:
        return of_class
    what = {"multiclass": "most probable class", "ordinal": "decided grade"}.get(result.kind, of_class)
    return f"{what}: calibration error {result.estimates['ece']}"


def _draw_reliability(axes: Axes, below: Axes, curve: Reliability, index: int, num_curves: int, label: str) -> None:
    filled = curve.count > 0
    x, y = curve.predicted[filled], curve.observed[filled]
    if num_curves == 1:
        reach = np.abs(np.stack([y - curve.low[filled], curve.high[filled] - y]))
        axes.errorbar(x, y, reach, fmt="none", ecolor=colour(index), elinewidth=1.2, capsize=2.5, alpha=0.7)
        below.stairs(curve.count, curve.edges, fill=True, color=colour(index), alpha=0.6)
    else:
        below.stairs(curve.count, curve.edges, color=colour(index), linewidth=1.2)
    axes.plot(x, y, "o-", color=colour(index), linewidth=1.6, markersize=5, label=label)


def _reliability_rows(curve: Reliability, of_class: str) -> list[Row]:
    columns = (curve.edges[:-1], curve.edges[1:], curve.count, curve.predicted, curve.observed, curve.low, curve.high)
    names = ("from", "to", "cases", "predicted", "observed", "low", "high")
    return [{"class": of_class, **dict(zip(names, row, strict=True))} for row in zip(*columns, strict=True)]
