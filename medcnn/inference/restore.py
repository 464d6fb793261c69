"""Probabilities on the prepared grid, row by row -> rows of the scan's own grid, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import floor

import torch
from torch import Tensor
from torch.nn.functional import interpolate

# Rows are restored together as long as they take no more than this.
_CHUNK_BYTES = 16 * 2**20


def restored(rows: Iterable[Tensor], size: Sequence[int], shape: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Linear interpolation along each axis, outer edges kept, clamped there (torch's align_corners=False).

    rows   (K, n, *size[1:]) in order along the first axis, any n, size[0] together; float16 or float32
    shape  (rows, A, B) of the scan's box

    Yields (first row, (K, m, *shape[1:]) float32) as soon as the rows they lie between are there. Only one prepared row
    is kept from one piece to the next. What is yielded may be a view of what came in.
    """
    kept: Tensor | None = None
    begun = seen = 0  # rows of the scan, rows of the prepared grid
    for piece in _small_pieces(rows):
        block = piece if kept is None else torch.cat([kept, piece], dim=1)
        base = seen - (kept is not None)
        seen += piece.shape[1]
        ready = shape[0] if seen == size[0] else rows_between(seen, size[0], shape[0])
        while begun < ready:
            stop = min(ready, begun + _rows_at_once(block.shape[0], shape))
            yield begun, in_plane(along_rows(block, base, begun, stop, size[0], shape[0]), shape[1:])
            begun = stop
        kept = block[:, -1:].clone() if size[0] != shape[0] else None


def position(row: int, size: int, length: int) -> float:
    """Where on the prepared axis a row of the scan lies."""
    return min(max((row + 0.5) * size / length - 0.5, 0.0), size - 1.0)


def rows_between(seen: int, size: int, length: int) -> int:
    """So many rows of the scan lie between the first `seen` prepared ones."""
    low, high = 0, length
    while low < high:
        middle = (low + high) // 2
        if floor(position(middle, size, length)) + 1 < seen or (size == length and middle < seen):
            low = middle + 1
        else:
            high = middle
    return low


def along_rows(block: Tensor, base: int, first: int, stop: int, size: int, length: int) -> Tensor:
    """Rows [first, stop) of the scan, (K, rows, *block's plane); block begins at the prepared row `base`."""
    if size == length:
        return block[:, first - base : stop - base]
    places = [position(row, size, length) for row in range(first, stop)]
    lower = [floor(place) for place in places]
    upper = [min(below + 1, size - 1) for below in lower]
    fraction = torch.tensor([place - below for place, below in zip(places, lower, strict=True)], device=block.device)
    low, high = (block.index_select(1, torch.tensor(ends, device=block.device) - base) for ends in (lower, upper))
    return low.lerp_(high, fraction.view(1, -1, 1, 1))


def in_plane(rows: Tensor, plane: Sequence[int]) -> Tensor:
    """(K, n, *prepared plane) -> (K, n, *plane)."""
    if tuple(rows.shape[2:]) == tuple(plane):
        return rows
    return interpolate(rows, size=tuple(plane), mode="bilinear", align_corners=False)


def _small_pieces(rows: Iterable[Tensor]) -> Iterator[Tensor]:
    for piece in rows:
        count = _rows_at_once(piece.shape[0], piece.shape[1:])
        for first in range(0, piece.shape[1], count):
            yield piece[:, first : first + count].float()


def _rows_at_once(channels: int, shape: Sequence[int]) -> int:
    return max(1, _CHUNK_BYTES // (4 * channels * shape[1] * shape[2]))
