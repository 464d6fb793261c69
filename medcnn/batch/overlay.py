"""One picture per case: the scan, and the scan under its heat map, with what was answered.

Drawn with Pillow, since a figure of matplotlib's takes ten times as long and a folder may hold thousands; colours and
letters are those of the figures. Imports matplotlib for the colour map and the font only.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from medcnn.batch.planes import Panel, panels
from medcnn.batch.view import Heat, View
from medcnn.reporting.figures import INK, PALETTE, QUIET

WARNING_INK = PALETTE[1]
_MARGIN, _GAP, _BAR, _TICK = 30, 22, 16, 12
_OPACITY = 0.65  # of the heat's brightest colour, as in the report's figures

Rgb = npt.NDArray[np.uint8]


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


def overlay_png(view: View, heat: Heat, words: Words) -> bytes:
    """The PNG's bytes; equal inputs give equal bytes. heat lies on the network's grid, 0 to 1."""
    shown = panels(view, heat)
    plain = [np.repeat(panel.grey[..., None], 3, axis=2) for panel in shown]
    hot = [_under_heat(panel) for panel in shown]
    rows = [[*plain, *hot]] if len(shown) == 1 else [plain, hot]
    width = max(sum(tile.shape[1] for tile in row) + _GAP * (len(row) - 1) for row in rows) + 2 * _MARGIN + 92
    page = _Page(max(width, 760))
    page.heading(words)
    titles = [["Scan", words.heat_title]] if len(shown) == 1 else [["Scan"], [words.heat_title]]
    for row, (tiles, names) in enumerate(zip(rows, titles, strict=True)):
        has_heat = len(shown) == 1 or row == 1
        page.tiles(tiles, names, shown * (len(tiles) // len(shown)), with_bar=has_heat)
    for flag in words.flags:
        page.paragraph(flag, 15, WARNING_INK)
    page.paragraph(words.caption, 14, QUIET)
    return page.png()


def _under_heat(panel: Panel) -> Rgb:
    alpha = _OPACITY * panel.heat[..., None]
    mixed = panel.grey[..., None] * (1 - alpha) + _colours()[(panel.heat * 255).astype(np.uint8)] * alpha
    return np.asarray(mixed, np.uint8)


class _Page:
    """Things below each other on white; cut to its length at the end."""

    def __init__(self, width: int) -> None:
        self._image = Image.new("RGB", (width, 2400), "white")
        self._draw = ImageDraw.Draw(self._image)
        self._width, self._y = width, _MARGIN - 6

    def heading(self, words: Words) -> None:
        colour = WARNING_INK if words.is_warning else INK
        self._draw.text((_MARGIN, self._y), words.headline, colour, font=_font(27, bold=True))
        end = self._width - _MARGIN - _font(15).getlength(words.case_id)
        self._draw.text((end, self._y + 10), words.case_id, QUIET, font=_font(15))
        self._y += 40
        self.paragraph(words.numbers, 16, INK)
        self._y += 8

    def paragraph(self, text: str, size: int, colour: str) -> None:
        """Wrapped to the page."""
        line = ""
        for word in text.split():
            longer = f"{line} {word}".strip()
            if line and _font(size).getlength(longer) > self._width - 2 * _MARGIN:
                self._line(line, size, colour)
                longer = word
            line = longer
        self._line(line, size, colour)

    def _line(self, text: str, size: int, colour: str) -> None:
        self._draw.text((_MARGIN, self._y), text, colour, font=_font(size))
        self._y += round(size * 1.45)

    def tiles(self, tiles: list[Rgb], names: list[str], shown: list[Panel], *, with_bar: bool) -> None:
        """A row of pictures, each with its name and the directions in the patient."""
        x, top = _MARGIN, self._y + 26
        height = max(tile.shape[0] for tile in tiles)
        for number, (tile, panel) in enumerate(zip(tiles, shown, strict=True)):
            if number < len(names):
                self._draw.text((x, self._y), names[number], INK, font=_font(16, bold=True))
            y = top + (height - tile.shape[0]) // 2
            self._image.paste(Image.fromarray(tile), (x, y))
            self._marks(panel, x, y)
            x += tile.shape[1] + _GAP
        if with_bar:
            self._bar(x - 4, top, height)
        self._y = top + height + 16

    def _marks(self, panel: Panel, x: int, y: int) -> None:
        """The plane's name, the directions in the patient, and at the edges where the other planes cut."""
        height, width = panel.grey.shape
        if panel.cut_px is not None:
            row, column = panel.cut_px
            for start, end in ((0, _TICK), (width - _TICK, width)):
                self._draw.line((x + start, y + row, x + end, y + row), "#ffd166", 2)
            for start, end in ((0, _TICK), (height - _TICK, height)):
                self._draw.line((x + column, y + start, x + column, y + end), "#ffd166", 2)
        spots = (
            (6, height // 2, "lm"),
            (width - 6, height // 2, "rm"),
            (width // 2, 5, "ma"),
            (width // 2, height - 5, "md"),
        )
        for letter, (right, down, anchor) in zip(panel.letters, spots, strict=False):
            self._on_picture((x + right, y + down), letter, anchor)
        if panel.name:
            self._on_picture((x + 7, y + 5), panel.name, "la")

    def _on_picture(self, place: tuple[int, int], text: str, anchor: str) -> None:
        self._draw.text(place, text, "white", font=_font(14), anchor=anchor, stroke_width=2, stroke_fill="black")

    def _bar(self, x: int, y: int, height: int) -> None:
        """The scale of the heat, as it looks on middle grey."""
        heat = np.repeat(np.linspace(1, 0, height, dtype=np.float32)[:, None], _BAR, axis=1)
        ramp = _under_heat(Panel(np.full(heat.shape, 128, np.uint8), heat))
        self._image.paste(Image.fromarray(ramp), (x, y))
        for text, down, anchor in (("most", 0, "la"), ("none", height, "ld")):
            self._draw.text((x + _BAR + 7, y + down), text, QUIET, font=_font(13), anchor=anchor)

    def png(self) -> bytes:
        stream = io.BytesIO()
        self._image.crop((0, 0, self._width, self._y + _MARGIN // 2)).save(stream, "PNG", compress_level=4)
        return stream.getvalue()


@cache
def _colours() -> npt.NDArray[np.float64]:
    """(256, 3) of inferno, from none to most, 0 to 255."""
    import matplotlib

    return np.asarray(matplotlib.colormaps["inferno"](np.linspace(0, 1, 256))[:, :3] * 255, np.float64)


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
