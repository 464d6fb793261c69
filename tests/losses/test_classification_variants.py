"""Focal, asymmetric, CORAL and Huber losses against their formulas and their limits."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from medcnn.losses.classification import (
    asymmetric_loss,
    binary_cross_entropy,
    binary_focal_loss,
    cross_entropy,
    focal_loss,
    soft_targets,
)
from medcnn.losses.ordinal import above, answers, coral_loss
from medcnn.losses.regression import absolute_loss, huber_loss

LABEL = torch.tensor([0, 1, 2, 3, 3, 0, 1])
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 3.0])
NAN = float("nan")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def test_gamma_zero_is_cross_entropy() -> None:
    logits, target = drawn(7, 4), soft_targets(LABEL, 4, 0.1)
    torch.testing.assert_close(focal_loss(logits, target, WEIGHT, gamma=0.0), cross_entropy(logits, target, WEIGHT))
    labels = (drawn(7, 4, seed=1) > 0).float()
    torch.testing.assert_close(
        binary_focal_loss(logits, labels, WEIGHT, gamma=0.0), binary_cross_entropy(logits, labels, WEIGHT)
    )


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss_is_its_formula(gamma: float) -> None:
    logits = drawn(7, 4)
    p = logits.softmax(dim=1)[torch.arange(7), LABEL]
    expected = (-((1 - p) ** gamma) * p.log()).mean()
    torch.testing.assert_close(focal_loss(logits, soft_targets(LABEL, 4, 0.0), gamma=gamma), expected)
    one = torch.sigmoid(drawn(5, 1))
    labels = torch.tensor([[1.0], [0], [1], [0], [1]])
    right = torch.where(labels == 1, one, 1 - one)
    torch.testing.assert_close(
        binary_focal_loss(drawn(5, 1), labels, gamma=gamma), (-((1 - right) ** gamma) * right.log()).mean()
    )


def test_focal_loss_of_two_softmax_outputs_is_that_of_one_sigmoid() -> None:
    margin = drawn(6, 1)
    logits, label = torch.cat([torch.zeros(6, 1), margin], dim=1), torch.tensor([0, 1, 0, 1, 1, 0])
    torch.testing.assert_close(
        focal_loss(logits, soft_targets(label, 2, 0.0)), binary_focal_loss(margin, label[:, None].float())
    )


def test_sure_right_answers_cost_nothing_and_their_slope_is_finite() -> None:
    logits = torch.tensor([[60.0, -60.0], [-60.0, 60.0]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([[1.0, 0], [0, 1]]), gamma=0.5)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_asymmetric_loss_is_its_formula() -> None:
    logits, target = drawn(9, 3), (drawn(9, 3, seed=2) > 0).float()
    p = torch.sigmoid(logits)
    lowered = (p - 0.05).clamp(min=0)
    each = torch.where(target == 1, -(1 - p) * p.log(), -(lowered**4) * (1 - lowered).log())
    found = asymmetric_loss(logits, target, gamma_positive=1.0, gamma_negative=4.0, margin=0.05)
    torch.testing.assert_close(found, each.mean())


def test_easy_negatives_cost_nothing_at_all() -> None:
    logits = torch.tensor([[-3.5, -9.0]], requires_grad=True)  # probabilities below the margin of 0.05
    loss = asymmetric_loss(logits, torch.zeros(1, 2))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("loss", [binary_focal_loss, asymmetric_loss])
def test_missing_labels_are_as_if_they_were_not_there(loss) -> None:
    logits = drawn(7, 4).requires_grad_()
    target = torch.full((7, 4), NAN)
    target[2, 1], target[5, 3], target[0, 0] = 1.0, 0.0, 1.0
    known = [(2, 1), (5, 3), (0, 0)]
    there = torch.stack([logits[place] for place in known]).detach()
    found = loss(logits, target)
    torch.testing.assert_close(found.detach(), loss(there[:, None], torch.tensor([[1.0], [0.0], [1.0]])))
    found.backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert {tuple(place) for place in torch.nonzero(logits.grad).tolist()} <= set(known)
    assert loss(drawn(2, 4), torch.full((2, 4), NAN)).item() == 0


def test_class_weights_raise_the_positives() -> None:
    logits, target = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    plain, raised = (asymmetric_loss(logits, target, w, margin=0.0) for w in (None, torch.tensor([3.0, 3.0])))
    assert (raised - plain).item() == pytest.approx(2 * math.log(2) / 2)


def test_coral_loss_is_the_cross_entropy_of_its_questions() -> None:
    logits, target = drawn(7, 4), soft_targets(LABEL, 4, 0.0)
    levels = torch.tensor([[float(label > j) for j in range(3)] for label in LABEL.tolist()])
    assert torch.equal(above(target), levels)
    p = logits.double().softmax(dim=1)
    over = torch.stack([p[:, 1:].sum(dim=1), p[:, 2:].sum(dim=1), p[:, 3]], dim=1)
    expected = functional.binary_cross_entropy(over, levels.double()).float()
    torch.testing.assert_close(coral_loss(logits, target), expected, rtol=1e-5, atol=1e-5)
    alone = torch.stack([coral_loss(logits[n : n + 1], target[n : n + 1]) for n in range(7)])
    share = WEIGHT[LABEL]
    torch.testing.assert_close(coral_loss(logits, target, WEIGHT), (alone * share).sum() / share.sum())


def test_coral_loss_of_answers_that_are_far_off_is_a_number_with_a_slope() -> None:
    logits = torch.tensor([[0.0, -500.0, -2000.0, -9000.0]], requires_grad=True)
    loss = coral_loss(logits, torch.tensor([[0.0, 0, 0, 1]]))
    loss.backward()
    assert loss.item() == pytest.approx((500 + 2000 + 9000) / 3)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 3] < 0
    yes, no = answers(logits.detach())
    assert yes.tolist() == [[-500, -2000, -9000]]
    assert no.abs().max() == 0


def test_mixed_grades_are_between() -> None:
    mixed = 0.25 * soft_targets(torch.tensor([0]), 3, 0.0) + 0.75 * soft_targets(torch.tensor([2]), 3, 0.0)
    assert above(mixed).tolist() == [[0.75, 0.75]]


def test_huber_is_torchs_and_passes_over_what_is_not_known() -> None:
    predicted, target = drawn(6, 2).requires_grad_(), drawn(6, 2, seed=1)
    torch.testing.assert_close(
        huber_loss(predicted, target, delta=0.7), functional.huber_loss(predicted, target, delta=0.7)
    )
    torch.testing.assert_close(absolute_loss(predicted, target), functional.l1_loss(predicted, target))
    target[1, 0] = NAN
    for loss in (huber_loss, absolute_loss):
        predicted.grad = None
        found = loss(predicted, target)
        known = ~torch.isnan(target)
        torch.testing.assert_close(found, loss(predicted[known][:, None], target[known][:, None]))
        found.backward()
        assert predicted.grad is not None
        assert torch.isfinite(predicted.grad).all()
        assert predicted.grad[1, 0] == 0
    assert huber_loss(drawn(2, 1), torch.full((2, 1), NAN)).item() == 0
