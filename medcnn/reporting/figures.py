"""How every figure looks, and how it is kept: an Agg PNG with the CSV of what it shows beside it.

Imports matplotlib when a figure is drawn; uses no pyplot, so nothing global is touched and threads may draw.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with every kind of colour vision; order by contrast on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C00", "#444444")
INK, QUIET, GRID_INK = "#1f2933", "#616e7c", "#e4e7eb"
DPI = 150

Row = Mapping[str, object]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A figure in memory, what it is called, and the numbers it shows."""

    figure: Figure
    title: str
    rows: Sequence[Row]
    caption: str = ""


@dataclass(frozen=True)
class SavedFigure:
    """A figure on disk: <name>.png and <name>.csv."""

    png: Path
    csv: Path
    title: str
    caption: str = ""


def colour(index: int) -> str:
    return PALETTE[index % len(PALETTE)]


def blank(*, width_in: float = 6.4, height_in: float = 5.0) -> Figure:
    """A white figure that arranges its own margins; 960 x 750 pixels unless told otherwise."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained", facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.09, h_pad=0.09)  # inches
    return figure


def one_plot(title: str, caption: str, *, width_in: float = 6.4, height_in: float = 5.0) -> tuple[Figure, Axes]:
    """A figure with one set of axes, its title above and what it rests on below."""
    figure = blank(width_in=width_in, height_in=height_in)
    axes = figure.add_subplot()
    name(figure, title, caption)
    quiet_axes(axes)
    return figure, axes


def name(figure: Figure, title: str, caption: str) -> None:
    figure.suptitle(title, x=0.015, ha="left", fontsize=13, fontweight="bold", color=INK)
    if caption:
        letters = int(14 * figure.get_figwidth())  # what a line holds at this size
        figure.supxlabel(fill(caption, letters), x=0.015, ha="left", fontsize=8.5, color=QUIET)


def quiet_axes(axes: Axes) -> None:
    """Thin grey grid behind the data, two spines, readable ticks."""
    axes.grid(color=GRID_INK, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9aa5b1")
    axes.tick_params(colors=QUIET, labelsize=9.5, length=3)
    axes.xaxis.label.set(color=INK, fontsize=10.5)
    axes.yaxis.label.set(color=INK, fontsize=10.5)


def legend(axes: Axes, **where: Any) -> None:
    axes.legend(fontsize=9, frameon=True, framealpha=0.9, edgecolor="none", labelcolor=INK, **where)


def save(drawn: Drawn, folder: Path, name: str) -> SavedFigure:
    """Write folder/<name>.png and folder/<name>.csv; equal figures give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    png, table = folder / f"{name}.png", folder / f"{name}.csv"
    drawn.figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    write_rows(drawn.rows, table)
    return SavedFigure(png, table, drawn.title, drawn.caption)


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """CSV with the columns of all rows in order of appearance; what a row lacks stays empty."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({c: _plain(v) for c, v in row.items()} for row in rows)


def _plain(value: object) -> object:
    """Numbers in full; text that a spreadsheet would run as a formula is quoted."""
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{value}"
    item = getattr(value, "item", None)  # numpy's scalars
    return item() if item is not None else value
