"""The losses beside torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from medcnn.losses.classification import binary_cross_entropy, cross_entropy, soft_targets


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float() * 3


LABEL = torch.tensor([0, 1, 2, 3, 3, 0, 1])
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 3.0])


def test_two_even_classes_cost_log_two() -> None:
    loss = cross_entropy(torch.zeros(3, 2), torch.tensor([[1.0, 0], [0, 1], [0.5, 0.5]]))
    assert loss.item() == pytest.approx(math.log(2))


def test_hard_labels_as_torch(logits: torch.Tensor) -> None:
    hot = soft_targets(LABEL, 4, 0.0)
    torch.testing.assert_close(cross_entropy(logits, hot), functional.cross_entropy(logits, LABEL))


def test_class_weights_as_torch(logits: torch.Tensor) -> None:
    ours = cross_entropy(logits, soft_targets(LABEL, 4, 0.0), WEIGHT)
    torch.testing.assert_close(ours, functional.cross_entropy(logits, LABEL, weight=WEIGHT))


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothed_labels_as_torch(logits: torch.Tensor, smoothing: float) -> None:
    ours = cross_entropy(logits, soft_targets(LABEL, 4, smoothing))
    torch.testing.assert_close(ours, functional.cross_entropy(logits, LABEL, label_smoothing=smoothing))


def test_soft_targets_share_what_is_taken() -> None:
    assert soft_targets(torch.tensor([1]), 4, 0.2).tolist() == [pytest.approx([0.05, 0.85, 0.05, 0.05])]


def test_gradients_as_torch(logits: torch.Tensor) -> None:
    one, other = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    cross_entropy(one, soft_targets(LABEL, 4, 0.1)).backward()
    functional.cross_entropy(other, LABEL, label_smoothing=0.1).backward()
    torch.testing.assert_close(one.grad, other.grad)


def test_half_precision_logits_lose_nothing_in_the_sum(logits: torch.Tensor) -> None:
    half = logits.to(torch.bfloat16)
    torch.testing.assert_close(
        cross_entropy(half, soft_targets(LABEL, 4, 0.0)), functional.cross_entropy(half.float(), LABEL)
    )


def test_several_labels_as_torch(logits: torch.Tensor) -> None:
    target = (torch.rand(7, 4, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    torch.testing.assert_close(
        binary_cross_entropy(logits, target), functional.binary_cross_entropy_with_logits(logits, target)
    )
    torch.testing.assert_close(
        binary_cross_entropy(logits, target, WEIGHT),
        functional.binary_cross_entropy_with_logits(logits, target, pos_weight=WEIGHT),
    )


def test_a_missing_label_is_as_if_it_were_not_there(logits: torch.Tensor) -> None:
    target = torch.full((7, 4), float("nan"))
    target[2, 1], target[5, 3], target[0, 0] = 1.0, 0.0, 1.0
    there = torch.tensor([logits[2, 1], logits[5, 3], logits[0, 0]])
    expected = functional.binary_cross_entropy_with_logits(there, torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(binary_cross_entropy(logits, target), expected)


def test_a_missing_label_leaves_no_gradient(logits: torch.Tensor) -> None:
    logits = logits.requires_grad_()
    target = torch.full((7, 4), float("nan"))
    target[2, 1] = 1.0
    binary_cross_entropy(logits, target).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert torch.nonzero(logits.grad).tolist() == [[2, 1]]


def test_a_batch_without_any_label_costs_nothing(logits: torch.Tensor) -> None:
    assert binary_cross_entropy(logits, torch.full((7, 4), float("nan"))).item() == 0.0
