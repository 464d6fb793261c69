"""The confusion matrix: what was true along the rows, what was decided along the columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medcnn.evaluation.arrays import Ints, ratio
from medcnn.evaluation.classification import ClassificationResult
from medcnn.reporting.figures import INK, QUIET, Drawn, Row, blank, name
from medcnn.reporting.words import rests_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def confusion_figure(result: ClassificationResult, *, split: str) -> Drawn:
    """Counts, and shares of the true class by shade; multi-label: a small matrix per class."""
    title = f"Truth and decision on the {split} split"
    multilabel = result.kind == "multilabel"
    matrices = list(result.confusion) if multilabel else [result.confusion]
    names = [["no", "yes"]] * len(matrices) if multilabel else [list(result.class_names)]
    columns = min(4, len(matrices))
    lines = -(-len(matrices) // columns)
    side = 1.9 if multilabel else min(9.0, 2.6 + 0.75 * len(result.class_names))
    caption = rests_on(result) + "; shade and %: share of the true class"
    figure = blank(width_in=max(5.2, side * columns + 1.2), height_in=side * lines + 1.4)
    name(figure, title, caption)
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat[len(matrices) :]:
        axes.set_axis_off()
    rows: list[Row] = []
    for index, (matrix, classes) in enumerate(zip(matrices, names, strict=True)):
        of_class = result.class_names[index] if multilabel else ""
        draw_confusion(grid.flat[index], matrix, classes, of_class)
        for t, d in np.ndindex(matrix.shape):
            head = {"class": of_class} if multilabel else {}
            rows.append({**head, "truth": classes[t], "decision": classes[d], "cases": int(matrix[t, d])})
    return Drawn(figure, title, rows, caption)


def draw_confusion(axes: Axes, matrix: Ints, classes: list[str], title: str) -> None:
    """One matrix (k, k): counts, shaded by the share of the true class."""
    shares = np.nan_to_num(ratio(matrix, matrix.sum(axis=1, keepdims=True)))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15)
    for t, d in np.ndindex(matrix.shape):
        ink = "white" if shares[t, d] > 0.6 else INK
        size = 11 if len(classes) <= 4 else 8
        text = f"{matrix[t, d]:,}\n{shares[t, d]:.0%}"
        axes.text(d, t, text, ha="center", va="center", color=ink, fontsize=size)
    places = range(len(classes))
    slant = 0 if max(map(len, classes)) * len(classes) < 40 else 40
    axes.set_xticks(places, classes, rotation=slant, ha="right" if slant else "center")
    axes.set_yticks(places, classes)
    axes.tick_params(colors=INK, labelsize=9.5, length=0)
    axes.set_xlabel("Decision", color=QUIET, fontsize=10)
    axes.set_ylabel("Truth", color=QUIET, fontsize=10)
    axes.label_outer()
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title, fontsize=10.5, color=INK)
