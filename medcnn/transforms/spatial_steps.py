"""Random steps that move voxels. n scans, uniform numbers (n, numbers) in [0, 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from medcnn.config.transforms import AffineConf


@dataclass(frozen=True)
class Mirror:
    """Mirrored along the given spatial axes together. axes count among the spatial ones; -1 is the last."""

    probability: float
    axes: tuple[int, ...]
    numbers: int = 0

    def apply(self, image: Tensor, uniform: Tensor) -> Tensor:
        """All that come here are mirrored."""
        spatial = image.ndim - 2
        return image.flip([2 + axis % spatial for axis in self.axes])


@dataclass(frozen=True)
class Affine:
    """Rotation about the centre (3D: about all three axes), scaling, shear and shift, in one linear resampling.

    Outside the scan lies its border's value, as MONAI's Affine with padding_mode="border".
    """

    probability: float
    rotate_rad: float
    log_scale: float
    shift: float
    shear: float
    spatial_dims: int

    @classmethod
    def of(cls, conf: AffineConf, spatial_dims: int) -> Affine:
        """From the settings."""
        rotate_rad, log_scale = math.radians(conf.rotate_deg), math.log1p(conf.scale)
        return cls(conf.probability, rotate_rad, log_scale, conf.shift, conf.shear, spatial_dims)

    @property
    def numbers(self) -> int:
        """Rotations, one scale per axis, one shear, one shift per axis."""
        return (1 if self.spatial_dims == 2 else 3) + 2 * self.spatial_dims + 1

    def apply(self, image: Tensor, uniform: Tensor) -> Tensor:
        """Each scan by its own matrix."""
        return resampled(image, *self.drawn(uniform))

    def drawn(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Matrices (n, d, d) and shifts (n, d) in half sides, for `resampled`; all numbers 0.5 are the identity."""
        signed = (2 * uniform - 1).float()
        dims, rotations = self.spatial_dims, 1 if self.spatial_dims == 2 else 3
        rotation = rotations_of(signed[:, :rotations] * self.rotate_rad, dims)
        rest = signed[:, rotations:]
        common = rest[:, :1]  # mostly one scale for all axes, a little of each axis's own
        scale = ((0.75 * common + 0.25 * rest[:, :dims]) * self.log_scale).exp()
        shear = torch.eye(dims, device=uniform.device).repeat(len(uniform), 1, 1)
        shear[:, 0, 1] = rest[:, dims] * self.shear
        matrix = rotation @ shear @ torch.diag_embed(scale)
        return matrix, rest[:, dims + 1 :] * self.shift * 2


def rotations_of(angle: Tensor, dims: int) -> Tensor:
    """Rotation matrices (n, dims, dims) from angles (n, 1) or (n, 3), radians."""
    cos, sin = angle.cos(), angle.sin()
    if dims == 2:
        rows = torch.stack([cos[:, 0], -sin[:, 0], sin[:, 0], cos[:, 0]], 1)
        return rows.reshape(-1, 2, 2)
    whole = torch.eye(3, device=angle.device).repeat(len(angle), 1, 1)
    for axis in range(3):
        one, two = [a for a in range(3) if a != axis]
        turn = torch.eye(3, device=angle.device).repeat(len(angle), 1, 1)
        turn[:, one, one] = turn[:, two, two] = cos[:, axis]
        turn[:, one, two], turn[:, two, one] = -sin[:, axis], sin[:, axis]
        whole = whole @ turn
    return whole


def resampled(image: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Where each output voxel looks: matrix (n, d, d) and shift (n, d), both for positions in half sides.

    Axes in torch's order for grids: the last spatial axis first. Sides of unequal length keep true angles.
    """
    size = image.shape[2:]
    half = torch.tensor([*size[::-1]], dtype=torch.float32, device=image.device)
    in_shares = matrix * half[None, None, :] / half[None, :, None]
    theta = torch.cat([in_shares, shift[:, :, None].to(in_shares.dtype)], dim=2).to(image.dtype)
    grid = functional.affine_grid(theta, list(image.shape), align_corners=False)
    return functional.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class LowResolution:
    """Sampled down by a drawn zoom and up again: the detail that a coarser scan never had."""

    probability: float
    zoom: float
    numbers: int = 1

    def apply(self, image: Tensor, uniform: Tensor) -> Tensor:
        """Zooms in eighths, so that scans of one zoom run together."""
        levels = torch.round((self.zoom + (1 - self.zoom) * uniform[:, 0]) * 8).clamp(1, 8).long()
        result = image.clone()
        linear = "bilinear" if image.ndim == 4 else "trilinear"
        for level in torch.unique(levels).tolist():
            if level == 8:
                continue
            rows = torch.nonzero(levels == level)[:, 0]
            coarse = [max(1, round(side * level / 8)) for side in image.shape[2:]]
            small = functional.interpolate(image[rows], coarse, mode="area")
            result[rows] = functional.interpolate(small, image.shape[2:], mode=linear, align_corners=False)
        return result


@dataclass(frozen=True)
class Erase:
    """A box of drawn sides and place becomes the scan's mean."""

    probability: float
    side: float
    spatial_dims: int

    @property
    def numbers(self) -> int:
        """A side and a place along each axis."""
        return 2 * self.spatial_dims

    def apply(self, image: Tensor, uniform: Tensor) -> Tensor:
        """Sides from 0 to self.side of the scan's own."""
        inside = torch.ones(len(image), 1, *[1] * self.spatial_dims, dtype=torch.bool, device=image.device)
        for axis in range(self.spatial_dims):
            length = image.shape[2 + axis]
            side = self.side * uniform[:, axis] * length
            start = uniform[:, self.spatial_dims + axis] * (length - side)
            index = torch.arange(length, device=image.device)[None]
            along = (index >= start[:, None]) & (index < (start + side)[:, None])
            shape = [len(image), 1, *[1] * self.spatial_dims]
            shape[2 + axis] = length
            inside = inside & along.reshape(shape)
        mean = image.mean(tuple(range(1, image.ndim)), keepdim=True)
        return torch.where(inside, mean, image)
