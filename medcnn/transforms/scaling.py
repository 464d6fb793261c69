"""How the intensities of a whole scan become network input. C channels, IJK voxels or HW pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_CLIP = 1.5  # values beyond the percentiles may go so far: bright metal should not flatten, nor vanish


@dataclass(frozen=True)
class Statistics:
    """One number per channel, over the foreground of all training scans, as nnU-Net's for CT.

    low, high  percentiles to which intensities are clipped before mean and std are taken off
    """

    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def body(image: Image) -> Mask | None:
    """Where the scan is (1, *size): voxels that some channel has, and the holes in them; None: everywhere.

    A hole is a region of zeros, joined over faces, that does not reach the border.
    """
    empty = ~image.any(axis=0)
    if not empty.any():
        return None
    regions, count = ndimage.label(empty)
    faces = [face for axis in range(regions.ndim) for face in (regions.take(0, axis), regions.take(-1, axis))]
    outside = np.zeros(count + 1, bool)
    outside[np.unique(np.concatenate([face.ravel() for face in faces]))] = True
    outside[0] = False
    return np.asarray(~outside[regions])


def zscored(channel: Image, inside: Mask | None) -> Image:
    """Mean 0 and standard deviation 1 over the body; 0 outside of it. A constant body becomes zeros."""
    values = channel if inside is None else channel[inside]
    if values.size == 0 or values.min() == values.max():
        return np.zeros_like(channel)
    mean, spread = _moments(values)
    scaled = (channel - np.float32(mean)) / np.float32(max(spread, 1e-6))
    if inside is not None:
        scaled[~inside] = 0
    return np.asarray(scaled, np.float32)


def between_percentiles(channel: Image, inside: Mask | None, percentiles: tuple[float, float]) -> Image:
    """The body's percentiles become -1 and 1; values beyond are clipped a little outside."""
    values = channel if inside is None else channel[inside]
    if values.size == 0:
        return np.zeros_like(channel)
    low, high = np.percentile(values, percentiles)
    return between(channel, float(low), float(high))


def between(channel: Image, low: float, high: float) -> Image:
    """low and high become -1 and 1; zeros where they leave nothing between them."""
    if not high > low or channel.min() == channel.max():
        return np.zeros_like(channel)
    return np.asarray(np.clip((channel - low) * (2 / (high - low)) - 1, -_CLIP, _CLIP), np.float32)


def by_statistics(channel: Image, low: float, high: float, mean: float, std: float) -> Image:
    """Clipped, then in units of the training foreground. Absolute: the same tissue gets the same number."""
    if channel.min() == channel.max():
        return np.zeros_like(channel)
    return np.asarray((np.clip(channel, low, high) - np.float32(mean)) / np.float32(max(std, 1e-8)), np.float32)


def _moments(values: Image) -> tuple[float, float]:
    """Mean and standard deviation in float64 without a float64 copy of a large volume."""
    mean = float(values.mean(dtype=np.float64))
    parts: Sequence[Image] = np.array_split(values, max(1, values.size // 2**22))
    squares = sum(float(np.square(part - mean, dtype=np.float64).sum()) for part in parts)
    return mean, (squares / values.size) ** 0.5
