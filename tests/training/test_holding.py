"""Layers that are held stay as they were, bit for bit, and those that come later resume exactly."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_training import Recorder, make_job, weights_digest
from torch import nn

from medcnn.config.trainer import TrainerConf
from medcnn.errors import Interrupted
from medcnn.networks.layers import layer_groups
from medcnn.training.fit import _strategy, fit
from medcnn.training.holding import held_groups, hold, in_words
from medcnn.training.job import Job
from medcnn.training.speed import measured_speed

GRADUAL: dict[str, Any] = {"unfreeze_epochs": 1, "epochs": 4}  # three groups: the third epoch is the first of all


def moved(job: Any, folder: Path) -> set[str]:
    """The layers (features.<n>, head.<n>) of which something differs from the start."""
    start = job.make_task(0).network.state_dict()
    kept = load_file(folder / "member_0.safetensors")
    changed = {name for name, tensor in kept.items() if not torch.equal(tensor, start[name])}
    return {name.rpartition(".")[0] for name in changed}


def network_of(job: Job) -> nn.Module:
    network = job.make_task(0).network
    assert isinstance(network, nn.Module)
    return network


def test_who_is_held_in_which_epoch() -> None:
    gradual, probe = TrainerConf(unfreeze_epochs=2), TrainerConf(frozen="body")
    assert [held_groups(gradual, 6, epoch) for epoch in range(12)] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    assert held_groups(gradual, 6, 100) == 0
    assert {held_groups(probe, 6, epoch) for epoch in range(12)} == {5}
    assert held_groups(TrainerConf(), 6, 0) == 0


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_linear_probe_leaves_the_body_and_its_norms_as_they_were(tmp_path: Path, ema_decay: float) -> None:
    job = make_job(tmp_path, frozen="body", keep="last", ema_decay=ema_decay)
    fit(job, resume=False)
    assert moved(job, tmp_path) == {"head.1", "head.4"}  # two linear layers in this network's head


def test_gradual_unfreezing_comes_to_the_input_last(tmp_path: Path) -> None:
    for epochs, layers in (
        (1, {"head.1", "head.4"}),
        (2, {"head.1", "head.4", "features.4", "features.5"}),
        (3, {"head.1", "head.4", "features.4", "features.5", "features.0", "features.1"}),
    ):
        folder = tmp_path / str(epochs)
        job = make_job(folder, unfreeze_epochs=1, epochs=epochs, keep="last", ema_decay=0.0)
        fit(job, resume=False)
        assert moved(job, folder) == layers


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whole")
    fit(make_job(folder, layer_decay=0.5, **GRADUAL), resume=False)
    return weights_digest(folder)


@pytest.mark.parametrize("step", [2, 5, 7, 10, 13])
def test_stopped_while_layers_are_freed_and_resumed_equals_uninterrupted(
    tmp_path: Path, uninterrupted: str, step: int
) -> None:
    watcher = Recorder()
    job = make_job(tmp_path, watcher=watcher, layer_decay=0.5, **GRADUAL)
    watcher.at_step = lambda now: setattr(job.interruption, "signal_number", signal.SIGTERM) if now == step else None
    with pytest.raises(Interrupted):
        fit(job, resume=False)
    fit(make_job(tmp_path, layer_decay=0.5, **GRADUAL), resume=True)
    assert weights_digest(tmp_path) == uninterrupted


def test_norms_of_freed_layers_follow_their_batches_again(tmp_path: Path) -> None:
    network = network_of(make_job(tmp_path))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for epoch, follow in enumerate(([False, False], [False, True], [True, True])):
        hold(network, TrainerConf(unfreeze_epochs=1), epoch)
        assert [norm.training for norm in norms] == follow


def test_a_step_is_measured_with_what_learns_at_the_end(tmp_path: Path) -> None:
    job = make_job(tmp_path, frozen="body")
    task: Any = job.make_task(0)
    before = {name: tensor.clone() for name, tensor in task.network.features.state_dict().items()}
    batches: Any = job.batches(0)
    measured_speed(task, batches, validation_cases=4, conf=job.conf)
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.network.features.state_dict().items())
    conf = TrainerConf(**{**vars(job.conf), "frozen": "none", "unfreeze_epochs": 1})
    task = job.make_task(0)
    measured_speed(task, batches, validation_cases=4, conf=conf)
    assert all(p.requires_grad for p in task.network.parameters())


def test_what_is_said_of_it(tmp_path: Path) -> None:
    network = network_of(make_job(tmp_path))
    learning = sum(p.numel() for p in layer_groups(network)[-1])
    assert in_words(network, TrainerConf(), 10) == ""
    assert in_words(network, TrainerConf(frozen="body"), 10) == (
        f"the body is held: the last of 3 groups of layers learns, {learning} weights"
    )
    assert in_words(network, TrainerConf(unfreeze_epochs=2), 10).endswith("all learn from epoch 5 of 10")
    assert "in 4 epochs the first 1 never learn" in in_words(network, TrainerConf(unfreeze_epochs=2), 4)


def test_nothing_is_touched_where_nothing_is_asked_for(tmp_path: Path) -> None:
    network = network_of(make_job(tmp_path))
    network.get_parameter("head.4.bias").requires_grad = False  # the user's own doing
    hold(network, TrainerConf(), 0)
    assert not network.get_parameter("head.4.bias").requires_grad


@pytest.mark.parametrize(
    ("settings", "strategy"),
    [
        ({}, "auto"),
        ({"frozen": "body"}, "auto"),
        ({"strategy": "ddp", "devices": 2}, "ddp"),
        ({"frozen": "body", "devices": 2}, "ddp_find_unused_parameters_true"),
        ({"unfreeze_epochs": 1, "strategy": "ddp"}, "ddp_find_unused_parameters_true"),
    ],
)
def test_processes_do_not_wait_for_gradients_of_held_layers(settings: dict[str, Any], strategy: str) -> None:
    assert _strategy(TrainerConf(**settings)) == strategy
