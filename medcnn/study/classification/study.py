"""Training a classifier: what is particular to it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch

from medcnn.data.batches import Batches, Order
from medcnn.data.dataset import Dataset
from medcnn.data.labels import truth
from medcnn.data.manifest import Case
from medcnn.evaluation.glance import glance
from medcnn.inference.classifier import Classifier, OutputRule, choose_device
from medcnn.model_package.classifier import ClassifierPackage
from medcnn.networks.build import build_network, num_parameters
from medcnn.networks.start import start_from
from medcnn.planning.plan import Plan, Speed, fixed_steps
from medcnn.study.classification.data import StudyData, load_study_data
from medcnn.study.classification.output_rule import check_decisions
from medcnn.study.classification.package import save_study_package
from medcnn.study.classification.report import REVIEWED, review_run
from medcnn.study.named_modules import named_modules
from medcnn.study.study import Study
from medcnn.tasks.classification import ClassificationTask
from medcnn.tracking.tracker import Tracker
from medcnn.training.fit import choose_precision
from medcnn.training.job import Job, Measure
from medcnn.training.optimisation import build_optimizer
from medcnn.training.progress import TrainingProgress, in_minutes
from medcnn.training.speed import measured_speed
from medcnn.training.state import TrainingState
from medcnn.transforms.random_steps import RandomSteps

log = logging.getLogger("medcnn.train")


@dataclass(eq=False)
class ClassificationStudy(Study):
    """Labels per scan: every scan on one grid of size_px, answered by class probabilities."""

    data: StudyData | None = None
    plan: Plan | None = None
    package: ClassifierPackage | None = None

    def load_data(self) -> None:
        self.data = load_study_data(self.conf, self.run, self.keyring, resumes=self.resumes or self.is_helper)
        check_decisions(self.conf.decisions, self.data.dataset.labels.kind)

    @property
    def dataset(self) -> Dataset:
        return self._data.dataset

    @property
    def used_cases(self) -> list[Case]:
        return self._data.prepared.cases

    @property
    def device(self) -> str:
        return self._plan.device

    @property
    def _data(self) -> StudyData:
        assert self.data is not None, "load_data comes first"
        return self.data

    @property
    def _plan(self) -> Plan:
        assert self.plan is not None, "make_plan comes first"
        return self.plan

    # Plan

    def make_plan(self) -> None:
        self.plan = Plan.load(self.run.plan) if self.keeps_its_plan else self._planned(self._data)

    def _planned(self, data: StudyData) -> Plan:
        """Fixed steps, and what they will take."""
        conf = self.conf.trainer
        batches = self._batches(data)
        per_epoch = batches.order.batches_per_epoch()
        steps_per_epoch = -(-per_epoch // conf.accumulate_batches)
        speed = self._speed(data, batches) if self.conf.debug != "dry_run" else Speed(0.0, 0.0, 0.0)
        steps, budget = fixed_steps(conf, steps_per_epoch, speed)
        steps = min(steps, 2) if self.conf.debug == "dry_run" else steps
        seconds = steps * (speed.seconds_per_step + speed.seconds_per_validation / steps_per_epoch) * conf.members
        plan = Plan(
            train_cases=batches.order.num_cases,
            class_counts=[int(n) for n in (data.targets("train") == 1).sum(axis=0)],
            in_channels=data.in_channels,
            size_px=list(self.conf.transforms.size_px),
            parameters=num_parameters(self._network(data)),
            members=conf.members,
            batch_cases=conf.batch_cases,
            batches_per_epoch=per_epoch,
            steps_per_epoch=steps_per_epoch,
            steps=steps,
            warmup_steps=round(conf.warmup_fraction * steps),
            budget=budget,
            precision=choose_precision(conf),
            device=str(choose_device(conf.accelerator)),
            seconds_per_step=speed.seconds_per_step,
            estimated_minutes=seconds / 60,
            estimated_memory_mb=speed.memory_mb,
        )
        plan.save(self.run.plan)
        self._say(plan)
        return plan

    def _say(self, plan: Plan) -> None:
        log.info(
            "plan: %s with %s weights on %s, %d epochs = %d steps of %d scans%s; about %s, %.1f GB",
            self.conf.model.name, f"{plan.parameters:,}", plan.device, plan.epochs, plan.steps, plan.batch_cases,
            f", {plan.members} members" if plan.members > 1 else "",
            in_minutes(plan.estimated_minutes * 60), plan.estimated_memory_mb / 1000,
        )  # fmt: skip
        self.require_space(plan.parameters)

    def _speed(self, data: StudyData, batches: Batches) -> Speed:
        """From a few steps of a network that is thrown away."""
        count = len(data.prepared.of_split("val"))
        return measured_speed(self._task(data, self.conf.seed), batches, validation_cases=count, conf=self.conf.trainer)

    # Training

    def _batches(self, data: StudyData) -> Batches:
        train, conf = data.prepared.of_split("train"), self.conf.trainer
        targets = data.dataset.labels.targets(train.cases)
        classes = np.nan_to_num(targets).argmax(axis=1).astype(np.int64)
        order = Order(len(train), min(conf.batch_cases, len(train)), self.conf.seed, conf.sampling, classes)
        return Batches(train.images, targets, order, workers=self.conf.data.workers)

    def _network(self, data: StudyData) -> torch.nn.Module:
        model = self.conf.model
        return build_network(
            model,
            in_channels=data.in_channels,
            num_outputs=len(data.dataset.labels.class_names),
            size_px=self.conf.transforms.size_px,
            modules=named_modules(self.conf),
        )

    def _task(self, data: StudyData, seed: int) -> ClassificationTask:
        torch.manual_seed(seed)  # always; 0 is a seed too
        network, conf = self._network(data), self.conf.trainer
        start_from(network, self.conf.model)
        multilabel = data.dataset.labels.kind == "multilabel"
        return ClassificationTask(
            network,
            multilabel=multilabel,
            class_weight=self._class_weight(data, multilabel=multilabel),
            random_steps=RandomSteps(self.conf.transforms.random, len(self.conf.transforms.size_px)),
            conf=conf,
            seed=seed,
            make_optimizer=lambda net: build_optimizer(conf, net),
        )

    def _class_weight(self, data: StudyData, *, multilabel: bool) -> torch.Tensor | None:
        if self.conf.trainer.class_weighting == "none":
            return None
        targets = data.targets("train")
        positive = np.maximum((targets == 1).sum(axis=0), 1)
        weight = (targets == 0).sum(axis=0) / positive if multilabel else targets.sum() / (targets.shape[1] * positive)
        return torch.from_numpy(np.asarray(weight, np.float32))

    def job(self, watcher: TrainingProgress) -> Job:
        data, measure = self._data, self._measure(self._data)
        batches = self._batches(data)
        return Job(
            conf=self.conf.trainer,
            plan=self._plan,
            batches=lambda member: batches,
            measure=lambda member: measure,
            make_task=lambda seed: self._task(data, seed),
            seed=self.conf.seed,
            folder=self.run.checkpoints,
            interruption=self.interruption,
            watcher=watcher,
        )

    def _measure(self, data: StudyData) -> Measure:
        val, labels, conf = data.prepared.of_split("val"), data.dataset.labels, self.conf
        answers = truth(labels.targets(val.cases), labels.kind)
        rule = OutputRule(labels.kind, labels.class_names)
        images = val.images[list(range(len(val)))]

        def measure(network: torch.nn.Module) -> tuple[float, dict[str, float]]:
            device = next(network.parameters()).device
            logits = Classifier([network], rule, device, conf.inference.batch_cases).logits(images)
            shown = glance(rule.probability(logits), answers, labels.kind)
            return (-shown["loss"] if conf.trainer.metric == "loss" else shown[conf.trainer.metric]), shown

        return measure

    # Package and review

    def save_package(self) -> None:
        self.package = save_study_package(self.conf, self.run, self._data, self._plan)

    def review(self, tracker: Tracker) -> None:
        assert self.package is not None, "save_package comes first"
        data, state = self._data, self.state or TrainingState()
        metrics = review_run(
            self.run, self.conf, self.package, data.dataset, data.prepared, data.remarks, state, self.keyring
        )
        self.track_review(tracker, metrics, REVIEWED)
