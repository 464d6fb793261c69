"""The random steps of training for an image and its target together, batched on the device.

What moves voxels moves both, in one resampling, and only the scans for which it was drawn. What changes intensities
changes the image, each channel by itself, as nnU-Net does. Probabilities and streams are those of random_steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from medcnn.config.errors import ConfigError
from medcnn.config.transforms import RandomConf
from medcnn.transforms import deformation
from medcnn.transforms import spatial_steps as spatial
from medcnn.transforms.draws import AUGMENT, ELASTIC, stream
from medcnn.transforms.random_steps import Draws, intensity_steps, noise_fields, numbers_of, run

_THIN = 3  # a patch that is so many times longer than its thinnest side is only moved within its slices (nnU-Net)


class PairedSteps:
    """The steps that are switched on, in their order.

    labels      the highest value in targets besides 255: the number of structures, or 1 for planes of yes and no
    spacing_mm  of the prepared grid, along its axes: so that rotations are rotations where voxels are not cubes
    """

    def __init__(
        self, conf: RandomConf, spatial_dims: int, *, num_channels: int, labels: int, spacing_mm: Sequence[float] = ()
    ) -> None:
        self.spatial_dims, self.num_channels, self.labels = spatial_dims, num_channels, labels
        self.edges = tuple(spacing_mm) or (1.0,) * spatial_dims
        self.affine = spatial.Affine.of(conf.affine, spatial_dims)
        elastic = conf.elastic
        self.elastic = deformation.Elastic(elastic.probability, elastic.displacement_px, elastic.spacing_px)
        self.mirror = conf.mirror.probability
        self.mirror_axes = _mirror_axes(conf.mirror.axes, spatial_dims)
        self.steps = [step for step in intensity_steps(conf, spatial_dims) if step.probability > 0]
        erase = spatial.Erase(conf.erase.probability, conf.erase.side, spatial_dims)
        self.erase = [erase] if erase.probability > 0 else []
        self.clip = conf.clip
        self._spatial_numbers = 1 + self.affine.numbers + 1 + len(self.mirror_axes)
        self._step_numbers = numbers_of(self.steps) * num_channels

    def draw(self, seed: int, epoch: int, positions: Sequence[int]) -> Draws:
        """One row of numbers for each position in the epoch."""
        count = self._spatial_numbers + self._step_numbers + numbers_of(self.erase)
        rows = [stream(seed, epoch, position, AUGMENT).random(count) for position in positions]
        return Draws(torch.from_numpy(np.array(rows).reshape(len(positions), count)), seed, epoch, tuple(positions))

    def apply(self, image: Tensor, target: Tensor, draws: Draws, patch: Sequence[int]) -> tuple[Tensor, Tensor]:
        """image (B, C, *size), target uint8 (B, M, *size) -> new tensors of the patch's size about the same centre.

        size should be `margin` larger than the patch, so that a rotation finds the scan, not its end. Beyond the end
        lie 0 and background.
        """
        patch, spatial_end = tuple(patch), self._spatial_numbers
        steps_end = spatial_end + self._step_numbers
        image, target = self._moved(image, target, draws, patch)
        self._mirror(image, target, draws.uniform[:, spatial_end - len(self.mirror_axes) : spatial_end])
        self._vary(image, draws, draws.uniform[:, spatial_end:steps_end])
        run(self.erase, image, draws.uniform[:, steps_end:], lambda rows: noise_fields(draws, rows, image.shape[1:]))
        return (image.clamp(-self.clip, self.clip) if self.clip else image), target

    def margin(self, patch: Sequence[int]) -> tuple[int, ...]:
        """The size to cut out of a scan so that no drawn movement of the patch looks beyond it."""
        axes, size = _moving_axes(patch), list(patch)
        angles = 1 if self.spatial_dims == 2 else 3
        turns = torch.cartesian_prod(*[torch.linspace(0, 1, 9)] * angles).reshape(-1, angles)
        rest = self.affine.numbers - angles
        numbers = torch.cat([turns, torch.ones(len(turns), rest)], 1)  # the largest scale, shear and shift
        if not self.affine.probability > 0:
            numbers = torch.full_like(numbers[:1], 0.5)
        matrix, shift_px = self._affine(numbers, patch, axes)
        reach = self._reach(matrix, shift_px, patch, axes, elastic=self.elastic.probability > 0)
        for axis, half in zip(axes, reach.amax(0).tolist(), strict=True):
            size[axis] = max(patch[axis], math.ceil(2 * half - 1e-3))
        return tuple(size)

    def _moved(self, image: Tensor, target: Tensor, draws: Draws, patch: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The patch cut out of all scans, and resampled where a movement was drawn."""
        result, labels = deformation.cropped(image, patch), deformation.cropped(target, patch)
        after = 1 + self.affine.numbers
        turned = draws.uniform[:, 0] < self.affine.probability
        bent = draws.uniform[:, after] < self.elastic.probability
        chosen = torch.nonzero(turned | bent)[:, 0]  # on the CPU: a GPU is not made to wait
        if len(chosen):
            rows, axes = chosen.to(image.device), _moving_axes(patch)
            numbers = torch.where(turned[:, None], draws.uniform[:, 1:after], 0.5)[chosen]  # 0.5: the identity
            matrix, shift_px = self._affine(numbers.float(), patch, axes)
            knots = self._knots(draws, chosen.tolist(), bent, [patch[axis] for axis in axes])
            reach = self._reach(matrix, shift_px, patch, axes, elastic=knots is not None)
            box = _box(image.shape[2:], patch, axes, reach.amax(0).tolist())
            near = [deformation.cropped(batch, box, rows) for batch in (image, target)]
            where = self._where(box, matrix.to(image.device), shift_px.to(image.device), knots, patch, axes)
            result[rows], labels[rows] = _looked_up(near[0], near[1], where, patch, axes, self.labels)
        return result, labels

    def _affine(self, numbers: Tensor, patch: Sequence[int], axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Matrices (n, d, d) and shifts (n, d) in voxels, torch's order, over the axes along which voxels move."""
        edges = torch.tensor([self.edges[axis] for axis in reversed(axes)])
        half = torch.tensor([patch[axis] / 2 for axis in reversed(axes)])
        affine = replace(self.affine, spatial_dims=len(axes))
        matrix, shift = affine.drawn(self._numbers_within(numbers, axes))
        return matrix * edges / edges[:, None], shift * half  # turned in mm, then in voxels again

    def _reach(
        self, matrix: Tensor, shift_px: Tensor, patch: Sequence[int], axes: tuple[int, ...], *, elastic: bool
    ) -> Tensor:
        """How far from its centre each patch looks, (n, d) voxels in the axes' own order."""
        half = torch.tensor([patch[axis] / 2 for axis in reversed(axes)])
        half = half + (self.elastic.displacement_px if elastic else 0)
        return (matrix.abs() @ half + shift_px.abs()).flip(1)

    def _where(
        self,
        size: Sequence[int],
        matrix: Tensor,
        shift_px: Tensor,
        knots: Tensor | None,
        patch: tuple[int, ...],
        axes: tuple[int, ...],
    ) -> Tensor:
        """The grid of the chosen scans."""
        sides, bent = [patch[axis] for axis in axes], None
        if knots is not None:
            bent = self.elastic.displacement(knots.to(matrix.device, torch.float32), sides)
        return deformation.grid([size[axis] for axis in axes], sides, matrix, shift_px, bent)

    def _knots(self, draws: Draws, chosen: Sequence[int], bent: Tensor, sides: Sequence[int]) -> Tensor | None:
        """Uniform numbers (n, d, *knots), 0.5 where nothing bends; each row a function of its place in the epoch."""
        if not bent.any():
            return None
        shape = (len(sides), *self.elastic.knots(sides))
        fields = [
            stream(draws.seed, draws.epoch, draws.positions[row], ELASTIC).random(shape)
            if bent[row]
            else np.full(shape, 0.5)
            for row in chosen
        ]
        return torch.from_numpy(np.stack(fields))

    def _numbers_within(self, numbers: Tensor, axes: tuple[int, ...]) -> Tensor:
        """Of the numbers of a movement in 3D those that a movement within slices needs; of 2D all."""
        if len(axes) == self.spatial_dims:
            return numbers
        (thin,) = set(range(3)) - set(axes)
        about, along = 2 - thin, [2 - axis for axis in reversed(axes)]  # torch's order: the last axis first
        columns = [about, *(3 + axis for axis in along), 6, *(7 + axis for axis in along)]
        return numbers[:, columns]

    def _mirror(self, image: Tensor, target: Tensor, switches: Tensor) -> None:
        """In place, each axis drawn for itself."""
        for axis, switch in zip(self.mirror_axes, switches.T, strict=True):
            rows = torch.nonzero(switch < self.mirror)[:, 0].to(image.device)
            if len(rows):
                image[rows], target[rows] = image[rows].flip(2 + axis), target[rows].flip(2 + axis)

    def _vary(self, image: Tensor, draws: Draws, uniform: Tensor) -> None:
        """In place, each channel as a scan of its own: MRI sequences are not disturbed alike."""
        channels = image.shape[1]

        def noise(rows: Sequence[int]) -> Tensor:
            fields = noise_fields(draws, [row // channels for row in rows], image.shape[1:])
            return torch.stack([field[row % channels] for field, row in zip(fields, rows, strict=True)])[:, None]

        if self.steps:
            run(self.steps, image.flatten(0, 1)[:, None], uniform.reshape(len(image) * channels, -1), noise)


def _moving_axes(patch: Sequence[int]) -> tuple[int, ...]:
    """All spatial axes, or those of the slices where a volume's patch is thin along the third."""
    axes = tuple(range(len(patch)))
    if len(patch) == 3 and _THIN * min(patch) < max(patch):
        thin = min(axes, key=lambda axis: patch[axis])
        return tuple(axis for axis in axes if axis != thin)
    return axes


def _box(size: Sequence[int], patch: Sequence[int], axes: tuple[int, ...], reach: Sequence[float]) -> tuple[int, ...]:
    """The part of the scans, about the same centre, that anything looks at: a margin is mostly larger than needed.

    Along an axis that does not move it is the patch's side.
    """
    box = list(patch)
    for axis, half in zip(axes, reach, strict=True):
        beside = max(0, math.ceil(half - patch[axis] / 2) + 1)  # and the neighbour for the interpolation
        wanted = patch[axis] + 2 * beside
        box[axis] = wanted if wanted < size[axis] else size[axis]
    return tuple(box)


def _looked_up(
    image: Tensor, target: Tensor, where: Tensor, patch: tuple[int, ...], axes: tuple[int, ...], labels: int
) -> tuple[Tensor, Tensor]:
    """`deformation.sampled`, slices that move alike folded into the channels."""
    if len(axes) == len(patch):
        return deformation.sampled(image, target, where, labels)
    (thin,) = set(range(3)) - set(axes)
    flat = [batch.movedim(2 + thin, 2).flatten(1, 2) for batch in (image, target)]
    sides = [patch[axis] for axis in axes]
    pictures = deformation.sampled(flat[0], flat[1], where, labels)
    seen, found = (one.reshape(len(one), -1, patch[thin], *sides).movedim(2, 2 + thin) for one in pictures)
    return seen, found


def _mirror_axes(axes: Sequence[int], spatial_dims: int) -> tuple[int, ...]:
    if not all(-spatial_dims <= axis < spatial_dims for axis in axes):
        most = spatial_dims - 1
        raise ConfigError([f"transforms.random.mirror.axes: from {-spatial_dims} to {most}, got {list(axes)}"])
    return tuple(sorted({axis % spatial_dims for axis in axes}))
