"""Learning curves: every metric that training reports, by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from medcnn.reporting.figures import INK, QUIET, Drawn, blank, colour, legend, name, quiet_axes
from medcnn.reporting.words import METRIC_WORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WORDS = {**METRIC_WORDS, "loss": "Loss", "lr": "Learning rate", "learning_rate": "Learning rate"}


def learning_figure(rows: Sequence[Mapping[str, float]], *, best_epoch: int | None = None) -> Drawn:
    """One panel per metric, one line per split.

    rows        one per epoch: {"epoch": 3, "train/loss": 0.31, "val/loss": 0.35, ...}; rows of the same epoch are
                merged, and what a row lacks is left out of its line
    best_epoch  the epoch whose weights were kept: marked
    """
    title = "Learning curves"
    by_epoch: dict[int, dict[str, float]] = {}
    for row in rows:
        by_epoch.setdefault(int(row["epoch"]), {}).update({k: v for k, v in row.items() if k != "epoch"})
    lines = _lines(by_epoch)
    panels = sorted({metric for metric, _ in lines}, key=lambda m: (m != "loss", m))
    columns = min(3, max(1, len(panels)))
    high = -(-len(panels) // columns) if panels else 1
    figure = blank(width_in=max(6.4, 3.8 * columns), height_in=1.2 + 2.9 * high)
    kept = "" if best_epoch is None else f"; dashed: epoch {best_epoch}, whose weights were kept"
    caption = f"{len(by_epoch)} epochs{kept}"
    name(figure, title, caption)
    grid = figure.subplots(high, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, metric in zip(grid.flat, panels, strict=False):
        _draw_panel(axes, metric, {split: xy for (m, split), xy in lines.items() if m == metric}, best_epoch)
    return Drawn(figure, title, [{"epoch": e, **values} for e, values in sorted(by_epoch.items())], caption)


def _lines(by_epoch: Mapping[int, Mapping[str, float]]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """(metric, split) -> its points; `val/loss` is metric loss of split val, a bare name has no split."""
    lines: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for epoch in sorted(by_epoch):
        for key, value in by_epoch[epoch].items():
            split, _, metric = key.rpartition("/")
            if value is not None and np.isfinite(value):
                lines.setdefault((metric, split), []).append((epoch, float(value)))
    return lines


def _draw_panel(
    axes: Axes, metric: str, lines: Mapping[str, Sequence[tuple[int, float]]], best_epoch: int | None
) -> None:
    from matplotlib.ticker import MaxNLocator

    order = {"train": 0, "val": 1}
    for split in sorted(lines, key=lambda s: (order.get(s, 2), s)):
        x, y = zip(*lines[split], strict=True)
        shade = order.get(split, 2 + len(split) % 3)
        axes.plot(
            x, y, "o-", markersize=3 if len(x) > 1 else 6, linewidth=1.8, color=colour(shade), label=split or None
        )
    if best_epoch is not None:
        axes.axvline(best_epoch, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    quiet_axes(axes)
    axes.set_title(_WORDS.get(metric, metric.replace("_", " ")), fontsize=11, color=INK)
    axes.set_xlabel("Epoch", color=QUIET)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if any(lines):
        legend(axes, loc="best")
