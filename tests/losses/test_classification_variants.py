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
from medcnn.losses.ordinal import GradeThresholds, above, coral_loss, grade_log_probability
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


def test_thresholds_keep_the_answers_in_order_whatever_the_parameters() -> None:
    head = GradeThresholds(5)
    assert head(torch.zeros(1, 1)).tolist()[0] == pytest.approx([1.5, 0.5, -0.5, -1.5], abs=1e-3)
    with torch.no_grad():
        head.step.copy_(torch.tensor([-5.0, 3.0, 0.0]))
    logits = head(drawn(20, 1))
    assert logits.shape == (20, 4)
    assert (logits.diff(dim=1) < 0).all()
    assert GradeThresholds(2)(torch.zeros(1, 1)).tolist() == [[0.0]]


def test_coral_loss_is_the_sum_of_its_questions() -> None:
    logits = GradeThresholds(4)(drawn(7, 1))
    levels = torch.tensor([[float(label > j) for j in range(3)] for label in LABEL.tolist()])
    assert torch.equal(above(soft_targets(LABEL, 4, 0.0)), levels)
    expected = functional.binary_cross_entropy_with_logits(logits, levels)
    torch.testing.assert_close(coral_loss(logits, soft_targets(LABEL, 4, 0.0)), expected)
    alone = torch.stack([coral_loss(logits[n : n + 1], soft_targets(LABEL[n : n + 1], 4, 0.0)) for n in range(7)])
    share = WEIGHT[LABEL]
    torch.testing.assert_close(
        coral_loss(logits, soft_targets(LABEL, 4, 0.0), WEIGHT), (alone * share).sum() / share.sum()
    )


def test_mixed_grades_are_between() -> None:
    mixed = 0.25 * soft_targets(torch.tensor([0]), 3, 0.0) + 0.75 * soft_targets(torch.tensor([2]), 3, 0.0)
    assert above(mixed).tolist() == [[0.75, 0.75]]


def test_grades_probabilities_are_differences_of_the_answers() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [30.0, 29.0, -40.0]])
    found = grade_log_probability(logits).exp()
    s = torch.sigmoid(logits)
    expected = torch.stack([1 - s[:, 0], s[:, 0] - s[:, 1], s[:, 1] - s[:, 2], s[:, 2]], dim=1)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2))
    assert torch.isfinite(grade_log_probability(logits)).all()


def test_grades_are_learned_from_one_score() -> None:
    """Grades of a number cut at -1, 0 and 1.5: after a few steps the thresholds lie there."""
    x = drawn(800, 1)
    label = (x > torch.tensor([-1.0, 0.0, 1.5])).sum(dim=1)
    head, slope = GradeThresholds(4), torch.nn.Parameter(torch.tensor(1.0))
    optimiser = torch.optim.Adam([*head.parameters(), slope], lr=0.1)
    for _ in range(120):
        optimiser.zero_grad()
        coral_loss(head(slope * x), soft_targets(label, 4, 0.0)).backward()
        optimiser.step()
    cuts = (-head(torch.zeros(1, 1)) / slope).detach()[0]
    assert cuts.tolist() == pytest.approx([-1.0, 0.0, 1.5], abs=0.15)


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
