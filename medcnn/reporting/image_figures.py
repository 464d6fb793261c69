"""Pictures of pictures: what goes into the network, what random changes do to it, where it looks, where it errs.

Images are (H, W) arrays, drawn with square pixels and without smoothing between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medcnn.reporting.figures import INK, QUIET, Drawn, Row, blank, name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Image = npt.NDArray[np.floating]
Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class CasePicture:
    """One case as it is shown: only what may be shared.

    image    (H, W)
    case_id  the keyed id; never a path, a UID or a patient's id
    text     one or two lines: truth, decision, probability
    heat     (H, W) where the network looked, 0 to 1, or None
    """

    image: Image
    case_id: str
    text: str = ""
    heat: Image | None = None


def montage_figure(
    images: Sequence[Image],
    texts: Sequence[str] = (),
    *,
    title: str = "Network inputs",
    value_range: Range | None = None,
) -> Drawn:
    """The images as the network receives them, each on its own grey scale, or all on `value_range`."""
    caption = f"{len(images)} images; {_scale_words(value_range)}"
    columns = min(len(images), max(4, int(np.ceil(np.sqrt(len(images))))))
    return _tiles(list(images), list(texts), columns, title, caption, value_range)


def augmentation_figure(
    originals: Sequence[Image], changed: Sequence[Sequence[Image]], *, value_range: Range | None = None
) -> Drawn:
    """Each original at the left of its row, and what the random transforms made of it beside it.

    originals (n,) of (H, W); changed (n,) of k images each
    """
    title, width = "Random transforms", 1 + max(len(row) for row in changed)
    tiles, texts = [], []
    for original, row in zip(originals, changed, strict=True):
        tiles += [original, *row]
        texts += ["original", *(f"draw {i + 1}" for i in range(len(row)))]
    caption = f"{len(originals)} images, {width - 1} draws each; {_scale_words(value_range)}"
    return _tiles(tiles, texts, width, title, caption, value_range)


def gallery_figure(
    cases: Sequence[CasePicture], *, title: str = "Cases that fared worst", value_range: Range | None = None
) -> Drawn:
    """Cases with what was true and what was decided below each; heat, where there is some, on top."""
    caption = f"{len(cases)} cases; {_scale_words(value_range)}"
    texts = [f"{case.case_id}\n{case.text}" for case in cases]
    columns = min(5, max(1, len(cases)))
    drawn = _tiles([c.image for c in cases], texts, columns, title, caption, value_range, [c.heat for c in cases])
    rows = [{"case_id": c.case_id, "text": c.text, **row} for c, row in zip(cases, drawn.rows, strict=True)]
    return Drawn(drawn.figure, title, rows, caption)


def saliency_figure(case: CasePicture, *, title: str = "Where the network looked") -> Drawn:
    """The image, and the image under its heat map, with the map's scale."""
    if case.heat is None:
        raise ValueError("saliency_figure needs a case with a heat map: set CasePicture.heat")
    caption = f"{case.case_id}; a heat map shows what the output was sensitive to, not why"
    figure = blank(width_in=8.2, height_in=4.6)
    name(figure, title, caption)
    left, right = figure.subplots(1, 2)
    window = _draw_tile(left, case.image, case.text, None, None)
    _draw_tile(right, case.image, "", None, case.heat)
    bar = figure.colorbar(right.images[-1], ax=right, fraction=0.046, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=QUIET, labelsize=8.5, length=2)
    bar.set_label("Saliency", color=QUIET, fontsize=9)
    return Drawn(figure, title, _heat_rows(case.heat, window), caption)


def display_range(image: Image, value_range: Range | None = None) -> Range:
    """Which values are drawn black and white: the given ones, or the image's own 1st and 99th percentile."""
    if value_range is not None:
        return value_range
    known = image[np.isfinite(image)]
    if not len(known):
        return 0.0, 1.0
    low, high = (float(x) for x in np.percentile(known, [1, 99]))
    return (low, high) if high > low else (float(known.min()), float(max(known.max(), known.min() + 1)))


def _tiles(
    images: Sequence[Image],
    texts: Sequence[str],
    columns: int,
    title: str,
    caption: str,
    value_range: Range | None,
    heats: Sequence[Image | None] = (),
) -> Drawn:
    if not images:
        raise ValueError(f"{title}: there is no image to draw")
    lines = -(-len(images) // columns)
    text_lines = max((text.count("\n") + 1 for text in texts if text), default=0)
    side_in = max(1.25, min(2.2, 9 / columns))
    figure = blank(
        width_in=max(4.8, side_in * columns), height_in=1.0 + lines * (side_in * _tallness(images) + 0.17 * text_lines)
    )
    name(figure, title, caption)
    grid = figure.subplots(lines, columns, squeeze=False)
    rows: list[Row] = []
    for index, axes in enumerate(grid.flat):
        if index >= len(images):
            axes.set_axis_off()
            continue
        text = texts[index] if index < len(texts) else ""
        low, high = _draw_tile(axes, images[index], text, value_range, heats[index] if heats else None)
        height, width = images[index].shape
        rows.append({"tile": index, "text": text, "height": height, "width": width, "black": low, "white": high})
    return Drawn(figure, title, rows, caption)


def _draw_tile(axes: Axes, image: Image, text: str, value_range: Range | None, heat: Image | None) -> Range:
    low, high = display_range(image, value_range)
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    if heat is not None:
        axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.65 * np.clip(heat, 0, 1), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if text:
        axes.set_xlabel(text, fontsize=8, color=INK, labelpad=3)
    return low, high


def _heat_rows(heat: Image, window: Range) -> list[Row]:
    """Where the heat lies and how much there is: a summary, since a line per pixel would serve nobody."""
    peak_row, peak_column = np.unravel_index(int(np.nanargmax(heat)), heat.shape)
    return [
        {
            "height": heat.shape[0],
            "width": heat.shape[1],
            "peak_row": peak_row,
            "peak_column": peak_column,
            "peak": float(np.nanmax(heat)),
            "mean": float(np.nanmean(heat)),
            "black": window[0],
            "white": window[1],
        }
    ]


def _tallness(images: Sequence[Image]) -> float:
    return float(min(2.0, max(image.shape[0] / image.shape[1] for image in images)))


def _scale_words(value_range: Range | None) -> str:
    if value_range is None:
        return "each from its own 1st to 99th percentile"
    return f"black {value_range[0]:g}, white {value_range[1]:g}"
