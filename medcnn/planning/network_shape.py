"""How deep a U-Net is, what it pools along which axis, and how wide it is. After nnU-Net (Isensee et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

Sides = tuple[int, ...]

_SMALLEST_EDGE = 4  # of a feature map: axes are halved until less would be left
_COMPARABLE = 2.0  # axes whose voxels are less than this times as long as the shortest are treated alike
_WIDEST = {2: 16, 3: 10}  # times the base width: nnU-Net's 512 and 320 channels over its 32


@dataclass(frozen=True)
class Levels:
    """Resolutions, the finest first: the strides into each (1 for the first) and its kernels, one number per axis."""

    strides: tuple[Sides, ...]
    kernels: tuple[Sides, ...]

    @property
    def divisor(self) -> Sides:
        """What the sides of an input must be multiples of."""
        return tuple(prod(sides) for sides in zip(*self.strides, strict=True))

    def __len__(self) -> int:
        return len(self.strides)


@dataclass(frozen=True)
class NetworkShape:
    """The U-Net that medcnn.networks.unet.UNet builds, as numbers."""

    in_channels: int
    num_outputs: int
    widths: Sides
    levels: Levels
    encoder: str = "plain"
    encoder_convolutions: Sides = (2,)
    decoder_convolutions: Sides = (2,)
    deep_supervision: int = 2
    attention: bool = False

    def with_widths(self, widths: Sequence[int]) -> NetworkShape:
        """Another width, everything else alike."""
        return replace(self, widths=tuple(widths))

    def with_levels(self, levels: Levels, widths: Sequence[int]) -> NetworkShape:
        """Other levels, and widths that fit them."""
        return replace(self, levels=levels, widths=tuple(widths))


def pooled(size: Sequence[int], spacing_mm: Sequence[float], levels: int | Levels = 0) -> Levels:
    """Halve every axis that is long enough, the fine ones first, until none is.

    size       sides of the patch
    spacing_mm () counts as equal sides
    levels     0 lets the size decide; else as many as asked for, as far as halving leaves anything at all; or just
               these

    An axis is halved while it has 8 or more voxels and its voxels are less than twice as long as the shortest; a
    kernel is 1 along an axis until then, 3 from then on, and 3 at the coarsest level. nnU-Net's
    get_pool_and_conv_props; here an axis of one voxel keeps kernels of 1.
    """
    if isinstance(levels, Levels):
        return levels
    spacing = tuple(spacing_mm) or (1.0,) * len(size)
    for edge in (_SMALLEST_EDGE, 2, 1):
        found = _halved(size, spacing, edge, levels or 99)
        if not levels or len(found) == levels:
            return found
    return found


def _halved(size: Sequence[int], spacing_mm: Sequence[float], edge: int, most: int) -> Levels:
    sides, lengths = list(size), list(spacing_mm)
    kernel = [1] * len(sides)
    strides, kernels = [(1,) * len(sides)], []
    while len(strides) < most:
        axes = [axis for axis, side in enumerate(sides) if side >= 2 * edge]
        shortest = min((lengths[axis] for axis in axes), default=0.0)
        axes = [axis for axis in axes if lengths[axis] / shortest < _COMPARABLE]
        if not axes or (len(axes) == 1 and sides[axes[0]] < 3 * edge):
            break
        kernel = _grown(kernel, lengths, size)
        kernels.append(tuple(kernel))
        for axis in axes:
            sides[axis], lengths[axis] = ceil(sides[axis] / 2), lengths[axis] * 2
        strides.append(tuple(2 if axis in axes else 1 for axis in range(len(sides))))
    kernels.append(tuple(3 if side > 1 else 1 for side in size))
    return Levels(tuple(strides), tuple(kernels))


def _grown(kernel: Sequence[int], lengths: Sequence[float], size: Sequence[int]) -> list[int]:
    fine = [length / min(lengths) < _COMPARABLE for length in lengths]
    return [3 if side > 1 and (was == 3 or now) else 1 for was, now, side in zip(kernel, fine, size, strict=True)]


def with_strides(
    strides: Sequence[Sequence[int]], kernels: Sequence[Sequence[int]], size: Sequence[int], spacing_mm: Sequence[float]
) -> Levels:
    """Levels whose strides are given; kernels too, or [] for those that fit the spacing as in pooled."""
    lengths = list(spacing_mm) or [1.0] * len(size)
    kernel, found = [1] * len(size), []
    for stride in [*strides[1:], (1,) * len(size)]:
        kernel = _grown(kernel, lengths, size)
        found.append(tuple(kernel))
        lengths = [length * step for length, step in zip(lengths, stride, strict=True)]
    given = [tuple(level) for level in kernels or found]
    return Levels(tuple(tuple(stride) for stride in strides), tuple(given))


def doubled(base_width: int, levels: int, dims: int) -> Sides:
    """Channels of each level: twice as many as of the finer one, up to 10 (in 3D) or 16 times (in 2D) the first."""
    return tuple(min(base_width * 2**level, base_width * _WIDEST[dims]) for level in range(levels))


def rounded_up(size: Sequence[float], divisor: Sequence[int]) -> Sides:
    """The next multiples."""
    return tuple(ceil(side / whole) * whole for side, whole in zip(size, divisor, strict=True))
