"""Patches of volumes and pictures for training, in an order that is a pure function of (seed, epoch, position).

C channels, M planes of the target. Foreground oversampling after nnU-Net (Isensee et al. 2021): a share of the patches
is centred on a voxel of a structure, since uniform patches of a large scan hardly ever show a small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medcnn.data.batches import Place, Places
from medcnn.transforms.draws import ORDER, stream

Indices = npt.NDArray[np.int64]

PATCH = 16  # the purpose of these random numbers, see transforms.draws
_FINEST_SHARE = 1000


class Pair(Protocol):
    """image (C, *size) float32 and target (M, *size) uint8 of one case; mapped ones are as good as arrays."""

    @property
    def image(self) -> npt.NDArray[np.float32]: ...

    @property
    def target(self) -> npt.NDArray[np.uint8]: ...


class PatchCases(Protocol):
    """Prepared cases by number; foreground per case and structure, as SegmentationCase has it."""

    @property
    def sizes(self) -> Sequence[tuple[int, ...]]: ...

    @property
    def foreground(self) -> Sequence[Sequence[npt.NDArray[np.unsignedinteger[Any]]]]: ...

    def __getitem__(self, index: int, /) -> Pair: ...

    def __len__(self) -> int: ...


@dataclass(eq=False)
class PatchBatch:
    """B patches (B, C, *cut), their targets (B, M, *cut), and their places in the epoch, which key random numbers."""

    image: Tensor
    target: Tensor
    epoch: int
    positions: list[int]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PatchBatch:  # noqa: FBT001, FBT002  torch's own
        """On another device; Lightning calls this."""
        image = self.image.to(device, non_blocking=non_blocking)
        target = self.target.to(device, non_blocking=non_blocking)
        return PatchBatch(image, target, self.epoch, self.positions)

    def pin_memory(self) -> PatchBatch:
        """Where the device can fetch it by itself; the loader calls this."""
        return PatchBatch(self.image.pin_memory(), self.target.pin_memory(), self.epoch, self.positions)


@dataclass(frozen=True)
class PatchOrder:
    """Which case comes when, and which patches are drawn around a structure.

    Every batch is full: what an epoch leaves over comes in another one, since each has its own order. With fewer
    patches in an epoch than in a batch, cases come again within it.
    """

    num_cases: int
    batch_patches: int
    seed: int
    patches_per_case: int = 1
    foreground_share: float = 1 / 3

    def batches_per_epoch(self) -> int:
        return max(1, self.num_cases * self.patches_per_case // self.batch_patches)

    def indices(self, epoch: int) -> Indices:
        """(patches,) case numbers: each case once before any comes again."""
        generator = stream(self.seed, epoch, 0, ORDER)
        rounds = max(self.patches_per_case, -(-self.batch_patches // self.num_cases))
        return np.concatenate([generator.permutation(self.num_cases) for _ in range(rounds)])

    def seeks_structure(self, position: int) -> bool:
        """Evenly spread over the positions, so that every batch has its share, and at least one if there is any.

        Batches of one patch cannot keep that; there every n-th batch is one.
        """
        share = Fraction(self.foreground_share).limit_denominator(_FINEST_SHARE)
        if share and self.batch_patches > 1:
            share = max(share, Fraction(1, self.batch_patches))
        return int((position + 1) * share) > int(position * share)


@dataclass(frozen=True)
class PatchShape:
    """What is cut out.

    patch_vox   sides of a patch on the prepared grid, one for each axis of the network
    margin_vox  voxels more on either side of each axis, for what turning brings in; () is none
    jitter_vox  where a patch is larger than the scan: how far the scan may lie from the patch's middle
    across      slices of volumes: the axis that they are stacked along, of which one voxel is cut and squeezed away
    """

    patch_vox: tuple[int, ...]
    margin_vox: tuple[int, ...] = ()
    jitter_vox: int = 0
    across: int | None = None

    def __post_init__(self) -> None:
        if self.margin_vox and len(self.margin_vox) != len(self.patch_vox):
            raise ValueError(f"a margin for each axis of {self.patch_vox} is needed, got {self.margin_vox}")

    @property
    def cut_vox(self) -> tuple[int, ...]:
        """Sides with their margins, as the network's axes run."""
        margins = self.margin_vox or (0,) * len(self.patch_vox)
        return tuple(side + 2 * margin for side, margin in zip(self.patch_vox, margins, strict=True))

    def along(self, sides: Sequence[int], across: int) -> tuple[int, ...]:
        """With the axis of slices put in."""
        if self.across is None:
            return tuple(sides)
        return (*sides[: self.across], across, *sides[self.across :])

    def start(
        self, size: Sequence[int], places: Sequence[npt.NDArray[np.unsignedinteger[Any]]], draw: np.random.Generator
    ) -> tuple[int, ...]:
        """First voxel of a patch without margin, along each axis of the scan; it may be negative.

        places  per structure, voxels to centre on: a structure that is there is drawn, then one of them. Without any,
        every position within the scan is as likely.
        """
        sides = self.along(self.patch_vox, 1)
        there = [own for own in places if len(own)]
        centre = None
        if there:
            own = there[draw.integers(len(there))]
            centre = np.unravel_index(int(own[draw.integers(len(own))]), tuple(size))
        return tuple(
            self._start_along(extent, side, None if centre is None else int(centre[axis]), draw)
            for axis, (extent, side) in enumerate(zip(size, sides, strict=True))
        )

    def _start_along(self, extent: int, side: int, centre: int | None, draw: np.random.Generator) -> int:
        room = extent - side
        if room < 0:
            most = min(self.jitter_vox, -room // 2)
            return room // 2 + int(draw.integers(-most, most + 1))
        if centre is None:
            return int(draw.integers(room + 1))
        return min(max(centre - side // 2, 0), room)

    def cut(self, whole: npt.NDArray[Any], start: Sequence[int], into: npt.NDArray[Any]) -> None:
        """whole (N, *size) at start, with margins, into (N, *cut), which holds zeros."""
        margins = self.along(self.margin_vox or (0,) * len(self.patch_vox), 0)
        sides = self.along(self.cut_vox, 1)
        source, goal = [slice(None)], [slice(None)]
        for extent, first, margin, side in zip(whole.shape[1:], start, margins, sides, strict=True):
            low = first - margin
            source.append(slice(max(low, 0), max(min(low + side, extent), 0)))
            goal.append(slice(source[-1].start - low, source[-1].stop - low))
        into.reshape(len(whole), *sides)[tuple(goal)] = whole[tuple(source)]


class _Source(Dataset[PatchBatch]):
    """A batch for each (epoch, batch) place; each rank of several takes every n-th patch of it."""

    def __init__(self, cases: PatchCases, order: PatchOrder, shape: PatchShape, rank: int, ranks: int) -> None:
        self.cases, self.order, self.shape, self.rank, self.ranks = cases, order, shape, rank, ranks
        self._epoch, self._indices = -1, np.zeros(0, np.int64)

    def __getitem__(self, place: Place) -> PatchBatch:
        epoch, number = place
        if epoch != self._epoch:
            self._epoch, self._indices = epoch, self.order.indices(epoch)
        first = number * self.order.batch_patches
        positions = list(range(first, first + self.order.batch_patches))
        positions = positions[self.rank :: self.ranks] or positions[-1:]
        chosen = [self.cases[int(self._indices[position])] for position in positions]
        cut = self.shape.cut_vox
        image = np.zeros((len(chosen), len(chosen[0].image), *cut), np.float32)
        target = np.zeros((len(chosen), len(chosen[0].target), *cut), np.uint8)
        for row, (position, case) in enumerate(zip(positions, chosen, strict=True)):
            start = self._start(epoch, position)
            self.shape.cut(case.image, start, image[row])
            self.shape.cut(case.target, start, target[row])
        return PatchBatch(torch.from_numpy(image), torch.from_numpy(target), epoch, positions)

    def _start(self, epoch: int, position: int) -> tuple[int, ...]:
        index = int(self._indices[position])
        places = self.cases.foreground[index] if self.order.seeks_structure(position) else ()
        return self.shape.start(self.cases.sizes[index], places, stream(self.order.seed, epoch, position, PATCH))


class PatchBatches:
    """The training data as batches of patches."""

    def __init__(self, cases: PatchCases, order: PatchOrder, shape: PatchShape, *, workers: int) -> None:
        self.cases, self.order, self.shape, self.workers = cases, order, shape, workers

    def loader(self, epoch: int, first: int, last: int, *, rank: int = 0, ranks: int = 1) -> DataLoader[PatchBatch]:
        """Batches first to last (exclusive) of an epoch."""
        return DataLoader(
            _Source(self.cases, self.order, self.shape, rank, ranks),
            batch_size=None,
            sampler=Places(epoch, first, last),
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            timeout=120 if self.workers else 0,
        )
