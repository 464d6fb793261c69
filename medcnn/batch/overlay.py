"""One picture per classified case: the scan, and the scan under its heat map, with what was answered.

Imports matplotlib for the colour map only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from medcnn.batch.page import GAP, MARGIN, WARNING_INK, Page, Rgb
from medcnn.batch.planes import panels
from medcnn.batch.view import Grey, Heat, View
from medcnn.reporting.figures import INK, QUIET

_OPACITY = 0.65  # of the heat's brightest colour, as in the report's figures


@dataclass(frozen=True)
class Words:
    """What stands on the picture; only what may be shared.

    headline   the decision, or that there is none
    numbers    probabilities and threshold
    heat_title what the heat map is of
    flags      what a person should look at
    """

    case_id: str
    headline: str
    numbers: str
    heat_title: str
    caption: str
    flags: tuple[str, ...] = ()
    is_warning: bool = False


def overlay_page(view: View, heat: Heat, words: Words) -> Page:
    """The picture; equal inputs give equal pictures. heat lies on the network's grid, 0 to 1."""
    shown = panels(view, view.hottest(heat) if view.grey.ndim == 3 else ())
    plain = [np.repeat(panel.grey[..., None], 3, axis=2) for panel in shown]
    hot = [under_heat(panel.grey, view.heat_at(heat, panel.places)) for panel in shown]
    rows = [[*plain, *hot]] if len(shown) == 1 else [plain, hot]
    width = max(sum(tile.shape[1] for tile in row) + GAP * (len(row) - 1) for row in rows) + 2 * MARGIN + 92
    page = Page(max(width, 760))
    page.heading(words.headline, words.case_id, is_warning=words.is_warning)
    page.paragraph(words.numbers, 16, INK)
    page.space(8)
    titles = [["Scan", words.heat_title]] if len(shown) == 1 else [["Scan"], [words.heat_title]]
    for row, (tiles, names) in enumerate(zip(rows, titles, strict=True)):
        has_heat = len(shown) == 1 or row == 1
        page.tiles(tiles, names, shown * (len(tiles) // len(shown)), ramp=_ramp if has_heat else None)
    for flag in words.flags:
        page.paragraph(flag, 15, WARNING_INK)
    page.paragraph(words.caption, 14, QUIET)
    return page


def under_heat(grey: Grey, heat: Heat) -> Rgb:
    """(h, w) grey values with a heat map of their size laid over them."""
    alpha = _OPACITY * heat[..., None]
    mixed = grey[..., None] * (1 - alpha) + _colours()[(heat * 255).astype(np.uint8)] * alpha
    return np.asarray(mixed, np.uint8)


def _ramp(height: int, width: int) -> Rgb:
    """All heats as they look on middle grey."""
    heat = np.repeat(np.linspace(1, 0, height, dtype=np.float32)[:, None], width, axis=1)
    return under_heat(np.full(heat.shape, 128, np.uint8), heat)


@cache
def _colours() -> npt.NDArray[np.float64]:
    """(256, 3) of inferno, from none to most, 0 to 255."""
    import matplotlib

    return np.asarray(matplotlib.colormaps["inferno"](np.linspace(0, 1, 256))[:, :3] * 255, np.float64)
