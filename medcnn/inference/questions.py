"""Many scans put to a network in questions of one fixed size, so that the answer to each depends on it alone.

The kernels that a CPU computes with differ with the size of a batch, and their sums by one bit. At a fixed size neither
the other scans in a batch nor the place in it changes anything, so what was interrupted ends as what was not.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import numpy.typing as npt
import torch

_LARGE_VOX = 2**16  # from here a scan keeps all cores of a CPU busy by itself
_ON_A_CPU, _ON_A_GPU = (8, 1), (64, 8)  # small ones, large ones

Image = npt.NDArray[np.float32]


def questions(images: Image, device: torch.device) -> Iterator[tuple[Image, int]]:
    """(n, C, *size) -> questions (together, C, *size), the last filled up with zeros, and how many of each count."""
    size = together(images.shape[2:], device)
    for start in range(0, len(images), size):
        part = np.ascontiguousarray(images[start : start + size], np.float32)
        count = len(part)
        if count < size:
            part = np.concatenate([part, np.zeros((size - count, *part.shape[1:]), np.float32)])
        yield part, count


def together(size_px: tuple[int, ...], device: torch.device) -> int:
    """How many scans of this grid make a question."""
    sizes = _ON_A_CPU if device.type == "cpu" else _ON_A_GPU
    return sizes[prod(size_px) >= _LARGE_VOX]
