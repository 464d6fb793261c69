"""What a heat map is: numbers from 0 to 1 on the network's grid, each map relative to its own maximum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Heat = npt.NDArray[np.float32]
Image = npt.NDArray[np.float32]


def relative(heat: npt.NDArray[Any]) -> Heat:
    """(n, *size) -> each map over its maximum, what is below 0 cut off; all 0 where nothing is above."""
    positive = np.maximum(heat, 0).astype(np.float32)
    highest = positive.max(axis=tuple(range(1, positive.ndim)), keepdims=True)
    return np.asarray(np.divide(positive, highest, out=np.zeros_like(positive), where=highest > 0), np.float32)


def enlarged(maps: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """(n, *coarse) -> (n, *size), linear between the middles of the coarse grid's cells."""
    linear = "bilinear" if len(size) == 2 else "trilinear"
    return nn.functional.interpolate(maps[:, None], size=tuple(size), mode=linear, align_corners=False)[:, 0]


def blank(images: Image, how: str) -> Image:
    """What stands where nothing is to be seen, (n, C, 1, ...), for each scan (n, C, *size) by itself.

    darkest  each channel's lowest value, with which preprocessing pads
    mean     each channel's mean
    zero     0
    """
    axes = tuple(range(2, images.ndim))
    match how:
        case "darkest":
            return np.asarray(images.min(axis=axes, keepdims=True), np.float32)
        case "mean":
            return np.asarray(images.mean(axis=axes, keepdims=True, dtype=np.float64), np.float32)
        case "zero":
            return np.zeros((*images.shape[:2], *[1] * len(axes)), np.float32)
    raise ValueError(f"no way to leave a scan blank is called {how!r}: darkest, mean or zero")
