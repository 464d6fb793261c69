"""Boxes of other formats, brought to a picture's edges: nothing outside it, and nothing clipped without a word."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medcnn.data.boxes import Box
from medcnn.data.layouts.listing import Problems

ROUNDING_PX = 0.5  # what a format's own rounding may carry an edge beyond the picture's


@dataclass
class BoxEdges:
    """Checks boxes one by one; `moved` counts those whose edge was set back onto the picture's."""

    problems: Problems
    moved: int = 0

    def box(
        self, corners: tuple[float, float, float, float], name: str, size: tuple[int, int], where: str
    ) -> Box | None:
        """corners (x0, y0, x1, y1) in pixels; size (width, height). None and a problem where they do not fit."""
        x0, y0, x1, y1 = corners
        width, height = size
        if not (x0 < x1 and y0 < y1):  # nan too
            self.problems.add(f"{where}: the box is empty or turned around ({x1 - x0:g} x {y1 - y0:g} pixels)")
            return None
        beyond = max(-x0, -y0, x1 - width, y1 - height)
        if beyond > ROUNDING_PX:
            self.problems.add(f"{where}: the box ends {beyond:g} pixels outside the picture of {width} x {height}")
            return None
        self.moved += beyond > 0
        inside = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
        return Box(tuple(round(corner, 3) for corner in inside), name)

    def remarks(self) -> list[str]:
        if not self.moved:
            return []
        return [
            f"{self.moved} boxes ended up to {ROUNDING_PX:g} pixel beyond the picture, by rounding: set to its edge"
        ]

    def size(self, path: Path, where: str, *, needed: bool = True) -> tuple[int, int] | None:
        """(width, height) of a picture as medcnn reads it, from its header; None (a problem if needed) for others."""
        found = _size(path)
        if found is None and needed:
            self.problems.add(f"{where}: its size is not known, for it is no readable picture")
        return found


def _size(path: Path) -> tuple[int, int] | None:
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as picture:
            turned = picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # EXIF: lying on its side
            return (picture.height, picture.width) if turned else (picture.width, picture.height)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def is_number(value: Any) -> bool:
    """A finite or infinite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)
