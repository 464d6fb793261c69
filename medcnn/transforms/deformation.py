"""One resampling for everything that moves voxels: rotation, scaling, shear, shift and elastic displacement.

n scans, C channels, M planes of labels, d spatial axes. Vectors count their components in torch's order for grids,
the last spatial axis first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

IGNORE = 255
_TOGETHER = 8  # label values interpolated at once: bounds the memory for targets of a hundred structures


@dataclass(frozen=True)
class Elastic:
    """A displacement that varies smoothly: cubic B-splines between knots with random displacements."""

    probability: float
    displacement_px: float
    spacing_px: float

    def knots(self, patch: Sequence[int]) -> tuple[int, ...]:
        """How many along each axis, those beyond the border included."""
        return tuple(math.floor((side - 0.5) / self.spacing_px) + 4 for side in patch)

    def displacement(self, uniform: Tensor, patch: Sequence[int]) -> Tensor:
        """uniform (n, d, *knots) -> voxels (n, d, *patch); a knot's lie within ± displacement_px."""
        field = (2 * uniform - 1) * self.displacement_px
        for axis, side in enumerate(patch):
            weights = torch.from_numpy(spline_matrix(side, self.spacing_px)).to(field.device)
            field = torch.movedim(torch.movedim(field, 2 + axis, -1) @ weights.T, -1, 2 + axis)
        return field


def spline_matrix(side: int, spacing_px: float) -> npt.NDArray[np.float32]:
    """(side, knots) values of the cubic B-splines at the voxels' centres; rows sum to one."""
    place = (np.arange(side) + 0.5) / spacing_px
    first = np.floor(place).astype(int)
    rest = place - first
    basis = ((1 - rest) ** 3, 3 * rest**3 - 6 * rest**2 + 4, -3 * rest**3 + 3 * rest**2 + 3 * rest + 1, rest**3)
    weights = np.zeros((side, first[-1] + 4), np.float32)
    for offset, values in enumerate(basis):
        weights[np.arange(side), first + offset] = values / 6
    return weights


def grid(
    size: Sequence[int], patch: Sequence[int], matrix: Tensor, shift_px: Tensor, displacement_px: Tensor | None
) -> Tensor:
    """Where each voxel of the patch looks in the scan, (n, *patch, d), as grid_sample takes it.

    size             of the scan, the patch's centre lying where `cropped` cuts it
    matrix           (n, d, d) for positions in voxels about the centre
    shift_px         (n, d)
    displacement_px  (n, d, *patch) or None, before the matrix: so the knots move with the patch
    """
    device, dims = matrix.device, len(size)
    offsets = [torch.arange(side, device=device) - (side - 1) / 2 for side in patch]
    place = torch.stack(torch.meshgrid(*offsets, indexing="ij")[::-1], -1).expand(len(matrix), *patch, dims)
    if displacement_px is not None:
        place = place + displacement_px.movedim(1, -1)
    centre = [(old - new) // 2 + (new - 1) / 2 for old, new in zip(size, patch, strict=True)][::-1]
    whole = torch.tensor(size[::-1], dtype=torch.float32, device=device)
    there = shift_px + torch.tensor(centre, device=device) + 0.5
    scaled = (matrix * (2 / whole)[:, None]).transpose(1, 2)  # voxels to grid_sample's -1 to 1, folded into the matrix
    looked = torch.baddbmm((there * 2 / whole - 1)[:, None], place.reshape(len(matrix), -1, dims), scaled)
    return looked.reshape(len(matrix), *patch, dims)


def sampled(image: Tensor, target: Tensor, where: Tensor, labels: int) -> tuple[Tensor, Tensor]:
    """image (n, C, *size) linear, target (n, M, *size) by the largest interpolated indicator. Outside lies 0.

    labels   the highest value in target besides 255

    Against the exact labels of rotated and scaled ellipsoids the indicators' errors are 0.6 of the nearest voxel's,
    and cost as much: the indices of one resampling serve all channels.
    """
    values = [*range(1, labels + 1), IGNORE]
    if target.device.type == "cpu":  # elsewhere it would make the device wait
        present = torch.bincount(target.flatten(), minlength=256)
        values = [value for value in values if present[value] > 0]
    planes, first = target.shape[1], values[:_TOGETHER]
    stack = torch.cat([image, *((target == value).to(image.dtype) for value in first)], 1)
    seen = functional.grid_sample(stack, where, mode="bilinear", padding_mode="zeros", align_corners=False)
    moved, found = seen[:, : image.shape[1]], [seen[:, image.shape[1] :]]
    for start in range(_TOGETHER, len(values), _TOGETHER):
        stack = torch.cat([(target == value).to(image.dtype) for value in values[start : start + _TOGETHER]], 1)
        found.append(functional.grid_sample(stack, where, "bilinear", "zeros", align_corners=False))
    shares = torch.cat(found, 1).reshape(len(target), -1, planes, *where.shape[1:-1]) if values else None
    return moved, _winner(shares, values, target, where)


def _winner(shares: Tensor | None, values: Sequence[int], target: Tensor, where: Tensor) -> Tensor:
    """shares (n, values, M, *patch) -> uint8 (n, M, *patch): 0 where what the values leave over is not less."""
    if shares is None:
        return target.new_zeros(len(target), target.shape[1], *where.shape[1:-1])
    most, which = shares.max(1)
    named = torch.tensor(values, dtype=torch.uint8, device=target.device)[which]
    return torch.where(most > 1 - shares.sum(1), named, 0)


def cropped(batch: Tensor, patch: Sequence[int], rows: Tensor | None = None) -> Tensor:
    """(n, C, *size) -> a new (n, C, *patch) of the rows about the same centre; zeros around a smaller scan."""
    inside, pads = [], []
    for old, new in zip(batch.shape[2:], patch, strict=True):
        start = (old - new) // 2
        inside.append(slice(max(0, start), max(0, start) + min(old, new)))
        pads += [new - old - max(0, -start), max(0, -start)] if new > old else [0, 0]
    part = batch[(slice(None), slice(None), *inside)]
    if rows is not None:
        part = part[rows]
    elif not any(pads):
        return part.clone(memory_format=torch.contiguous_format)
    return functional.pad(part, pads[::-1]).contiguous() if any(pads) else part
