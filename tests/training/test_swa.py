"""Stochastic weight averaging: its rates, which weights it is the mean of, its batch norms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_training import Recorder, make_job
from torch import Tensor, nn

from medcnn.config.fields import all_problems
from medcnn.config.trainer import TrainerConf
from medcnn.training.averaging import AveragedNetwork
from medcnn.training.fit import fit
from medcnn.training.job import Job
from medcnn.training.norm_statistics import recompute_norm_statistics
from medcnn.training.swa import WeightAveraging, rate_at


@dataclass(frozen=True)
class Length:
    """What of a plan decides when weights are averaged."""

    epochs: int
    steps_per_epoch: int
    steps: int
    warmup_steps: int = 0


def length(epochs: int, steps_per_epoch: int = 10, *, steps: int = 0, warmup_steps: int = 0) -> Any:
    return Length(epochs, steps_per_epoch, steps or epochs * steps_per_epoch, warmup_steps)


def conf(fraction: float = 0.25, **settings: Any) -> TrainerConf:
    made = TrainerConf(**{"learning_rate": 1.0, "swa_fraction": fraction, "warmup_fraction": 0.0, **settings})
    assert not list(all_problems(made))
    return made


def averaging(plan: Any, **settings: Any) -> WeightAveraging:
    made = WeightAveraging.of(conf(**settings), plan)
    assert made is not None
    return made


def taken_after(plan: Any, **settings: Any) -> list[int]:
    """The steps after which the mean gets one more."""
    made = averaging(plan, **settings)
    counts = [made.taken(step) for step in range(plan.steps + 1)]
    return [step for step in range(1, plan.steps + 1) if counts[step] > counts[step - 1]]


def test_weights_are_taken_after_each_of_the_last_epochs() -> None:
    assert taken_after(length(20), fraction=0.25) == [160, 170, 180, 190, 200]
    assert taken_after(length(3, 5), fraction=0.7) == [10, 15]
    assert taken_after(length(1, 2), fraction=0.25) == [2]


def test_a_last_epoch_that_is_cut_counts() -> None:
    assert taken_after(length(4, 10, steps=33), fraction=0.5) == [30, 33]


def test_cycles_end_with_the_training() -> None:
    assert taken_after(length(20), fraction=0.5, swa_cycle_epochs=3) == [140, 170, 200]
    assert taken_after(length(4), fraction=0.25, swa_cycle_epochs=9) == [40]


def test_the_rate_comes_down_to_the_constant_one_and_stays() -> None:
    plan, made = length(20), conf(0.25, swa_rate=0.2)
    rates = [rate_at(made, plan, step) for step in range(200)]
    assert rates[0] == 1.0
    assert rates[75] == pytest.approx(0.6)  # half way of the cosine from 1 to 0.2 over 150 steps
    assert rates[149] == pytest.approx(0.2, abs=1e-3)
    assert set(rates[150:]) == {0.2}


def test_a_cycle_falls_in_a_line_and_starts_again() -> None:
    made = conf(0.5, swa_rate=0.4, swa_cycle_epochs=2, final_fraction=0.1)
    rates = [rate_at(made, length(8), step) for step in range(80)]
    one = [0.4 - 0.3 * k / 19 for k in range(20)]
    assert rates[40:] == pytest.approx([*one, *one])


def test_without_it_rates_are_the_schedules() -> None:
    from medcnn.training.optimisation import learning_rate

    made, plan = TrainerConf(), length(5, warmup_steps=7)
    for step in range(50):
        assert rate_at(made, plan, step) == learning_rate(made, step, steps=50, warmup_steps=7)


def test_the_average_is_the_plain_mean_of_what_was_taken_and_a_copy_before() -> None:
    plan, network = length(8, 5), nn.Linear(1, 1, bias=False)
    averaged = AveragedNetwork(network, averaging(plan, fraction=0.5).share_of_newest)
    for step in range(1, 41):
        nn.init.constant_(network.weight, float(step))
        averaged.update(network, step)
        if step == 20:
            assert float(averaged.network.weight) == 20.0  # type: ignore[arg-type]
    assert float(averaged.network.weight) == pytest.approx((25 + 30 + 35 + 40) / 4)  # type: ignore[arg-type]


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))


class _Batch:
    def __init__(self, image: Tensor) -> None:
        self.image = image

    def to(self, device: Any) -> _Batch:
        return self


class _Task:
    """What is asked of a task: a network, and a step."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.device = network, torch.device("cpu")

    def training_step(self, batch: _Batch, index: int) -> Tensor:
        return torch.as_tensor(self.network(batch.image).mean())


def batches() -> list[_Batch]:
    generator = torch.Generator().manual_seed(0)
    return [_Batch(2 + 3 * torch.randn(6, 1, 9, 9, generator=generator)) for _ in range(4)]


def test_norms_get_the_statistics_that_torch_gives_them() -> None:
    ours, theirs, trained = small_network().eval(), small_network(), small_network().train()
    recompute_norm_statistics(_Task(trained), ours, batches())  # type: ignore[arg-type]
    torch.optim.swa_utils.update_bn([batch.image for batch in batches()], theirs)
    for (name, own), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(own, other, msg=name)
    assert not any(module.training for module in ours.modules())
    assert [m.momentum for m in ours.modules() if isinstance(m, nn.BatchNorm2d)] == [0.1, 0.1]
    assert trained[1].num_batches_tracked == 0  # the network in training saw nothing


def test_norms_that_are_held_keep_theirs() -> None:
    trained, network = small_network().train(), small_network().eval()
    trained[1].eval()
    recompute_norm_statistics(_Task(trained), network, batches())  # type: ignore[arg-type]
    assert not network[1].running_mean.any()  # type: ignore[union-attr, operator]
    assert network[4].running_mean.any()  # type: ignore[union-attr, operator]


SWA = {"swa_fraction": 0.5, "ema_decay": 0.0, "epochs": 4, "keep": "last"}


def test_a_training_ends_with_the_mean_of_its_last_epochs(tmp_path: Path) -> None:
    seen: list[dict[str, Tensor]] = []
    job, tasks = make_job(tmp_path, watcher=(watcher := Recorder()), **SWA), []

    def make_task(seed: int) -> Any:
        tasks.append(job.make_task(seed))
        return tasks[-1]

    watcher.epoch = lambda state, plan, row: seen.append(  # type: ignore[method-assign]
        {name: value.clone() for name, value in tasks[0].network.state_dict().items()}
    )
    state = fit(Job(**{**vars(job), "make_task": make_task}), resume=False)
    kept = load_file(tmp_path / "member_0.safetensors")
    for name, value in kept.items():
        if "running" in name:
            assert not torch.allclose(value, (seen[2][name] + seen[3][name]) / 2)  # fitted to the mean's own weights
        elif value.is_floating_point():
            torch.testing.assert_close(value, (seen[2][name] + seen[3][name]) / 2)
    assert [row["lr"] for row in state.history[2:]] == pytest.approx([3e-3 * 0.25] * 2)


@pytest.mark.parametrize("step", [7, 12, 16])
def test_stopped_and_resumed_it_ends_with_the_same_weights(tmp_path: Path, step: int) -> None:
    import signal

    from medcnn.errors import Interrupted

    fit(make_job(tmp_path / "whole", **SWA), resume=False)
    job = make_job(tmp_path / "cut", watcher=(watcher := Recorder()), **SWA)
    watcher.at_step = lambda now: setattr(job.interruption, "signal_number", signal.SIGTERM) if now == step else None
    with pytest.raises(Interrupted):
        fit(job, resume=False)
    fit(make_job(tmp_path / "cut", **SWA), resume=True)
    files = [(tmp_path / name / "member_0.safetensors").read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"ema_decay": 0.9}, "swa_fraction: weights are averaged by SWA or by ema_decay"),
        ({"patience_epochs": 3}, "swa_fraction: .* set trainer.patience_epochs=0"),
        ({"warmup_fraction": 0.8}, "swa_fraction: begins before the warm-up ends"),
        ({"swa_cycle_epochs": 2, "final_fraction": 0.5}, "swa_rate: a cycle falls from it to final_fraction"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_does_not_go_together_is_said(settings: dict[str, Any], expected: str) -> None:
    import re

    (line,) = all_problems(TrainerConf(swa_fraction=0.25, **settings))
    assert re.match(expected, line)
