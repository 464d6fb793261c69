"""Two runs on the same cases: one dot per case, run A to the right, run B upwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medcnn.evaluation.arrays import Floats
from medcnn.reporting.figures import INK, QUIET, Drawn, Row, blank, colour, legend, name, quiet_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_COLUMNS = 3
_PANEL_IN = 3.4


@dataclass(frozen=True, eq=False)
class PairedPanel:
    """One plot. a, b (n,) of the same cases, nan where undefined; group (n,) what a dot is coloured by, or none."""

    title: str
    a: Floats
    b: Floats
    group: Sequence[str] = ()


def paired_figure(
    panels: Sequence[PairedPanel],
    case_ids: Sequence[str],
    *,
    title: str,
    measure: str,
    names: Sequence[str],
    better: str,
) -> Drawn:
    """Dots on the diagonal are equal in both; `better` says which side is, for example "above: B is better"."""
    columns = min(_MOST_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    caption = f"One dot per case, {len(case_ids)} in all. On the line both are equal; {better}"
    figure = blank(width_in=max(5.0, _PANEL_IN * columns), height_in=1.25 + (_PANEL_IN + 0.15) * lines)
    name(figure, title, caption)
    rows: list[Row] = []
    for place, axes in enumerate(figure.subplots(lines, columns, squeeze=False).flat):
        if place >= len(panels):
            axes.set_axis_off()
            continue
        panel = panels[place]
        _draw(axes, panel, place)
        axes.set_xlabel(f"{measure}, {names[0]}")
        if place % columns == 0:
            axes.set_ylabel(f"{measure}, {names[1]}")
        rows += [
            {"panel": panel.title, "case_id": case, names[0]: a, names[1]: b}
            for case, a, b in zip(case_ids, panel.a, panel.b, strict=True)
        ]
    return Drawn(figure, title, rows, caption)


def _draw(axes: Axes, panel: PairedPanel, place: int) -> None:
    quiet_axes(axes)
    axes.set_title(panel.title, fontsize=11, color=INK, loc="left")
    both = np.isfinite(panel.a) & np.isfinite(panel.b)
    a, b = panel.a[both], panel.b[both]
    if not len(a):
        axes.text(0.5, 0.5, "in no case", transform=axes.transAxes, ha="center", color=QUIET)
        return
    low, high = float(min(a.min(), b.min())), float(max(a.max(), b.max()))
    margin = 0.06 * (high - low) or 0.05
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    groups = list(dict.fromkeys(panel.group)) or [""]
    group = np.array(list(panel.group) or [""] * len(both))[both]
    for number, one in enumerate(groups):
        ink = colour(number if panel.group else place)
        here = group == one
        axes.plot(a[here], b[here], "o", color=ink, alpha=0.65, markersize=4.5, markeredgewidth=0, label=one)
    if panel.group:
        legend(axes, loc="lower right")
    axes.set(xlim=limits, ylim=limits)
    axes.set_aspect("equal")
