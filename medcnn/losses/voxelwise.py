"""Losses that look at each voxel by itself. B cases, K classes or structures, N voxels in a row.

All are means over the voxels that are not ignored, weighted by their class as torch does, and 0 where all are ignored.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(
    log_probability: Tensor, index: Tensor, ignored: int, *, weight: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """-log p of the true class; as torch's, with the `smoothing` shared among all classes.

    log_probability (B, K, N); index (B, N) int64; weight (K,) or None
    """
    shares = _class_weights(index, ignored, weight, log_probability)
    right = -(_of_truth(log_probability, index) * shares).sum()
    if smoothing:
        each = log_probability.mean(dim=1) if weight is None else (log_probability.movedim(1, 2) @ weight) / len(weight)
        everywhere = -(each * (index != ignored)).sum()
        right = (1 - smoothing) * right + smoothing * everywhere
    return right / _at_least_tiny(shares.sum())


def focal_loss(
    log_probability: Tensor, index: Tensor, ignored: int, gamma: float, *, weight: Tensor | None = None
) -> Tensor:
    """-(1 - p)^gamma log p of the true class (Lin et al. 2017); shapes as in cross_entropy."""
    right = _of_truth(log_probability, index)
    shares = _class_weights(index, ignored, weight, log_probability)
    each = _focus(right, gamma) * right
    return (each * shares).sum() / _at_least_tiny(shares.sum())


def binary_cross_entropy(
    logits: Tensor, truth: Tensor, valid: Tensor, *, weight: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Every structure its own yes or no.

    logits, truth, valid (B, K, N), the latter two bool; weight (K,) of the structures, or None
    """
    target = truth * (1 - smoothing) + smoothing / 2 if smoothing else truth.to(logits.dtype)
    each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    shares = valid if weight is None else valid * weight[:, None]
    return (each * shares).sum() / _at_least_tiny(shares.sum(dtype=logits.dtype))


def binary_focal_loss(
    logits: Tensor, truth: Tensor, valid: Tensor, gamma: float, *, weight: Tensor | None = None
) -> Tensor:
    """Lin et al. 2017, every structure its own yes or no; shapes as in binary_cross_entropy."""
    right = functional.logsigmoid(torch.where(truth, logits, -logits))  # log p of what is true
    each = _focus(right, gamma) * right
    shares = valid if weight is None else valid * weight[:, None]
    return (each * shares).sum() / _at_least_tiny(shares.sum(dtype=logits.dtype))


def _focus(right: Tensor, gamma: float) -> Tensor:
    """-(1 - p)^gamma from log p; kept above 0, where a gamma below 1 has an endless slope."""
    return -((-torch.expm1(right)).clamp(min=1e-7) ** gamma)


def _of_truth(log_probability: Tensor, index: Tensor) -> Tensor:
    """(B, N): log p of the true class, 0 where ignored. torch's own way is not the same every time on a GPU."""
    classes = torch.arange(log_probability.shape[1], device=index.device)[:, None]
    return (log_probability * (index[:, None] == classes).to(log_probability.dtype)).sum(dim=1)


def _class_weights(index: Tensor, ignored: int, weight: Tensor | None, like: Tensor) -> Tensor:
    """(B, N): the weight of each voxel's class, 0 where ignored."""
    valid = index != ignored
    return valid.to(like.dtype) if weight is None else weight[index * valid] * valid


def _at_least_tiny(number: Tensor) -> Tensor:
    return number.clamp(min=torch.finfo(number.dtype).tiny)
