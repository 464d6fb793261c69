"""The range test of learning rates: curves and problems whose right rate is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_training import make_job
from torch import Tensor, nn

from medcnn.errors import TrainingError
from medcnn.training.rate_range import HIGHEST, LOWEST, STEPS, range_test, read_range

RATES = np.geomspace(LOWEST, HIGHEST, STEPS)


def valley(fastest: float, climbs: float, noise: float = 0.0) -> np.ndarray:
    """A loss that falls by a logistic curve, fastest at one rate, and climbs from another on."""
    x = np.log10(RATES)
    falls = 1 - 0.7 / (1 + np.exp(-4 * (x - np.log10(fastest))))
    rises = 4 * np.maximum(0, x - np.log10(climbs)) ** 2
    return np.asarray(falls + rises + noise * np.random.default_rng(0).standard_normal(len(x)))


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("fastest", [3e-4, 1e-2])
def test_the_steepest_place_is_found(fastest: float, noise: float) -> None:
    found = read_range(RATES.tolist(), valley(fastest, 0.3, noise).tolist())
    assert found.suggested is not None
    assert abs(np.log10(found.suggested / fastest)) < (0.2 if noise else 0.06)


def test_the_rate_from_which_the_loss_is_above_its_start() -> None:
    found = read_range(RATES.tolist(), valley(1e-3, 0.1).tolist())
    assert found.diverges == pytest.approx(0.1 * 10 ** (0.7 / 4) ** 0.5, rel=0.15)  # 0.3 + 4 d^2 = 1
    assert 0.03 < found.lowest < 0.2
    assert found.fall == pytest.approx(0.7, abs=0.03)


def test_a_loss_that_only_falls_never_diverges_and_one_that_only_rises_suggests_nothing() -> None:
    assert read_range(RATES.tolist(), valley(1e-3, 100.0).tolist()).diverges is None
    rising = read_range(RATES.tolist(), (1 + RATES).tolist())
    assert rising.suggested is None


def test_smoothing_lags_behind_nowhere() -> None:
    line = (2 - 0.3 * np.log10(RATES)).tolist()
    np.testing.assert_allclose(read_range(RATES.tolist(), line).smoothed, line, atol=1e-9)


class _Bowl(nn.Module):
    """0.5 L w^2: gradient descent converges for rates below 2 / L and diverges above."""

    def __init__(self, curvature: float) -> None:
        super().__init__()
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.network.weight, 1.0)
        self.curvature = curvature

    def training_step(self, batch: Any, index: int) -> Tensor:
        return torch.as_tensor(0.5 * self.curvature * (self.network.weight**2).sum())

    def make_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        groups: list[dict[str, Any]] = [{"params": list(network.parameters()), "lr_scale": 1.0}]
        return torch.optim.SGD(groups, lr=1.0)


@pytest.mark.parametrize("curvature", [2.0, 20.0, 2000.0])
def test_a_quadratic_bowl_diverges_beyond_two_over_its_curvature(tmp_path: Path, curvature: float) -> None:
    job = make_job(tmp_path, gradient_clip=0.0)
    found = range_test(replace(job, make_task=lambda seed: _Bowl(curvature)))  # type: ignore[arg-type, return-value]
    assert found.suggested is not None
    assert found.diverges is not None
    assert found.suggested < 2 / curvature < found.diverges < 10 * 2 / curvature
    assert len(found.losses) < STEPS


def test_the_same_twice_and_nothing_is_left(tmp_path: Path) -> None:
    one, other = (range_test(make_job(tmp_path, members=2)) for _ in range(2))
    np.testing.assert_array_equal(one.losses, other.losses)
    assert list(tmp_path.iterdir()) == []
    assert 1e-4 < (one.suggested or 0) < 1


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    found = range_test(make_job(tmp_path, accumulate_batches=2))
    assert len(found.losses) <= STEPS
    assert np.isfinite(found.losses).all()


def test_a_loss_that_is_no_number_from_the_start_is_said(tmp_path: Path) -> None:
    bowl = _Bowl(float("nan"))
    with pytest.raises(TrainingError, match=r"not finite .* from the first steps on.*debug=overfit"):
        range_test(replace(make_job(tmp_path), make_task=lambda seed: bowl))  # type: ignore[arg-type, return-value]
