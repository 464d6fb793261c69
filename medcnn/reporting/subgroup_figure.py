"""Metrics by subgroup: one line of plots per column of the manifest, one plot per metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medcnn.evaluation.gaps import TESTED, Gap
from medcnn.evaluation.subgroups import Group, SubgroupResult
from medcnn.reporting.figures import INK, QUIET, Drawn, blank, colour, name, quiet_axes
from medcnn.reporting.words import in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def subgroup_figure(result: SubgroupResult, *, split: str, metrics: Sequence[str] = TESTED) -> Drawn:
    """Each group's value with its interval, significant gaps in orange. Raises ValueError where there is no group."""
    columns = list(dict.fromkeys(group.column for group in result.groups))
    if not columns:
        raise ValueError("no group is large enough to be drawn: leave the figure out")
    unit = next(iter(result.groups[0].estimates.values())).unit
    title = f"Subgroups of the {split} split"
    caption = (
        f"Points: value of the group, with its 95 % interval over {unit}s. p: permutation test of the gap between best "
        "and worst, adjusted after Holm over all of these tests; orange where it is below 0.05"
    )
    sizes = [sum(group.column == column for group in result.groups) for column in columns]
    figure = blank(width_in=3.3 * len(metrics) + 1.2, height_in=1.5 + sum(0.75 + 0.33 * size for size in sizes))
    name(figure, title, caption)
    grid = figure.subplots(
        len(columns),
        len(metrics),
        squeeze=False,
        sharex="col",  # a gap looks as large as it is beside another column's
        sharey="row",
        height_ratios=[0.75 + 0.33 * size for size in sizes],
    )
    for line, column in enumerate(columns):
        groups = [group for group in result.groups if group.column == column]
        for place, metric in enumerate(metrics):
            gap = next((g for g in result.gaps if (g.column, g.metric) == (column, metric)), None)
            _draw(grid[line, place], groups, metric, gap)
        grid[line, 0].set_yticks(
            np.arange(len(groups))[::-1],
            [f"{group.group} ({group.num_cases:,})" for group in groups],
            parse_math=False,  # the user's own words: a $ is a $
        )
        grid[line, 0].set_ylabel(column, parse_math=False)
        for axes in grid[line]:
            axes.set_ylim(-0.6, len(groups) - 0.4)
            axes.tick_params(axis="y", colors=INK)
    figure.align_ylabels(grid[:, 0])
    return Drawn(figure, title, result.rows(), caption)


def _draw(axes: Axes, groups: Sequence[Group], metric: str, gap: Gap | None) -> None:
    quiet_axes(axes)
    shade = colour(1) if gap is not None and gap.significant else colour(0)
    for place, group in zip(np.arange(len(groups))[::-1], groups, strict=True):
        one = group.estimates[metric]
        if not one.defined:
            axes.annotate("undefined", (0.02, place), xycoords=axes.get_yaxis_transform(), fontsize=8.5, color=QUIET)
            continue
        reach = np.array([[one.value - one.low], [one.high - one.value]]).clip(min=0)
        axes.errorbar([one.value], [place], xerr=reach, fmt="o", color=shade, capsize=3, markersize=5.5)
    note = "" if gap is None else f", p = {gap.p_holm:.2g}"
    axes.locator_params(axis="x", nbins=5)
    axes.set_title(f"{in_words(metric)}{note}", fontsize=10, color=INK, loc="left")
