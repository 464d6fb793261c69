"""Losses of networks that predict quantities. B cases, T quantities each; nan where one is not known."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]


def build_regression_loss(name: str) -> Loss:
    """By its name in the config: auto and huber, mse, mae. Raises ValueError."""
    match name:
        case "auto" | "huber":
            return huber_loss
        case "mse":
            return squared_loss
        case "mae":
            return absolute_loss
    raise ValueError(f"no loss of regression is called {name!r}: huber, mse or mae")


def huber_loss(predicted: Tensor, target: Tensor, *, delta: float = 1.0) -> Tensor:
    """Squared up to an error of delta, linear beyond (Huber 1964); mean over the quantities that are known.

    predicted, target (B, T), in the target's unit, or in standard deviations where it was standardised: delta is too
    """
    filled, present = _filled(predicted, target)
    each = functional.huber_loss(predicted.float(), filled, reduction="none", delta=delta)
    return (each * present).sum() / present.sum().clamp(min=1)


def squared_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over the quantities that are known; shapes as in huber_loss."""
    filled, present = _filled(predicted, target)
    return ((predicted.float() - filled) ** 2 * present).sum() / present.sum().clamp(min=1)


def absolute_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over the quantities that are known; shapes as in huber_loss."""
    filled, present = _filled(predicted, target)
    return ((predicted.float() - filled).abs() * present).sum() / present.sum().clamp(min=1)


def _filled(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The target without nan, which would spoil even what is left out, and where it is known."""
    present = ~torch.isnan(target)
    return torch.where(present, target, predicted.detach().to(target.dtype)).float(), present
