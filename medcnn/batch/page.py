"""A page of pictures and words about one case, as a PNG.

Drawn with Pillow, since a figure of matplotlib's takes ten times as long and a folder may hold thousands; colours and
letters are those of the figures. Imports matplotlib for the font only.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from medcnn.batch.planes import Panel
from medcnn.reporting.figures import INK, PALETTE, QUIET

WARNING_INK = PALETTE[1]
MARGIN, GAP = 30, 22
_BAR, _TICK = 16, 12
_LONGEST_PX = 4000

Rgb = npt.NDArray[np.uint8]
Ramp = Callable[[int, int], Rgb]  # height and width -> the scale of a heat


class Page:
    """Things below each other on white; cut to its length at the end."""

    def __init__(self, width: int) -> None:
        self._image = Image.new("RGB", (width, _LONGEST_PX), "white")
        self._draw = ImageDraw.Draw(self._image)
        self._width, self._y = width, MARGIN - 6

    def heading(self, headline: str, case_id: str, *, is_warning: bool) -> None:
        """What was answered, and for which case."""
        self._draw.text((MARGIN, self._y), headline, WARNING_INK if is_warning else INK, font=_font(27, bold=True))
        end = self._width - MARGIN - _font(15).getlength(case_id)
        self._draw.text((end, self._y + 10), case_id, QUIET, font=_font(15))
        self._y += 40

    def space(self, height_px: int) -> None:
        """Leave so much free."""
        self._y += height_px

    def key(self, entries: Sequence[tuple[str, str]]) -> None:
        """(colour, name): a square and what it stands for, as many lines as that takes."""
        x = float(MARGIN)
        for colour, name in entries:
            width = 14 + 8 + _font(16).getlength(name) + GAP
            if x > MARGIN and x + width > self._width - MARGIN:
                x, self._y = MARGIN, self._y + 25
            self._draw.rectangle((x, self._y + 3, x + 14, self._y + 17), colour)
            self._draw.text((x + 22, self._y), name, INK, font=_font(16))
            x += width
        self._y += 25

    def paragraph(self, text: str, size: int, colour: str) -> None:
        """Wrapped to the page."""
        line = ""
        for word in text.split():
            longer = f"{line} {word}".strip()
            if line and _font(size).getlength(longer) > self._width - 2 * MARGIN:
                self._line(line, size, colour)
                longer = word
            line = longer
        self._line(line, size, colour)

    def _line(self, text: str, size: int, colour: str) -> None:
        self._draw.text((MARGIN, self._y), text, colour, font=_font(size))
        self._y += round(size * 1.45)

    def tiles(
        self, tiles: Sequence[Rgb], names: Sequence[str], shown: Sequence[Panel], *, ramp: Ramp | None = None
    ) -> None:
        """A row of pictures, each with its name and the directions in the patient; ramp: of a heat, at their side."""
        x, top = MARGIN, self._y + 26
        height = max(tile.shape[0] for tile in tiles)
        for number, (tile, panel) in enumerate(zip(tiles, shown, strict=True)):
            if number < len(names):
                self._draw.text((x, self._y), names[number], INK, font=_font(16, bold=True))
            y = top + (height - tile.shape[0]) // 2
            self._image.paste(Image.fromarray(tile), (x, y))
            self._marks(panel, x, y)
            x += tile.shape[1] + GAP
        if ramp is not None:
            self._bar(ramp(height, _BAR), x - 4, top)
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

    def _bar(self, picture: Rgb, x: int, y: int) -> None:
        """The scale of a heat."""
        self._image.paste(Image.fromarray(picture), (x, y))
        for text, down, anchor in (("most", 0, "la"), ("none", len(picture), "ld")):
            self._draw.text((x + _BAR + 7, y + down), text, QUIET, font=_font(13), anchor=anchor)

    def png(self) -> bytes:
        """The file's bytes; equal pages give equal bytes."""
        stream = io.BytesIO()
        self._cut().save(stream, "PNG", compress_level=4)
        return stream.getvalue()

    def rgb(self) -> Rgb:
        """Its pixels, (H, W, 3)."""
        return np.asarray(self._cut().convert("RGB"), np.uint8)

    def _cut(self) -> Image.Image:
        return self._image.crop((0, 0, self._width, self._y + MARGIN // 2))


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
