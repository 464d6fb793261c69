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


def focal_loss(logits: Tensor, target: Tensor, class_weight: Tensor | None = None, *, gamma: float = 2.0) -> Tensor:
    """-sum_k w_k t_k (1 - p_k)^gamma log p_k (Lin et al. 2017), normalised as cross_entropy is, which gamma 0 gives.

    logits, target (B, K), target rows sum to 1; class_weight (K,) or None
    """
    log_probability = functional.log_softmax(logits.float(), dim=1)
    weighted = target if class_weight is None else target * class_weight
    return -(weighted * _hard(log_probability, gamma) * log_probability).sum() / weighted.sum()


def binary_focal_loss(
    logits: Tensor, target: Tensor, class_weight: Tensor | None = None, *, gamma: float = 2.0
) -> Tensor:
    """The focal loss of one sigmoid per class, mean over the labels that are there; gamma 0 is binary_cross_entropy.

    logits, target (B, K), target nan where the label is missing; class_weight (K,) on the positives, or None
    """
    return asymmetric_loss(logits, target, class_weight, gamma_positive=gamma, gamma_negative=gamma, margin=0.0)


def asymmetric_loss(
    logits: Tensor,
    target: Tensor,
    class_weight: Tensor | None = None,
    *,
    gamma_positive: float = 0.0,
    gamma_negative: float = 4.0,
    margin: float = 0.05,
) -> Tensor:
    """For many labels that are mostly negative (ASL, Ridnik et al. 2021), mean over the labels that are there.

    Positives cost -(1 - p)^gamma_positive log p. Of negatives the probability is first lowered by the margin, so that
    easy ones cost nothing: -q^gamma_negative log(1 - q), q = max(p - margin, 0).
    logits, target (B, K), target nan where the label is missing; class_weight (K,) on the positives, or None
    """
    logits = logits.float()
    present = ~torch.isnan(target)
    filled = torch.where(present, target, torch.zeros_like(target))
    of_positive = functional.logsigmoid(logits)
    of_negative = functional.logsigmoid(-logits)  # log(1 - p)
    if margin > 0:
        of_negative = torch.log((of_negative.exp() + margin).clamp(max=1.0))
    positive = filled * _hard(of_positive, gamma_positive) * of_positive
    if class_weight is not None:
        positive = positive * class_weight
    negative = (1 - filled) * _hard(of_negative, gamma_negative) * of_negative
    return -((positive + negative) * present).sum() / present.sum().clamp(min=1)


def _hard(log_probability: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma from log p; kept above 0, where a gamma below 1 has an endless slope."""
    if gamma == 0:
        return torch.ones_like(log_probability)
    return (-torch.expm1(log_probability)).clamp(min=1e-7) ** gamma
