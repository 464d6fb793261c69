"""Training a segmenter: what is particular to it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

import numpy as np
from torch import nn

from medcnn.data.manifest import Case
from medcnn.data.mask_dataset import MaskDataset
from medcnn.data.segmentation_cases import SegmentationCases
from medcnn.evaluation.segmentation.glance import dice_at_a_glance
from medcnn.inference.choose_postprocessing import Trial
from medcnn.inference.segmenter import Segmenter
from medcnn.model_package.segmenter import SegmenterPackage
from medcnn.networks.build import num_parameters
from medcnn.planning.segmentation_plan import SegmentationPlan
from medcnn.scan import ScanRejected
from medcnn.study.named_modules import named_modules
from medcnn.study.segmentation.bench import Bench
from medcnn.study.segmentation.crossvalidation import OutOfFold, quality_on
from medcnn.study.segmentation.data import MaskStudyData, is_held_out, load_mask_data
from medcnn.study.segmentation.measuring import outlined
from medcnn.study.segmentation.package import describe, mask_rule, save_mask_package, settings_of
from medcnn.study.segmentation.planning import Planner
from medcnn.study.segmentation.report import CROSS_VALIDATED, REVIEWED, Trained, review_masks
from medcnn.study.study import Study
from medcnn.tracking.tracker import Tracker
from medcnn.training.job import Job, Measure
from medcnn.training.progress import TrainingProgress, in_minutes
from medcnn.training.state import TrainingState

log = logging.getLogger("medcnn.train")

_HELD_OUT = ("val", "calib")


@dataclass(eq=False)
class SegmentationStudy(Study):
    """A mask for every scan, in its own grid. Each fold of a cross-validation is a member, held to cases of its own."""

    data: MaskStudyData | None = None
    plan: SegmentationPlan | None = None
    cases: SegmentationCases | None = None
    package: SegmenterPackage | None = None
    trials: list[Trial] = field(default_factory=list)

    def load_data(self) -> None:
        self.data = load_mask_data(self.conf, self.run, self.keyring, resumes=self.resumes or self.is_helper)

    @property
    def dataset(self) -> MaskDataset:
        return self._data.dataset

    @property
    def used_cases(self) -> list[Case]:
        return self._cases.cases

    @property
    def device(self) -> str:
        return self._plan.device

    @property
    def _data(self) -> MaskStudyData:
        assert self.data is not None, "load_data comes first"
        return self.data

    @property
    def _plan(self) -> SegmentationPlan:
        assert self.plan is not None, "make_plan comes first"
        return self.plan

    @property
    def _cases(self) -> SegmentationCases:
        assert self.cases is not None, "make_plan comes first"
        return self.cases

    # Plan

    def make_plan(self) -> None:
        planner = Planner(self.conf, self._data, self.began_at)
        if self.keeps_its_plan:
            self.plan = SegmentationPlan.load(self.run.plan)
            self.cases = self._data.prepared(planner.grid_of(self.plan), self.conf)
            return
        plan, self.cases = planner.planned()
        settings_of(self.conf.inference, plan, self.cases.grid.slices, self._data.dataset.structures.names)  # fits?
        network = planner.bench(plan, self.cases).network()
        self.plan = replace(plan, parameters=num_parameters(network))
        self.plan.save(self.run.plan)
        self._say(self.plan)
        self.require_space(self.plan.parameters)

    def _say(self, plan: SegmentationPlan) -> None:
        patch = "x".join(map(str, plan.patch_px))
        log.info(
            "plan: %s of widths %s (%s weights) on %s in %s, %d steps of %d patches of %s%s; about %s, %.1f GB",
            self.conf.model.name, "-".join(map(str, plan.widths)), f"{plan.parameters:,}", plan.device,
            plan.precision, plan.steps, plan.batch_patches, patch,
            f", {plan.members} members" if plan.members > 1 else "",
            in_minutes(plan.estimated_minutes * 60), plan.estimated_memory_mb / 1000,
        )  # fmt: skip
        for decision, reason in plan.reasons.items():
            log.debug("plan, %s: %s", decision, reason)

    def _bench(self) -> Bench:
        return Planner(self.conf, self._data, self.began_at).bench(self._plan, self._cases)

    # Training

    def job(self, watcher: TrainingProgress) -> Job:
        plan, bench = self._plan, self._bench()
        trainer = replace(self.conf.trainer, ema_decay=plan.ema_decay, precision=plan.precision)
        return Job(
            conf=trainer,
            plan=plan,
            batches=lambda member: bench.batches(self._fold(member)),
            measure=self._measure,
            make_task=bench.task,
            seed=self.conf.seed,
            folder=self.run.checkpoints,
            interruption=self.interruption,
            watcher=watcher,
        )

    def _fold(self, member: int) -> int | None:
        return member if self.conf.trainer.folds else None

    def _measure(self, member: int) -> Measure:
        """Mean Dice of whole scans in their own grids, by one pass: averaging over passes is for the end."""
        fold, plan, names = self._fold(member), self._plan, self._data.dataset.structures.names
        cases = self._cases.part(lambda case: is_held_out(case, fold))
        plain = replace(self.conf.inference, shifts=0, mirror_axes=[], uncertainty="")
        settings = settings_of(plain, plan, self._cases.grid.slices, names)
        rule = mask_rule(self._data.dataset.structures)

        def measure(network: nn.Module) -> tuple[float, dict[str, float]]:
            segmenter = Segmenter([network], rule, settings, next(network.parameters()).device)
            found = [_glance(segmenter, cases, at) for at in range(len(cases))]
            means = {name: _mean([dice[name] for dice in found]) for name in names}
            overall = _mean(list(means.values()))
            return overall, {"dice": overall, **{f"dice.{name}": value for name, value in means.items()}}

        return measure

    # Package and review

    def save_package(self) -> None:
        model = self._bench().model
        description = describe(self.conf, model, self._data, self._cases, self._plan)
        members, modules = self._plan.members, named_modules(self.conf)
        accelerator = self.conf.inference.accelerator
        package = save_mask_package(self.run, description, members, accelerator=accelerator, modules=modules)
        if self.conf.trainer.folds:
            turns = OutOfFold(package.segmenter, self.conf.trainer.folds)
            fitted, self.trials, on = turns.fitted(self._cases)
        else:
            unseen = self._unseen()
            fitted = replace(package.segmenter, quality=quality_on(package.segmenter, unseen))
            splits = " and ".join(sorted({case.split for case in unseen.cases}))
            on = f"{len(unseen)} cases of {splits}" if fitted.quality else ""
        description = replace(description, postprocessing=fitted.postprocessing, quality=fitted.quality, fitted_on=on)
        self.package = save_mask_package(self.run, description, members, accelerator=accelerator, modules=modules)

    def _unseen(self) -> SegmentationCases:
        """Cases that neither trained nor chose the weights."""
        if self.conf.trainer.keep != "last":
            return self._cases.of_split("calib")
        return self._cases.part(lambda case: case.split in _HELD_OUT)

    def review(self, tracker: Tracker) -> None:
        assert self.package is not None, "save_package comes first"
        metrics = review_masks(
            Trained(
                self.run, self.conf, self.keyring, self._data, self._cases, self._plan, self._bench(), self.package,
                self.trials, self.state or TrainingState(),
            )
        )  # fmt: skip
        self.track_review(tracker, metrics, REVIEWED, CROSS_VALIDATED)


def _glance(segmenter: Segmenter, cases: SegmentationCases, index: int) -> dict[str, float]:
    """Dice of one case; 0 where the network's answer is no number, as it can be early in a training."""
    names = cases.structures.names
    try:
        labels = outlined(segmenter, cases, index).labels
    except ScanRejected:
        return dict.fromkeys(names, 0.0)
    return dice_at_a_glance(np.asarray(cases.own(index).target), labels, names)


def _mean(values: list[float]) -> float:
    """Of those that are defined; nan where none is."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
