"""Scans of a batch mixed with one another, and their targets with them. B scans, C channels, K classes.

Each scan meets the batch's next; one share, and one box, for the whole batch, a function of its place in the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from medcnn.transforms.draws import COIN, CUTMIX, MIXUP, stream


@dataclass(frozen=True)
class Mixing:
    """Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019); with both, a coin for each batch.

    mixup_alpha, cutmix_alpha   of the beta distribution of the share; 0 leaves that kind out
    """

    mixup_alpha: float
    cutmix_alpha: float

    def apply(self, image: Tensor, *, seed: int, epoch: int, position: int) -> tuple[Tensor, float]:
        """image (B, C, *size) of the batch that begins at `position` -> a mixed one, and the share of each scan's own.

        What else a scan has, its target above all, is then mixed by `mixed`.
        """
        if len(image) < 2 or not (self.mixup_alpha or self.cutmix_alpha):
            return image, 1.0
        if self._cuts(seed, epoch, position):
            generator = stream(seed, epoch, position, CUTMIX)
            share = float(generator.beta(self.cutmix_alpha, self.cutmix_alpha))
            return with_box(image, box_of(image.shape[2:], share, generator.random(image.ndim - 2)))
        share = float(stream(seed, epoch, position, MIXUP).beta(self.mixup_alpha, self.mixup_alpha))
        share = max(share, 1 - share)
        return torch.lerp(image.roll(1, 0), image, share), share

    def _cuts(self, seed: int, epoch: int, position: int) -> bool:
        if not (self.mixup_alpha and self.cutmix_alpha):
            return self.cutmix_alpha > 0
        return bool(stream(seed, epoch, position, COIN).random() < 0.5)


def box_of(size: Sequence[int], share: float, centre: np.ndarray) -> tuple[slice, ...]:
    """A box of 1 - share of the scan's area or volume, alike in shape, about a centre in shares of the sides.

    What lies outside the scan is cut off, so that the box may be smaller, or nothing.
    """
    side_share = (1 - share) ** (1 / len(size))
    box = []
    for length, middle in zip(size, centre, strict=True):
        half = side_share * length / 2
        first, last = round(middle * length - half), round(middle * length + half)
        box.append(slice(max(0, first), min(length, last)))
    return tuple(box)


def with_box(image: Tensor, box: tuple[slice, ...]) -> tuple[Tensor, float]:
    """Each scan with the batch's next inside the box, and the share that is still its own, counted in voxels."""
    result, everywhere = image.clone(), slice(None)
    result[(everywhere, everywhere, *box)] = image.roll(1, 0)[(everywhere, everywhere, *box)]
    taken = prod(part.stop - part.start for part in box)
    return result, 1 - taken / prod(image.shape[2:])


def mixed(values: Tensor, share: float) -> Tensor:
    """values (B, K): share of each scan's own, the rest of the batch's next; nan (missing) where either is."""
    if share == 1:  # nothing of the other scan is to be seen: what it lacks takes nothing away
        return values
    return torch.lerp(values.roll(1, 0), values, share)
