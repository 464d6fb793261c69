"""Losses of numbers against their definitions, and against what is not known."""

from __future__ import annotations

import pytest
import torch

from medcnn.losses.regression import absolute_loss, build_regression_loss, huber_loss, squared_loss

PREDICTED = torch.tensor([[0.0], [2.0], [-3.0], [1.0]])
TARGET = torch.tensor([[0.5], [0.0], [1.0], [float("nan")]])


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (huber_loss, (0.5 * 0.25 + (2 - 0.5) + (4 - 0.5)) / 3),
        (squared_loss, (0.25 + 4 + 16) / 3),
        (absolute_loss, (0.5 + 2 + 4) / 3),
    ],
)
def test_each_is_its_definition_over_what_is_known(loss, expected: float) -> None:
    predicted = PREDICTED.clone().requires_grad_()
    found = loss(predicted, TARGET)
    assert float(found.detach()) == pytest.approx(expected)
    found.backward()
    assert torch.isfinite(predicted.grad).all()
    assert float(predicted.grad[3]) == 0.0  # what is not known pulls nowhere


def test_they_are_chosen_by_name() -> None:
    assert build_regression_loss("auto") is build_regression_loss("huber") is huber_loss
    assert build_regression_loss("mse") is squared_loss
    assert build_regression_loss("mae") is absolute_loss
    with pytest.raises(ValueError, match="huber, mse or mae"):
        build_regression_loss("focal")
