"""A training with covariates, some hidden at random, mixed with the images: stopped and resumed it ends the same."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_training import Recorder, make_job, weights_digest

from medcnn.data.batches import Batches
from medcnn.data.covariates import Covariate, Covariates, TrainingCovariates
from medcnn.errors import Interrupted
from medcnn.networks.covariates import CovariateNetwork, answer
from medcnn.tasks.classification import ClassificationTask
from medcnn.training.fit import fit
from medcnn.training.job import Job

SPEC = Covariates(
    (Covariate("age", may_be_missing=True), Covariate("sex", ("F", "M"), (0.5, 0.5), may_be_missing=True))
)


def job(folder: Path, watcher: Recorder | None = None, **changes: Any) -> Job:
    made = make_job(folder, watcher=watcher, **changes)
    whole = made.batches(0)
    assert isinstance(whole, Batches)
    values = np.random.default_rng(5).normal(size=(len(whole.images), SPEC.num_inputs)).astype(np.float32)
    covariates = TrainingCovariates(SPEC, values, 0.3, seed=0)
    batches = Batches(whole.images, whole.targets.numpy(), whole.order, workers=0, covariates=covariates)

    def task(seed: int) -> ClassificationTask:
        found = made.make_task(seed)
        assert isinstance(found, ClassificationTask)
        torch.manual_seed(seed + 1)
        found.network = CovariateNetwork(found.network, SPEC.num_inputs)
        return found

    def measure(network: torch.nn.Module) -> tuple[float, dict[str, float]]:
        with torch.no_grad():
            said = answer(network, torch.ones(2, 1, 16, 16), torch.ones(2, SPEC.num_inputs))
        return float(said[0, 1]), {"auroc": float(said[0, 1])}

    return replace(made, batches=lambda member: batches, measure=lambda member: measure, make_task=task)


@pytest.mark.parametrize("changes", [{}, {"mixup_alpha": 0.0, "cutmix_alpha": 1.0}])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path, changes: dict[str, Any]) -> None:
    fit(job(tmp_path / "whole", **changes), resume=False)
    watcher = Recorder()
    stopped = job(tmp_path / "cut", watcher, **changes)

    def hear(step: int) -> None:
        if step == 7:
            stopped.interruption.signal_number = signal.SIGTERM

    watcher.at_step = hear
    with pytest.raises(Interrupted):
        fit(stopped, resume=False)
    fit(job(tmp_path / "cut", **changes), resume=True)
    assert weights_digest(tmp_path / "cut") == weights_digest(tmp_path / "whole")
