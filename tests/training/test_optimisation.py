"""Learning rates, decay and averaging, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from medcnn.config.trainer import TrainerConf
from medcnn.training.averaging import AveragedNetwork, exponential
from medcnn.training.optimisation import build_optimizer, learning_rate, set_learning_rate


def rates(**settings: object) -> list[float]:
    conf = TrainerConf(learning_rate=1.0, **settings)  # type: ignore[arg-type]
    return [learning_rate(conf, step, steps=100, warmup_steps=10) for step in range(101)]


def test_warm_up_is_linear_and_starts_above_zero() -> None:
    assert rates()[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])


def test_cosine_is_half_way_down_half_way_through() -> None:
    found = rates(final_fraction=0.1)
    assert found[10] == pytest.approx(1.0)
    assert found[55] == pytest.approx(0.55)
    assert found[100] == pytest.approx(0.1)


def test_polynomial_is_the_power_0_9() -> None:
    assert rates(schedule="polynomial", final_fraction=0.0)[55] == pytest.approx(0.5**0.9)


def test_constant_stays() -> None:
    assert set(rates(schedule="constant")[10:]) == {1.0}


def test_only_kernels_and_matrices_decay() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    decayed, left_alone = build_optimizer(TrainerConf(weight_decay=0.5), network).param_groups
    assert (decayed["weight_decay"], left_alone["weight_decay"]) == (0.5, 0.0)
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 1, 3, 3), (2, 2)]
    assert all(p.ndim == 1 for p in left_alone["params"])
    assert len(left_alone["params"]) == 4


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_the_optimiser_is_the_one_asked_for(name: str, kind: type) -> None:
    assert isinstance(build_optimizer(TrainerConf(optimizer=name), nn.Linear(2, 2)), kind)


def test_layers_learn_the_more_slowly_the_nearer_they_are_to_the_input() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(2, 2))
    conf = TrainerConf(learning_rate=0.1, layer_decay=0.5, weight_decay=0.3)
    optimizer = build_optimizer(conf, network)
    assert [group["lr_scale"] for group in optimizer.param_groups] == [0.25, 0.25, 0.5, 0.5, 1.0, 1.0]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))
    for group in optimizer.param_groups:
        assert group["lr"] == 0.1 * group["lr_scale"]
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])
    set_learning_rate(optimizer, 0.04)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.01, 0.02, 0.02, 0.04, 0.04]


def test_average_of_constant_weights_approaches_them_as_the_formula_says() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    averaged = AveragedNetwork(network, exponential(0.5))
    nn.init.constant_(network.weight, 1.0)
    left = 1.0
    for step in range(1, 11):
        averaged.update(network, step)
        left *= min(0.5, (1 + step) / (10 + step))
    assert float(averaged.network.weight) == pytest.approx(1 - left, rel=1e-6)  # type: ignore[arg-type]
    assert not math.isclose(left, 0.5**10)  # the first steps forget faster


def test_batch_norm_counts_are_copied_not_averaged() -> None:
    network = nn.BatchNorm1d(2)
    averaged = AveragedNetwork(network, exponential(0.9))
    network(torch.randn(8, 2))
    averaged.update(network, 1)
    assert int(averaged.network.num_batches_tracked) == 1  # type: ignore[arg-type]
