"""Training a regression: what is particular to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from medcnn.data.value_dataset import ValueDataset, values_of
from medcnn.inference.regressor import Regressor
from medcnn.model_package.regressor import RegressorPackage
from medcnn.study.regression.data import load_value_data, training_rule
from medcnn.study.regression.package import save_study_package
from medcnn.study.regression.report import REVIEWED, review_run
from medcnn.study.whole_scans import WholeScanStudy
from medcnn.tasks.regression import RegressionTask
from medcnn.tracking.tracker import Tracker
from medcnn.training.job import Measure
from medcnn.training.optimisation import build_optimizer
from medcnn.training.state import TrainingState
from medcnn.transforms.random_steps import RandomSteps


@dataclass(eq=False)
class RegressionStudy(WholeScanStudy[ValueDataset]):
    """A number per scan: every scan on one grid of size_px, answered in standard deviations of the training cases."""

    package: RegressorPackage | None = None

    def load_data(self) -> None:
        self.data = load_value_data(self.conf, self.run, self.keyring, resumes=self.resumes or self.is_helper)

    # Training

    def num_outputs(self) -> int:
        return 1

    def targets(self) -> npt.NDArray[np.float32]:
        return training_rule(self.loaded).standardised(self.loaded.targets("train"))

    def task_of(self, network: torch.nn.Module, seed: int) -> RegressionTask:
        conf = self.conf.trainer
        return RegressionTask(
            network,
            random_steps=RandomSteps(self.conf.transforms.random, len(self.conf.transforms.size_px)),
            conf=conf,
            seed=seed,
            make_optimizer=lambda net: build_optimizer(conf, net),
        )

    def measure(self) -> Measure:
        """The mean absolute error, in the quantity's unit."""
        data, batch_cases = self.loaded, self.conf.inference.batch_cases
        val, rule = data.prepared.of_split("val"), training_rule(data)
        truth = values_of(val.cases)
        images = val.images[list(range(len(val)))]

        def measured(network: torch.nn.Module) -> tuple[float, dict[str, float]]:
            device = next(network.parameters()).device
            error = Regressor([network], rule, device, batch_cases).values(images) - truth
            shown = {"mae": float(np.abs(error).mean()), "error": float(error.mean())}
            return -shown["mae"], shown

        return measured

    # Package and review

    def save_package(self) -> None:
        self.package = save_study_package(self.conf, self.run, self.loaded, self.planned)

    def review(self, tracker: Tracker) -> None:
        assert self.package is not None, "save_package comes first"
        state = self.state or TrainingState()
        metrics = review_run(self.run, self.conf, self.package, self.loaded, state, self.keyring)
        self.track_review(tracker, metrics, REVIEWED)
