"""Random steps that imitate what goes wrong in an MRI scanner. n scans, uniform numbers (n, numbers) in [0, 1).

All three are changes of k-space that act along one axis, or at one point, so that a transform along one axis, or
none at all, does the work of a transform of the whole volume.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medcnn.config.transforms import MotionConf
from medcnn.transforms.intensity_steps import between
from medcnn.transforms.spatial_steps import resampled, rotations_of


@dataclass(frozen=True)
class Ghosting:
    """Faint copies at equal distances along one axis: every g-th line of k-space is weaker, the line of zero excepted.

    As TorchIO's RandomGhosting, but linear in the scan, so that it serves negative intensities, and the mean stays.
    """

    probability: float
    ghosts: int
    intensity: float
    axes: tuple[int, ...]
    numbers: int = 3

    def apply(self, image: Tensor, uniform: Tensor) -> Tensor:
        """From 2 to self.ghosts copies, weaker lines by up to self.intensity, along one of self.axes."""
        ghosts = (2 + uniform[:, 0] * (self.ghosts - 1)).floor()
        loss = self.intensity * uniform[:, 1]
        result = torch.empty_like(image)
        for axis, rows in by_axis(uniform[:, 2], self.axes, image.ndim - 2):
            result[rows] = ghosted(image[rows], ghosts[rows], loss[rows], axis)
        return result


def ghosted(image: Tensor, ghosts: Tensor, loss: Tensor, axis: int) -> Tensor:
    """image (n, C, *size), ghosts and loss (n,), axis among the spatial ones.

    Where g divides the side N this is f - loss (mean of f(x - j N / g) over j < g, minus f's mean along the axis).
    """
    side = image.shape[2 + axis]
    line = torch.arange(side // 2 + 1, device=image.device, dtype=torch.float32)
    weaker = (line[None] % ghosts[:, None] == 0) & (line[None] > 0)
    weights = 1 - loss[:, None] * weaker
    return in_k_space(image, weights, axis)


def in_k_space(image: Tensor, weights: Tensor, axis: int) -> Tensor:
    """The lines of k-space along one spatial axis times real weights (n, side // 2 + 1)."""
    shape = [len(image), *[1] * (image.ndim - 1)]
    shape[2 + axis] = weights.shape[1]
    lines = torch.fft.rfft(image.float(), dim=2 + axis) * weights.reshape(shape)
    changed: Tensor = torch.fft.irfft(lines, n=image.shape[2 + axis], dim=2 + axis)
    return changed.to(image.dtype)


@dataclass(frozen=True)
class Motion:
    """A few sudden rigid movements during the scan; the lines of k-space come from the position at their time.

    After Shaw et al. 2019 and TorchIO's RandomMotion: lines are taken from one end to the other, the position at the
    zero line counts as unmoved, the magnitude is what is seen (above the scan's darkest value).
    """

    probability: float
    movements: int
    rotate_rad: float
    shift_px: float
    axes: tuple[int, ...]
    spatial_dims: int

    @classmethod
    def of(cls, conf: MotionConf, spatial_dims: int) -> Motion:
        """From the settings."""
        rotate_rad = math.radians(conf.rotate_deg)
        return cls(conf.probability, conf.movements, rotate_rad, conf.shift_px, tuple(conf.axes), spatial_dims)

    @property
    def numbers(self) -> int:
        """The phase encoding's axis; for each movement its time, its angles and its shifts."""
        return 1 + self.movements * self._each

    @property
    def _each(self) -> int:
        return 1 + (1 if self.spatial_dims == 2 else 3) + self.spatial_dims

    def apply(self, image: Tensor, uniform: Tensor) -> Tensor:
        """Each scan by its own movements."""
        result = torch.empty_like(image)
        for axis, rows in by_axis(uniform[:, 0], self.axes, self.spatial_dims):
            result[rows] = self._along(image[rows], uniform[rows, 1:], axis)
        return result

    def _along(self, image: Tensor, uniform: Tensor, axis: int) -> Tensor:
        low = image.amin(tuple(range(1, image.ndim)), keepdim=True)
        still = (image - low).float()
        own = uniform.reshape(len(image), self.movements, self._each)
        times = own[:, :, 0] - 0.5
        times = times.gather(1, times.abs().argsort(1))  # outwards from the zero line: a later one overwrites
        shape = [len(image), *[1] * (image.ndim - 1)]
        shape[2 + axis] = image.shape[2 + axis]
        line = torch.fft.fftfreq(image.shape[2 + axis], device=image.device)[None]  # from -0.5 to 0.5
        lines = torch.fft.fft(still, dim=2 + axis)
        for number in range(self.movements):
            time = times[:, number, None]
            beyond = torch.where(time > 0, line > time, line < time).reshape(shape)
            lines = torch.where(beyond, torch.fft.fft(self._moved(still, own[:, number, 1:]), dim=2 + axis), lines)
        seen: Tensor = torch.fft.ifft(lines, dim=2 + axis).abs()
        return (seen + low).to(image.dtype)

    def _moved(self, image: Tensor, uniform: Tensor) -> Tensor:
        signed, dims = 2 * uniform - 1, self.spatial_dims
        angles, shifts = signed[:, :-dims] * self.rotate_rad, signed[:, -dims:] * self.shift_px
        half = torch.tensor([side / 2 for side in image.shape[:1:-1]], device=image.device)
        return resampled(image, rotations_of(angles, dims), shifts / half)


@dataclass(frozen=True)
class Spikes:
    """Single points of k-space that are far too bright: plane waves all over the scan, as MONAI's KSpaceSpikeNoise."""

    probability: float
    spikes: int
    intensity: float
    spatial_dims: int

    @property
    def numbers(self) -> int:
        """How many; for each its amplitude, its phase and its frequency along each axis."""
        return 1 + self.spikes * (2 + self.spatial_dims)

    def apply(self, image: Tensor, uniform: Tensor) -> Tensor:
        """From 1 to self.spikes waves, amplitudes up to self.intensity standard deviations of the scan."""
        spread = image.float().std(tuple(range(1, image.ndim)), keepdim=True)
        shown, result = (1 + uniform[:, 0] * self.spikes).floor(), image
        for number in range(self.spikes):
            start = 1 + number * (2 + self.spatial_dims)
            amplitude, phase, *place = uniform[:, start : start + 2 + self.spatial_dims].unbind(1)
            sides = image.shape[2:]
            cycles = torch.stack([((p - 0.5) * side).round() for p, side in zip(place, sides, strict=True)], 1)
            wave = plane_wave(sides, cycles, 2 * math.pi * phase)
            strength = between(amplitude * (number < shown), 0.0, self.intensity, image)
            result = result + (strength * spread * wave).to(image.dtype)
        return result


def plane_wave(size: Sequence[int], cycles: Tensor, phase: Tensor) -> Tensor:
    """cos(2 pi cycles x / side + phase), (n, 1, *size), from cycles (n, dims) over the whole side and phase (n,)."""
    angle = phase.reshape(-1, *[1] * (len(size) + 1))
    for axis, side in enumerate(size):
        shape = [1] * (len(size) + 2)
        shape[2 + axis] = side
        place = torch.arange(side, device=cycles.device).reshape(shape) / side
        angle = angle + 2 * math.pi * cycles[:, axis].reshape(-1, *[1] * (len(size) + 1)) * place
    return angle.cos()


def by_axis(uniform: Tensor, axes: Sequence[int], spatial_dims: int) -> Iterator[tuple[int, Tensor]]:
    """(axis, the rows for which it was drawn) from numbers (n,), evenly from axes; from all where there are none."""
    choices = [axis % spatial_dims for axis in axes] or list(range(spatial_dims))
    drawn = (uniform * len(choices)).long().clamp(max=len(choices) - 1)
    for number, axis in enumerate(choices):
        rows = torch.nonzero(drawn == number)[:, 0]
        if len(rows):
            yield axis, rows
