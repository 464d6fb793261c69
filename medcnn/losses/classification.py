"""Losses of classifiers. B cases, K classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def soft_targets(label: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Class indices (B,) as probabilities (B, K), with `smoothing` shared among all classes."""
    hot = functional.one_hot(label, num_classes).float()
    return hot * (1 - smoothing) + smoothing / num_classes


def cross_entropy(logits: Tensor, target: Tensor, class_weight: Tensor | None = None) -> Tensor:
    """Mean over cases of -sum_k w_k t_k log p_k, the weights normalised over the batch as torch does.

    logits, target (B, K), target rows sum to 1; class_weight (K,) or None
    """
    log_probability = functional.log_softmax(logits.float(), dim=1)
    weighted = target if class_weight is None else target * class_weight
    return -(weighted * log_probability).sum() / weighted.sum()


def binary_cross_entropy(logits: Tensor, target: Tensor, class_weight: Tensor | None = None) -> Tensor:
    """Mean over the labels that are there; one sigmoid per class.

    logits, target (B, K), target nan where the label is missing; class_weight (K,) on the positives, or None
    """
    present = ~torch.isnan(target)
    filled = torch.where(present, target, torch.zeros_like(target))
    each = functional.binary_cross_entropy_with_logits(
        logits.float(), filled, pos_weight=class_weight, reduction="none"
    )
    return (each * present).sum() / present.sum().clamp(min=1)
