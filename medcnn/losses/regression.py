"""Losses of networks that predict quantities. B cases, T quantities each; nan where one is not known."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def huber_loss(predicted: Tensor, target: Tensor, *, delta: float = 1.0) -> Tensor:
    """Squared up to an error of delta, linear beyond (Huber 1964); mean over the quantities that are known.

    predicted, target (B, T), in the target's unit, or in standard deviations where it was standardised: delta is too
    """
    present = ~torch.isnan(target)
    filled = torch.where(present, target, predicted.detach().to(target.dtype))
    each = functional.huber_loss(predicted.float(), filled.float(), reduction="none", delta=delta)
    return (each * present).sum() / present.sum().clamp(min=1)


def absolute_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over the quantities that are known; shapes as in huber_loss."""
    present = ~torch.isnan(target)
    filled = torch.where(present, target, predicted.detach().to(target.dtype))
    return ((predicted.float() - filled.float()).abs() * present).sum() / present.sum().clamp(min=1)
