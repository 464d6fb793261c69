"""Occlusion (Zeiler and Fergus 2014): what a class's logit loses when a box hides a part of the scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import ceil, floor, prod

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medcnn.explain.heat import Heat, Image, blank, enlarged, relative
from medcnn.inference.questions import questions, together

FILL = "mean"  # what fills the box, as in heat.blank: grey hides the bright and the dark alike
MOST_PASSES = 256  # of one scan through one network, besides that of the scan as it is
WIDE_STRIDES = 2.0  # neighbouring boxes overlap by half
_ROUNDING = 1e-9

Box = tuple[slice, ...]


def occlusion(network: nn.Module, images: Image, class_indices: Sequence[int]) -> Heat:
    """images (n, C, *size) and the class to explain of each -> (n, *size), 0 to 1: the logit's loss, where it is one.

    A coarse grid of boxes, at most MOST_PASSES, between whose middles the map is linear.
    """
    size = images.shape[2:]
    lost = [losses(network, image, index) for image, index in zip(images, class_indices, strict=True)]
    return relative(enlarged(torch.from_numpy(np.stack(lost)), size).numpy())


def losses(
    network: nn.Module,
    image: Image,
    class_index: int,
    *,
    fill: str = FILL,
    most_passes: int = MOST_PASSES,
    wide_strides: float = WIDE_STRIDES,
) -> Heat:
    """image (C, *size) -> (*grid): by how much the class's logit falls with a box over each place of a coarse grid."""
    device = next(network.parameters()).device
    grid = coarse_grid(image.shape[1:], most_passes)
    hidden = list(boxes(image.shape[1:], grid, wide_strides))
    whole = _logits(network, image[None], class_index, device)[0]
    filling, found = blank(image[None], fill)[0], []
    for part in _parts(hidden, together(image.shape[1:], device)):
        copies = np.repeat(image[None], len(part), axis=0)
        for copy, box in zip(copies, part, strict=True):
            copy[(slice(None), *box)] = filling
        found.append(_logits(network, copies, class_index, device))
    return np.asarray(whole - np.concatenate(found), np.float32).reshape(grid)


def coarse_grid(size: Sequence[int], most_passes: int) -> tuple[int, ...]:
    """How many boxes along each axis, as many as may be, and no more than there are pixels."""
    return tuple(min(side, max(1, floor(most_passes ** (1 / len(size)) + _ROUNDING))) for side in size)


def boxes(size: Sequence[int], grid: Sequence[int], wide_strides: float) -> Iterator[Box]:
    """One for each place of the grid, around the middle of its cell."""
    along = [_intervals(side, count, wide_strides) for side, count in zip(size, grid, strict=True)]
    assert prod(map(len, along)) == prod(grid)
    yield from product(*along)


def _intervals(side: int, count: int, wide_strides: float) -> list[slice]:
    stride = side / count
    middles, half = [(index + 0.5) * stride for index in range(count)], wide_strides * stride / 2
    return [slice(max(0, floor(m - half + _ROUNDING)), min(side, ceil(m + half - _ROUNDING))) for m in middles]


def _parts(hidden: Sequence[Box], most: int) -> Iterator[Sequence[Box]]:
    for start in range(0, len(hidden), most):
        yield hidden[start : start + most]


@torch.no_grad()
def _logits(network: nn.Module, images: Image, class_index: int, device: torch.device) -> npt.NDArray[np.float64]:
    rows = [
        network(torch.from_numpy(question).to(device))[:count, class_index].double().cpu().numpy()
        for question, count in questions(images, device)
    ]
    return np.concatenate(rows)
