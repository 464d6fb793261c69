"""The loss beside the learning rate of a range test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medcnn.reporting.figures import INK, QUIET, Drawn, colour, legend, one_plot


def rate_figure(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    *,
    suggested: float | None,
    diverges: float | None,
) -> Drawn:
    """The loss after each step, its smoothed course, the suggested rate, and the one from which on the loss is lost.

    rates rise; losses and smoothed belong to them. What the loss does beyond its start is cut off.
    """
    title = "Which learning rate?"
    found = "The loss falls at no rate." if suggested is None else f"It falls fastest at {suggested:.1e}."
    bound = "" if diverges is None else f" From {diverges:.1g} it is above its start."
    caption = f"{len(rates)} training steps of a network that was thrown away, each with a larger rate. "
    figure, axes = one_plot(title, caption + found + bound, width_in=7.2, height_in=4.6)
    axes.plot(rates, losses, "o", markersize=2.5, color=QUIET, alpha=0.6, label="after each step")
    axes.plot(rates, smoothed, color=colour(0), linewidth=2.2, label="smoothed")
    if suggested is not None:
        axes.axvline(suggested, color=colour(2), linewidth=1.8, label=f"suggested: {suggested:.1e}")
    if diverges is not None:
        axes.axvline(diverges, color=colour(1), linewidth=1.6, linestyle=(0, (4, 3)), label=f"diverges: {diverges:.1g}")
    low, start = float(np.min(smoothed)), float(np.max(smoothed[: max(1, len(smoothed) // 4)]))
    room = 0.3 * (start - low) or 0.1
    axes.set_ylim(low - room, start + 2 * room)
    axes.set_xscale("log")
    axes.set_xlabel("Learning rate", color=INK)
    axes.set_ylabel("Loss of the same training batches", color=INK)
    legend(axes, loc="best")
    rows = [
        {"learning_rate": rate, "loss": loss, "smoothed": value}
        for rate, loss, value in zip(rates, losses, smoothed, strict=True)
    ]
    return Drawn(figure, title, rows, caption + found + bound)
