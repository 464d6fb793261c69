"""The error of a predicted number over the range of the true one: who is predicted too high, and who worse."""

from __future__ import annotations

import numpy as np

from medcnn.evaluation.regression import THIRDS, RegressionResult
from medcnn.reporting.figures import QUIET, Drawn, blank, colour, name, quiet_axes
from medcnn.reporting.words import number, rests_on


def thirds_figure(result: RegressionResult, *, split: str, quantity: str = "value") -> Drawn:
    """Mean absolute error, and mean error, of the thirds of the cases by their truth, with intervals."""
    in_unit = f" ({result.quantity_unit})" if result.quantity_unit else ""
    title = f"Error by {quantity} on the {split} split"
    caption = (
        f"{rests_on(result)}. Thirds of the cases by their true {quantity}. A mean error above 0 in the lowest "
        "and below 0 in the highest is a prediction drawn towards the mean"
    )
    figure = blank(width_in=9.4, height_in=4.0)
    name(figure, title, caption)
    low, high = (number(edge) for edge in result.edges)
    places = [f"up to {low}", f"{low} to {high}", f"above {high}"]
    rows: list[dict[str, object]] = [{"part": part, "truth": words} for part, words in zip(THIRDS, places, strict=True)]
    for axes, metric, words in zip(
        figure.subplots(1, 2), ("mae", "error"), ("Mean absolute error", "Mean error, predicted − true"), strict=True
    ):
        quiet_axes(axes)
        found = [result.estimates[f"{metric}.{part}"] for part in THIRDS]
        values = np.array([[one.low, one.value, one.high] for one in found])
        axes.vlines(range(3), values[:, 0], values[:, 2], color=colour(0), linewidth=2.2, alpha=0.6)
        axes.plot(range(3), values[:, 1], "o", color=colour(0), markersize=7)
        axes.axhline(0, color=QUIET, linewidth=0.8)
        axes.set_xticks(range(3), places)
        axes.set(xlim=(-0.5, 2.5), xlabel=f"True {quantity}{in_unit}", ylabel=f"{words}{in_unit}")
        for row, one in zip(rows, found, strict=True):
            row |= {metric: one.value, f"{metric}_low": one.low, f"{metric}_high": one.high, "n": one.n}
    return Drawn(figure, title, rows, caption)
