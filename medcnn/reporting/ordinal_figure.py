"""Decided against true grades, and how many grades a decision is off."""

from __future__ import annotations

import numpy as np

from medcnn.evaluation.classification import ClassificationResult
from medcnn.reporting.confusion_figure import draw_confusion
from medcnn.reporting.figures import INK, Drawn, Row, blank, colour, name, quiet_axes
from medcnn.reporting.words import rests_on


def ordinal_figure(result: ClassificationResult, *, split: str) -> Drawn:
    """The confusion of the median grades on the left, the errors in grades on the right."""
    title = f"Grades on the {split} split"
    caption = f"{rests_on(result)}; shade and %: share of the true grade. Decided is the median of the probabilities"
    names, k = list(result.class_names), len(result.class_names)
    side = min(8.0, 2.4 + 0.7 * k)
    figure = blank(width_in=min(11.5, side + 4.6), height_in=max(4.2, side + 0.6))
    name(figure, title, caption)
    left, right = figure.subplots(1, 2, width_ratios=[side, 3.8])
    draw_confusion(left, result.confusion, names, f"quadratic kappa {result.estimates['quadratic_kappa']}")
    truth, decision = np.indices(result.confusion.shape)
    steps = np.arange(1 - k, k)
    counts = np.array([int(result.confusion[decision - truth == step].sum()) for step in steps])
    quiet_axes(right)
    right.bar(steps, counts, width=0.75, color=[colour(0) if step == 0 else colour(1) for step in steps], alpha=0.75)
    right.set(xlabel="Decided − true grade", ylabel="Cases")
    right.set_xticks(steps)
    right.set_title(f"mean {result.estimates['mae_grades']} grades off", fontsize=10.5, color=INK)
    rows: list[Row] = [
        {"truth": names[t], "decision": names[d], "grades_off": d - t, "cases": int(result.confusion[t, d])}
        for t, d in np.ndindex(result.confusion.shape)
    ]
    return Drawn(figure, title, rows, caption)
