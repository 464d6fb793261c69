"""Losses of overlap. B cases, K classes or structures, N voxels in a row."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

SMOOTH = 1e-5  # voxels: keeps an empty structure's quotient finite, too little to be seen beside one voxel


class Overlap(NamedTuple):
    """Soft voxel counts, each (B, K), or (1, K) where the batch counts as one picture."""

    both: Tensor  # found and true
    found: Tensor  # sum of the probabilities
    true: Tensor


def overlap(probability: Tensor, truth: Tensor, valid: Tensor, *, batch: bool) -> Overlap:
    """Counted over all voxels that are not ignored.

    probability (B, K, N); truth (B, K, N) bool, False where ignored; valid (B, 1 or K, N) bool
    batch  one count over all cases
    """
    there = truth.to(probability.dtype)  # once, not once more on the way back
    both = (probability * there).sum(dim=2)
    found = (probability * valid.to(probability.dtype)).sum(dim=2)
    counts = Overlap(both, found, there.sum(dim=2))
    return Overlap(*(count.sum(dim=0, keepdim=True) for count in counts)) if batch else counts


def dice_loss(counts: Overlap, weight: Tensor | None = None) -> Tensor:
    """1 - soft Dice, averaged over cases and classes (Milletari et al. 2016, with plain sums below the line).

    weight (K,) of the classes, or None. A class that is neither found nor true counts as perfect.
    """
    dice = (2 * counts.both + SMOOTH) / (counts.found + counts.true + SMOOTH)
    return _mean(1 - dice, weight)


def tversky_loss(counts: Overlap, alpha: float, beta: float, weight: Tensor | None = None) -> Tensor:
    """1 - Tversky's index, averaged over cases and classes (Salehi et al. 2017).

    alpha  weight of what was found too much; beta of what was missed; 0.5 and 0.5 is Dice
    """
    too_much, missed = counts.found - counts.both, counts.true - counts.both
    index = (counts.both + SMOOTH) / (counts.both + alpha * too_much + beta * missed + SMOOTH)
    return _mean(1 - index, weight)


def _mean(each: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return each.mean()
    return (each * weight).sum() / (weight.sum() * each.shape[0]).clamp(min=torch.finfo(each.dtype).tiny)
