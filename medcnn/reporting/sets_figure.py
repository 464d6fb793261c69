"""Prediction sets: how often they hold the truth, class by class, and how many classes they name."""

from __future__ import annotations

import numpy as np

from medcnn.evaluation.prediction_sets import PredictionSets
from medcnn.reporting.figures import INK, QUIET, Drawn, Row, blank, colour, name, quiet_axes


def sets_figure(result: PredictionSets, *, split: str) -> Drawn:
    """Coverage with intervals beside the wanted one, and the sizes of the sets."""
    title = f"Prediction sets on the {split} split"
    total = int(result.sizes.sum())
    caption = (
        f"n = {total:,} sets; 95 % intervals over {result.unit}s; dashed: the coverage they were made for. One answer "
        "in the set is a decision; none or several leave the decision to a person"
    )
    shown = {"all": result.estimates["coverage"]}
    shown |= {k.partition(".")[2]: one for k, one in result.estimates.items() if k.startswith("coverage.")}
    shown = {label: one for label, one in shown.items() if one.defined}
    figure = blank(width_in=9.4, height_in=max(3.9, 1.9 + 0.36 * len(shown)))
    name(figure, title, caption)
    left, right = figure.subplots(1, 2)
    places = np.arange(len(shown))[::-1]
    for place, one in zip(places, shown.values(), strict=True):
        reach = np.array([[one.value - one.low], [one.high - one.value]]).clip(min=0)
        left.errorbar([one.value], [place], xerr=reach, fmt="o", color=colour(0), capsize=3, markersize=6)
    left.axvline(result.wanted, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    left.set_yticks(places, list(shown))
    left.set_xlim(right=1.01)
    left.set(xlabel="Sets that hold the truth", ylim=(-0.6, len(shown) - 0.4))
    sizes = np.arange(len(result.sizes))
    shares = result.sizes / max(total, 1)
    inks = [colour(0) if size == 1 else colour(1) for size in sizes]
    bars = right.bar(sizes, shares, width=0.7, color=inks, alpha=0.75)
    right.bar_label(bars, [f"{share:.0%}" for share in shares], fontsize=9, color=INK, padding=2)
    right.set_xticks(sizes)
    right.set(xlabel="Answers in the set", ylabel="Share of sets")
    right.margins(y=0.12)
    for axes in (left, right):
        quiet_axes(axes)
    left.tick_params(axis="y", colors=INK)
    left.set_title(f"coverage {shown.get('all', 'undefined')}", fontsize=10.5, color=INK, loc="left")
    right.set_title(f"abstained {result.estimates['abstained']}", fontsize=10.5, color=INK, loc="left")
    left.axhline(len(shown) - 1.5, color=QUIET, linewidth=0.6)
    rows: list[Row] = [
        {"part": "coverage", "of": label, "value": one.value, "low": one.low, "high": one.high, "n": one.n}
        for label, one in shown.items()
    ]
    rows += [{"part": "size", "of": size, "value": int(count)} for size, count in enumerate(result.sizes)]
    return Drawn(figure, title, rows, caption)
