"""A volume answered tile by tile, in memory for one layer of tiles.

Tiles come in order along a slow axis. Rows that no later tile touches are final: they are handed on, and their memory
is used again for rows ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medcnn.inference.tiles import Image, Place, Tiling

#: Tiles (C, *sides) -> as many answers (channels, *sides) float32.
Answer = Callable[[Sequence[Tensor]], Sequence[Tensor]]

# A group of tiles may reach over several layers while the rows it needs take no more than this.
_SMALL_RING_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class SlidingWindow:
    """How a volume is walked through.

    slow         the axis along which rows become final: the one for which a layer of tiles is smallest
    channels     of an answer
    tiles_at_once   so many are given to `answer` together
    half_above_mb   rows are summed up in float16 where float32 took more: up to about 1e-3 of a probability is lost
    """

    tiling: Tiling
    channels: int
    tiles_at_once: int
    device: torch.device
    half_above_mb: int = 2048

    @property
    def slow(self) -> int:
        """The axis whose rows cost the least memory together."""
        size, sides = self.tiling.size, self.tiling.sides
        return min(range(len(size)), key=lambda axis: min(sides[axis], size[axis]) / size[axis])

    @property
    def row_bytes(self) -> int:
        """Of one row of answers in float32."""
        voxels = 1
        for axis, length in enumerate(self.tiling.size):
            voxels *= 1 if axis == self.slow else length
        return voxels * self.channels * 4

    def groups(self) -> list[list[Place]]:
        """Tiles that are answered together, in order along the slow axis."""
        most_rows = max(self.tiling.sides[self.slow], _SMALL_RING_BYTES // self.row_bytes)
        starts = self.tiling.starts[self.slow]
        groups: list[list[Place]] = []
        for place in self.tiling.places(self.slow):
            reach = starts[place[self.slow]] + self.tiling.sides[self.slow]
            if (
                groups
                and len(groups[-1]) < self.tiles_at_once
                and reach - starts[groups[-1][0][self.slow]] <= most_rows
            ):
                groups[-1].append(place)
            else:
                groups.append([place])
        return groups

    def final_rows(self, image: Image, answer: Answer) -> Iterator[Tensor]:
        """(C, *size) -> weighted means, some rows at a time: (channels, rows, *the other axes in order).

        What is yielded is overwritten once the next is asked for.
        """
        groups = self.groups()
        spans = [(self._rows(group[0])[0], self._rows(group[-1])[1]) for group in groups]
        ring = self._ring(max(stop - first for first, stop in spans))
        ends = [first for first, _ in spans[1:]] + [self.tiling.size[self.slow]]
        for group, (first, _), end in zip(groups, spans, ends, strict=True):
            answers = answer([self.tiling.cut(image, place) for place in group])
            for place, said in zip(group, answers, strict=True):
                self._add(ring, place, said)
            del answers, said  # or the last batch would live on beside the next
            for part, _ in pieces(first, end, ring.shape[1]):
                yield ring[:, part]
                ring[:, part] = 0

    def _rows(self, place: Place) -> tuple[int, int]:
        covered = self.tiling.covered(place)[self.slow]
        return covered.start, covered.stop

    def _ring(self, rows: int) -> Tensor:
        half = rows * self.row_bytes > self.half_above_mb * 2**20
        other = [length for axis, length in enumerate(self.tiling.size) if axis != self.slow]
        dtype = torch.float16 if half else torch.float32
        device = self.device
        if device.type == "cuda" and rows * self.row_bytes > torch.cuda.mem_get_info(device)[0] // 4:
            device = torch.device("cpu")  # the networks need the GPU's memory more
        return torch.zeros(self.channels, rows, *other, dtype=dtype, device=device)

    def _add(self, ring: Tensor, place: Place, said: Tensor) -> None:
        """Onto the rows of the ring that belong to the tile: row r of the grid is row r % length of the ring."""
        said = said[(slice(None), *self.tiling.inside(place))].movedim(1 + self.slow, 1).to(ring.device)
        weight = self.tiling.weight(place).movedim(self.slow, 0).to(ring.device)
        covered = list(self.tiling.covered(place))
        rows = covered.pop(self.slow)
        for part, own in pieces(rows.start, rows.stop, ring.shape[1]):
            target = ring[(slice(None), part, *covered)]
            if ring.dtype == torch.float32:
                target.addcmul_(said[:, own], weight[own])
            else:
                target += (said[:, own] * weight[own]).to(ring.dtype)


def pieces(first: int, stop: int, length: int) -> Iterator[tuple[slice, slice]]:
    """Rows [first, stop) in a ring of that length: (where in the ring, which of the rows), in one or two parts."""
    at = first
    while at < stop:
        start = at % length
        count = min(stop - at, length - start)
        yield slice(start, start + count), slice(at - first, at - first + count)
        at += count
