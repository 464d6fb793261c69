"""Boxes as a manifest holds them: corners at voxel edges, the upper ones exclusive, and a class each."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Box:
    """One box.

    corners  (x0, y0, x1, y1) in pixels of a picture, x along a row and y down the rows; in a volume
             (i0, j0, k0, i1, j1, k1) in voxels along its axes. Edges, not centres: a whole picture of
             W x H is (0, 0, W, H)
    name     its class
    """

    corners: tuple[float, ...]
    name: str


def read_boxes(text: str) -> list[Box]:
    """From a manifest's cell, `[{"box": [x0, y0, x1, y1], "class": "mass"}, ...]`. Raises ValueError that says why."""
    if not text:
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("is no JSON") from error
    if not isinstance(found, list):
        raise ValueError('is no list of {"box": [...], "class": "..."}')
    return [_box(number, item) for number, item in enumerate(found, start=1)]


def write_boxes(boxes: Sequence[Box]) -> str:
    """The cell that read_boxes reads; whole numbers without a point."""
    rows = [{"box": [int(c) if c == int(c) else c for c in box.corners], "class": box.name} for box in boxes]
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=False)


def _box(number: int, item: Any) -> Box:
    if not isinstance(item, dict) or not {"box", "class"} <= item.keys():
        raise ValueError(f'box {number} has no "box" or no "class"')
    corners, name = item["box"], item["class"]
    if not isinstance(name, str) or not name:
        raise ValueError(f'box {number}: "class" is no text')
    if not isinstance(corners, list) or len(corners) not in (4, 6) or not all(_is_number(c) for c in corners):
        raise ValueError(f'box {number}: "box" is not 4 numbers (x0, y0, x1, y1) or 6 (i0, j0, k0, i1, j1, k1)')
    half = len(corners) // 2
    if not all(low < high for low, high in zip(corners[:half], corners[half:], strict=True)):
        raise ValueError(f"box {number} is empty or turned around: each low corner must lie below its high one")
    return Box(tuple(float(c) for c in corners), name)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
