"""What a training does besides resuming: guards its weights, chooses its best epoch, learns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_training import Recorder, make_job, pictures, weights_digest

from medcnn.config.trainer import TrainerConf
from medcnn.data.batches import Batches
from medcnn.errors import TrainingError
from medcnn.training.fit import build_trainer, fit
from medcnn.training.job import Job


class Poisoned:
    """Prepared images in which some cases are not a number when they are asked for the n-th time."""

    def __init__(self, image: np.ndarray, reads: set[int]) -> None:
        self.image, self.reads, self.read = image, reads, 0

    def __getitem__(self, indices: list[int]) -> np.ndarray:
        self.read += 1
        return self.image[indices] * (np.nan if self.read in self.reads else 1)

    def __len__(self) -> int:
        return len(self.image)


def poisoned_job(folder: Path, reads: set[int], **changes: Any) -> tuple[Job, Recorder]:
    job = make_job(folder, watcher=(watcher := Recorder()), **changes)
    image, target = pictures(24, seed=1)
    batches = Batches(Poisoned(image, reads), target, job.batches(0).order, workers=0)  # type: ignore[attr-defined]  # small_training's
    return Job(**{**vars(job), "batches": lambda member: batches}), watcher


def test_one_step_that_is_not_finite_is_left_out_and_the_training_goes_on(tmp_path: Path) -> None:
    job, watcher = poisoned_job(tmp_path, {4})
    state = fit(job, resume=False)
    assert [step for step, loss in enumerate(watcher.losses) if math.isnan(loss)] == [3]
    assert (state.skipped, state.in_a_row, state.step) == (1, 0, 15)
    assert all(bool(torch.isfinite(value).all()) for value in load_file(tmp_path / "member_0.safetensors").values())
    assert all(math.isfinite(row["train/loss"]) for row in state.history)


def test_a_loss_that_stays_nan_stops_with_what_to_do_and_keeps_the_finite_weights(tmp_path: Path) -> None:
    job, _ = poisoned_job(tmp_path, set(range(7, 100)), skip_nonfinite_steps=3)
    with pytest.raises(TrainingError, match=r"not finite .* for 4 steps in a row, at step 9.*learning_rate"):
        fit(job, resume=False)
    assert all(bool(torch.isfinite(value).all()) for value in load_file(tmp_path / "member_0.safetensors").values())


def test_a_phantom_is_learnt_by_heart(tmp_path: Path) -> None:
    state = fit(make_job(tmp_path, epochs=25, mixup_alpha=0.0, label_smoothing=0.0, learning_rate=1e-2), resume=False)
    assert state.history[-1]["val/auroc"] > 0.95
    assert state.history[-1]["train/loss"] < 0.5 * state.history[0]["train/loss"]


def measuring(values: Iterator[float]) -> Any:
    """A measure that says these values, one after the other, of whatever network."""
    return lambda member: lambda network: (next(values), {})


def test_the_best_epoch_is_kept_by_the_smoothed_metric(tmp_path: Path) -> None:
    job = make_job(tmp_path, epochs=4, metric_smoothing=0.5)
    values = iter([0.6, 0.9, 0.8, 0.4])
    seen: list[str] = []

    watcher = Recorder()
    watcher.epoch = lambda state, plan, row: seen.append(weights_digest(tmp_path))  # type: ignore[method-assign]
    state = fit(Job(**{**vars(job), "measure": measuring(values), "watcher": watcher}), resume=False)
    # smoothed: 0.6, 0.75, 0.775, 0.5875
    assert state.best_epoch == 2
    assert state.best == pytest.approx(0.775)
    assert seen[0] != seen[1] != seen[2] == seen[3]


def test_patience_stops_early_and_resuming_does_not_go_on(tmp_path: Path) -> None:
    job = make_job(tmp_path, epochs=10, patience_epochs=2, metric_smoothing=0.0)
    job = Job(**{**vars(job), "measure": measuring(repeat(0.5))})
    assert (state := fit(job, resume=False)).stopped_early
    assert len(state.history) == 3
    assert fit(job, resume=True).history == state.history


def test_keep_last_keeps_the_last(tmp_path: Path) -> None:
    worse = iter([0.9, 0.5, 0.1])
    job = make_job(tmp_path, keep="last", ema_decay=0.0)
    kept = []
    watcher = Recorder()
    watcher.epoch = lambda state, plan, row: kept.append(weights_digest(tmp_path))  # type: ignore[method-assign]
    fit(Job(**{**vars(job), "measure": measuring(worse), "watcher": watcher}), resume=False)
    assert len(set(kept)) == 3


@pytest.mark.parametrize(("accelerator", "devices", "there"), [("auto", 2, 1), ("gpu", 2, 1), ("gpu", 5, 4)], ids=str)
def test_more_gpus_than_there_are_is_said_with_how_many_there_are(
    monkeypatch: pytest.MonkeyPatch, accelerator: str, devices: int, there: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    has = f"this machine has {there} GPU" + "s" * (there > 1) + " to"
    with pytest.raises(TrainingError, match=rf"trainer\.devices={devices}, and {has} .*Set trainer\.devices={there};"):
        build_trainer(TrainerConf(accelerator=accelerator, devices=devices), [], epochs=1)


def test_one_mps_device_and_as_many_processes_on_a_cpu_as_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = build_trainer(TrainerConf(accelerator="cpu", devices=2, strategy="ddp", threads=1), [], epochs=1)
    assert trainer.num_devices == 2
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(TrainingError, match="has 1 GPU to"):
        build_trainer(TrainerConf(accelerator="mps", devices=2), [], epochs=1)


def test_losses_of_the_first_steps_are_what_they_were(tmp_path: Path) -> None:
    """A change in these numbers is a change in what is trained: say it in the changelog."""
    job = make_job(tmp_path, watcher=(watcher := Recorder()))
    fit(job, resume=False)
    assert watcher.losses[:3] == pytest.approx(STORED_LOSSES, rel=2e-3)


STORED_LOSSES = [0.67262, 0.77497, 0.97420]
