"""A segmented case as it is looked at: the true outline in green, the predicted one in red, on the grey image.

Outlines run along the edges of voxels, since that is what a mask is. Volumes are shown as radiologists hang them: the
patient's right on the left, anterior or superior on top, in true proportions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medcnn.reporting.figures import INK, QUIET, Drawn, Row, blank, name
from medcnn.reporting.image_figures import display_range
from medcnn.reporting.overlay_planes import Labels, Mask, Plane, SegmentedCase, planes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRUTH_INK, PREDICTION_INK = "#19e07a", "#ff3b30"
_TRUTH_WIDTH, _PREDICTION_WIDTH = 2.6, 1.2  # points: where the outlines agree, both are seen
_SMALL = 200  # voxels along a side, below which each is drawn as a square
_WIDE_IN, _TALL_IN, _LEAST_IN = 9.0, 3.6, 5.2  # all columns together; a line at most; for title and legend
_TEXT_IN, _HEAD_IN = 1.2, 0.45
# where the letters for left, right, top and bottom stand on a picture
_SPOTS = (
    (0.02, 0.5, "left", "center"),
    (0.98, 0.5, "right", "center"),
    (0.5, 0.98, "center", "top"),
    (0.5, 0.02, "center", "bottom"),
)


def overlay_figure(case: SegmentedCase, *, title: str = "Truth and prediction") -> Drawn:
    """Three planes of a volume through its largest slices, or the picture."""
    return gallery_figure([case], title=title)


def gallery_figure(cases: Sequence[SegmentedCase], *, title: str = "Best, median and worst cases") -> Drawn:
    """A line per case of a volume, three pictures each; pictures stand beside each other."""
    if not cases:
        raise ValueError(f"{title}: there is no case to draw")
    drawn = [planes_of(case) for case in cases]
    flat = all(len(planes) == 1 for planes in drawn)
    where = (
        "around the structures" if flat else "through the slices with most of the structures, and what is around them"
    )
    caption = f"Outlines along the edges of {'pixels' if flat else 'voxels'}; shown {where}"
    columns = min(len(cases), 3) if flat else 3
    lines = -(-len(cases) // columns) if flat else len(cases)
    figure, grid = _grid(drawn, lines, columns)
    name(figure, title, caption)
    for axes in grid.flat:
        axes.set_axis_off()
        axes.set_anchor("N")  # all of a line end at the top, so that none covers the heading
    for number, (case, planes) in enumerate(zip(cases, drawn, strict=True)):
        row = grid.flat[number : number + 1] if flat else grid[number]
        for axes, plane in zip(row, planes, strict=False):
            _draw(axes, plane, display_range(case.image))
        heading = f"{case.case_id}\n{case.text}" if flat and case.text else f"{case.case_id}   {case.text}"
        row[0].set_title(heading.strip(), fontsize=9.5, color=INK, loc="left")
    _legend(figure)
    rows: list[Row] = [{"case_id": case.case_id, "text": case.text} for case in cases]
    return Drawn(figure, title, rows, caption)


def _draw(axes: Axes, plane: Plane, window: tuple[float, float]) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.patheffects import withStroke

    height, width = plane.image.shape[0] * plane.edges[0], plane.image.shape[1] * plane.edges[1]
    smooth = "nearest" if max(plane.image.shape) < _SMALL else "antialiased"
    axes.imshow(
        plane.image, cmap="gray", vmin=window[0], vmax=window[1], interpolation=smooth, extent=(0, width, height, 0)
    )
    for labels, ink, thick in (
        (plane.truth, TRUTH_INK, _TRUTH_WIDTH),
        (plane.predicted, PREDICTION_INK, _PREDICTION_WIDTH),
    ):
        lines = [line for mask in _masks(labels) for line in outline(mask, plane.edges)]
        axes.add_collection(LineCollection(lines, colors=ink, linewidths=thick, capstyle="projecting"))
    stroke = [withStroke(linewidth=2.2, foreground="black")]
    for letter, (x, y, ha, va) in zip(plane.letters, _SPOTS, strict=False):
        axes.text(x, y, letter, transform=axes.transAxes, ha=ha, va=va, color="white", fontsize=10, path_effects=stroke)
    if plane.title:
        axes.text(
            0.02, 0.98, plane.title, transform=axes.transAxes, ha="left", va="top", color="white", fontsize=8.5,
            path_effects=stroke,
        )  # fmt: skip


def _masks(labels: Labels) -> Iterator[Mask]:
    """Each structure of a plane (M, rows, columns) by itself, so that touching ones keep the edge between them."""
    if len(labels) > 1:
        yield from (plane == 1 for plane in labels)
        return
    yield from (labels[0] == value for value in np.unique(labels[0]) if value not in (0, 255))


def outline(mask: Mask, edges: tuple[float, float]) -> list[npt.NDArray[np.float64]]:
    """Line segments [(x, y), (x, y)] along the edges of pixels between a mask (rows, columns) and what is outside."""
    padded = np.pad(mask, 1)
    across = np.argwhere(padded[:-1] != padded[1:])  # between row r - 1 and r of the mask, at column c - 1
    along = np.argwhere(padded[:, :-1] != padded[:, 1:])
    high, wide = edges
    lines = [np.array([[(c - 1) * wide, r * high], [c * wide, r * high]]) for r, c in across]
    lines += [np.array([[c * wide, (r - 1) * high], [c * wide, r * high]]) for r, c in along]
    return lines


def _grid(drawn: Sequence[Sequence[Plane]], lines: int, columns: int) -> tuple[Figure, Any]:
    """Axes (lines, columns), each as wide and tall as what it shows, all on about one scale."""
    planes = [plane for of_case in drawn for plane in of_case]
    sizes = [(p.image.shape[0] * p.edges[0], p.image.shape[1] * p.edges[1]) for p in planes]
    wide = [max(size[1] for size in sizes[column::columns]) for column in range(columns)]
    tall = [max(size[0] for size in sizes[line * columns : (line + 1) * columns]) for line in range(lines)]
    scale = min(_WIDE_IN / sum(wide), _TALL_IN / max(tall))
    figure = blank(
        width_in=max(_LEAST_IN, scale * sum(wide) + 0.15 * columns),
        height_in=_TEXT_IN + sum(scale * one + _HEAD_IN for one in tall),
    )
    return figure, figure.subplots(lines, columns, squeeze=False, width_ratios=wide, height_ratios=tall)


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=TRUTH_INK, linewidth=_TRUTH_WIDTH, label="truth"),
        Line2D([], [], color=PREDICTION_INK, linewidth=_PREDICTION_WIDTH, label="prediction"),
    ]
    figure.legend(handles=handles, loc="upper right", ncols=2, frameon=False, fontsize=9.5, labelcolor=QUIET)
