"""Training a classifier: what is particular to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from medcnn.data.dataset import Dataset
from medcnn.data.labels import truth
from medcnn.evaluation.glance import glance
from medcnn.inference.classifier import Classifier, OutputRule
from medcnn.model_package.classifier import ClassifierPackage
from medcnn.study.classification.data import load_study_data
from medcnn.study.classification.explanations import Explanations
from medcnn.study.classification.package import save_study_package
from medcnn.study.classification.report import REVIEWED, review_run
from medcnn.study.starting import keeps_head, pinned
from medcnn.study.whole_scans import WholeScanStudy
from medcnn.tasks.classification import ClassificationTask
from medcnn.tracking.tracker import Tracker
from medcnn.training.job import Measure
from medcnn.training.optimisation import build_optimizer
from medcnn.training.state import TrainingState
from medcnn.transforms.random_steps import RandomSteps


@dataclass(eq=False)
class ClassificationStudy(WholeScanStudy[Dataset]):
    """Labels per scan: every scan on one grid of size_px, answered by class probabilities."""

    package: ClassifierPackage | None = None
    explanations: Explanations | None = None

    def load_data(self) -> None:
        self.data = load_study_data(self.conf, self.run, self.keyring, resumes=self.resumes or self.is_helper)

    def keeps_head(self) -> bool:
        return keeps_head(pinned(self.conf.model, self.run.path), self.dataset.labels)

    # Training

    def num_outputs(self) -> int:
        return len(self.dataset.labels.class_names)

    def has_grades(self) -> bool:
        return self.dataset.labels.kind == "ordinal"

    def targets(self) -> npt.NDArray[np.float32]:
        return self.loaded.targets("train")

    def class_counts(self) -> list[int]:
        return [int(n) for n in (self.targets() == 1).sum(axis=0)]

    def task_of(self, network: torch.nn.Module, seed: int) -> ClassificationTask:
        conf, kind = self.conf.trainer, self.dataset.labels.kind
        return ClassificationTask(
            network,
            kind=kind,
            class_weight=self._class_weight(multilabel=kind == "multilabel"),
            random_steps=RandomSteps(self.conf.transforms.random, len(self.conf.transforms.size_px)),
            conf=conf,
            seed=seed,
            make_optimizer=lambda net: build_optimizer(conf, net),
        )

    def _class_weight(self, *, multilabel: bool) -> torch.Tensor | None:
        if self.conf.trainer.class_weighting == "none":
            return None
        targets = self.targets()
        positive = np.maximum((targets == 1).sum(axis=0), 1)
        weight = (targets == 0).sum(axis=0) / positive if multilabel else targets.sum() / (targets.shape[1] * positive)
        return torch.from_numpy(np.asarray(weight, np.float32))

    def measure(self) -> Measure:
        data, conf = self.loaded, self.conf
        val, labels = data.prepared.of_split("val"), data.dataset.labels
        answers = truth(labels.targets(val.cases), labels.kind)
        rule = OutputRule(labels.kind, labels.class_names)
        images = val.images[list(range(len(val)))]

        def measured(network: torch.nn.Module) -> tuple[float, dict[str, float]]:
            device = next(network.parameters()).device
            asked = Classifier([network], rule, device, conf.inference.batch_cases)
            logits = asked.logits(images, val.covariates)
            shown = glance(rule.probability(logits), answers, labels.kind)
            return (-shown["loss"] if conf.trainer.metric == "loss" else shown[conf.trainer.metric]), shown

        return measured

    # Package and review

    def save_package(self) -> None:
        self.package, self.explanations = save_study_package(self.conf, self.run, self.loaded, self.planned)

    def review(self, tracker: Tracker) -> None:
        assert self.package is not None, "save_package comes first"
        data, state = self.loaded, self.state or TrainingState()
        metrics = review_run(self.run, self.conf, self.package, data, state, self.explanations, self.keyring)
        self.track_review(tracker, metrics, REVIEWED)
