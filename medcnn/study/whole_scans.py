"""Training a network that sees a whole scan on one grid and answers in one row of numbers: classes, or a quantity."""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import dataclass
from typing import Generic

import numpy as np
import numpy.typing as npt
import torch

from medcnn.data.batches import Batches, Order
from medcnn.data.covariates import TrainingCovariates
from medcnn.data.manifest import Case
from medcnn.data.prepared import Prepared
from medcnn.inference.classifier import choose_device
from medcnn.networks.build import build_network, num_parameters
from medcnn.networks.covariates import image_network
from medcnn.networks.start import start_from
from medcnn.planning.plan import Plan, Speed, fixed_steps
from medcnn.study.named_modules import named_modules
from medcnn.study.starting import pinned
from medcnn.study.study import Study
from medcnn.study.study_data import AnyDataset, StudyData
from medcnn.tasks.whole_scan import WholeScanTask
from medcnn.training.fit import choose_precision
from medcnn.training.holding import in_words
from medcnn.training.job import Job, Measure
from medcnn.training.progress import TrainingProgress, in_minutes
from medcnn.training.speed import measured_speed

log = logging.getLogger("medcnn.train")


@dataclass(eq=False)
class WholeScanStudy(Study, Generic[AnyDataset]):
    """Plan and loop, alike whatever the row of numbers means."""

    data: StudyData[AnyDataset] | None = None
    plan: Plan | None = None

    # What each task does in its own way

    @abstractmethod
    def num_outputs(self) -> int:
        """Of the network."""

    def has_grades(self) -> bool:
        """Whether these are ordered grades, answered from one score."""
        return False

    @abstractmethod
    def targets(self) -> npt.NDArray[np.float32]:
        """(n, K) of the training cases, as the loss takes them."""

    @abstractmethod
    def task_of(self, network: torch.nn.Module, seed: int) -> WholeScanTask:
        """One step of training, around a network that stands at its start."""

    @abstractmethod
    def measure(self) -> Measure:
        """How a network does on the validation cases."""

    def keeps_head(self) -> bool:
        """Whether the last layer of the package that is started from means what this one does."""
        return False

    def class_counts(self) -> list[int]:
        """Training cases per class; [] where there are none."""
        return []

    # What was loaded

    @property
    def dataset(self) -> AnyDataset:
        return self.loaded.dataset

    @property
    def used_cases(self) -> list[Case]:
        return self.loaded.prepared.cases

    @property
    def device(self) -> str:
        return self.planned.device

    @property
    def loaded(self) -> StudyData[AnyDataset]:
        """The data; load_data comes first."""
        assert self.data is not None, "load_data comes first"
        return self.data

    @property
    def planned(self) -> Plan:
        """The plan; make_plan comes first."""
        assert self.plan is not None, "make_plan comes first"
        return self.plan

    # Plan

    def make_plan(self) -> None:
        self.plan = Plan.load(self.run.plan) if self.keeps_its_plan else self._fresh_plan()

    def _fresh_plan(self) -> Plan:
        """Fixed steps, and what they will take."""
        conf, data = self.conf.trainer, self.loaded
        batches = self.batches()
        per_epoch = batches.order.batches_per_epoch()
        steps_per_epoch = -(-per_epoch // conf.accumulate_batches)
        speed = self._speed(batches) if self.conf.debug != "dry_run" else Speed(0.0, 0.0, 0.0)
        steps, budget = fixed_steps(conf, steps_per_epoch, speed)
        steps = min(steps, 2) if self.conf.debug == "dry_run" else steps
        seconds = steps * (speed.seconds_per_step + speed.seconds_per_validation / steps_per_epoch) * conf.members
        plan = Plan(
            train_cases=batches.order.num_cases,
            class_counts=self.class_counts(),
            in_channels=data.in_channels,
            size_px=list(self.conf.transforms.size_px),
            parameters=num_parameters(self.network()),
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
        if held := in_words(self.network(), self.conf.trainer, plan.epochs):
            log.info("plan: %s", held)
        self.require_space(plan.parameters)

    def _speed(self, batches: Batches) -> Speed:
        """From a few steps of a network that is thrown away."""
        count = len(self.loaded.prepared.of_split("val"))
        return measured_speed(self.task(self.conf.seed), batches, validation_cases=count, conf=self.conf.trainer)

    # Training

    def batches(self) -> Batches:
        """The training cases, in an order that the seed fixes."""
        train, conf, targets = self.loaded.prepared.of_split("train"), self.conf.trainer, self.targets()
        classes = np.nan_to_num(targets).argmax(axis=1).astype(np.int64)
        order = Order(len(train), min(conf.batch_cases, len(train)), self.conf.seed, conf.sampling, classes)
        return Batches(train.images, targets, order, workers=self.conf.data.workers, covariates=self._covariates(train))

    def _covariates(self, train: Prepared) -> TrainingCovariates | None:
        spec = self.loaded.covariates
        if spec is None or train.covariates is None:
            return None
        return TrainingCovariates(spec, train.covariates, self.conf.data.covariate_dropout, self.conf.seed)

    def network(self) -> torch.nn.Module:
        """A fresh one."""
        return build_network(
            self.conf.model,
            in_channels=self.loaded.in_channels,
            num_outputs=self.num_outputs(),
            size_px=self.conf.transforms.size_px,
            modules=named_modules(self.conf),
            num_covariates=self.loaded.num_covariates,
            grades=self.has_grades(),
        )

    def task(self, seed: int) -> WholeScanTask:
        """With a network at its start: by the seed, or from the weights that the config names."""
        torch.manual_seed(seed)  # always; 0 is a seed too
        network = self.network()
        scale, model = self.conf.transforms.intensity.scale, pinned(self.conf.model, self.run.path)
        start_from(image_network(network), model, scale=scale, keep_head=self.keeps_head())
        return self.task_of(network, seed)

    def job(self, watcher: TrainingProgress) -> Job:
        measure, batches = self.measure(), self.batches()
        return Job(
            conf=self.conf.trainer,
            plan=self.planned,
            batches=lambda member: batches,
            measure=lambda member: measure,
            make_task=self.task,
            seed=self.conf.seed,
            folder=self.run.checkpoints,
            interruption=self.interruption,
            watcher=watcher,
        )
