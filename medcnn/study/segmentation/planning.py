"""From the data's fingerprint and a few measured steps to the plan, and to the scans on the planned grid."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import psutil
import torch

from medcnn.config.model import ModelConf, UNetConf
from medcnn.config.verbs import TrainConf
from medcnn.data.manifest import Case
from medcnn.data.segmentation_cases import SegmentationCases
from medcnn.inference.classifier import choose_device
from medcnn.io.options import Reading
from medcnn.networks.memory_format import network_channels_last
from medcnn.planning.budget import Overheads
from medcnn.planning.candidate import Candidate, Throughput
from medcnn.planning.draft import Draft, draft
from medcnn.planning.fingerprint import Fingerprint
from medcnn.planning.memory import Device
from medcnn.planning.segmentation_plan import SegmentationPlan, finish, next_to_measure
from medcnn.study.segmentation.bench import Bench
from medcnn.study.segmentation.data import MaskStudyData, is_held_out, trains
from medcnn.study.segmentation.package import mask_rule
from medcnn.training.speed import peak_memory_mb, seconds_per_step
from medcnn.transforms.scaling import Statistics
from medcnn.transforms.whole_grid import WholeGrid

log = logging.getLogger("medcnn.train")

_WRITING_S = 8.0  # package, figures and report, besides the network's own time
_SURFACES_S = 0.05  # of a case's review: distances between surfaces


@dataclass(eq=False)
class Planner:
    """Makes the plan of a training, and prepares its scans for it."""

    conf: TrainConf
    data: MaskStudyData
    began_at: float

    def planned(self) -> tuple[SegmentationPlan, SegmentationCases]:
        """Draft, prepare, measure, decide. Raises PlanError, DataError."""
        found = self._draft()
        cases = self.data.prepared(self._grid(found), self.conf)
        measured: list[Throughput] = []
        if self.conf.trainer.max_minutes is None and self.conf.debug != "dry_run":
            found = self._fastest_first(found, cases, measured)
        while (candidate := next_to_measure(found, measured, self._overheads(cases))) is not None:
            measured.append(self._measured(candidate, found, cases))
        plan = finish(found, measured, self._overheads(cases))
        if self.conf.debug == "dry_run":
            plan = replace(plan, steps=min(plan.steps, 2))
        return plan, cases

    def _fastest_first(self, found: Draft, cases: SegmentationCases, measured: list[Throughput]) -> Draft:
        """Without a time budget nothing chooses a precision but the time that its steps take."""
        first = found.candidates[0]
        alike = [one for one in found.candidates if one.is_same_network(first)]
        if len(alike) < 2:
            return found
        measured += [self._measured(one, found, cases) for one in alike]
        best = min(measured, key=lambda one: one.seconds_per_step).candidate
        return replace(found, candidates=(best, *(one for one in found.candidates if one != best)))

    def grid_of(self, plan: SegmentationPlan) -> WholeGrid:
        """The preparation that a plan asks for."""
        return self._whole_grid(plan.spacing_mm, plan.crop, plan.normalisation)

    def bench(self, plan: SegmentationPlan, cases: SegmentationCases) -> Bench:
        """What the training's steps are made of."""
        model: ModelConf = self.conf.model
        if isinstance(model, UNetConf):  # a network of the user's own is left as it is
            model = replace(
                model,
                widths=plan.widths,
                kernels=plan.kernels,
                strides=plan.strides,
                deep_supervision=plan.deep_supervision,
            )
        return Bench(
            self.conf, cases, self.data.in_channels, model, tuple(plan.patch_px), tuple(plan.margin_px),
            plan.batch_patches, plan.foreground_share, plan.patches_per_case, plan.steps,
        )  # fmt: skip

    def _draft(self) -> Draft:
        train = self.data.read.part(self._may_train)
        modality = next((fact.modality for fact in train.facts if fact.modality), "")
        device = choose_device(self.conf.trainer.accelerator)
        return draft(
            Fingerprint.of(train.fingerprints, modality=modality),
            self.conf.plan,
            transforms=self.conf.transforms,
            trainer=self.conf.trainer,
            model=self.conf.model,
            device=Device(device.type, _free_gb(device)),
            num_outputs=mask_rule(self.data.dataset.structures).num_logits,
            precisions=precisions(self.conf.trainer.precision, device),
            train_cases=self._fewest_cases(),
        )

    @property
    def _turns(self) -> Sequence[int | None]:
        """The folds that are held out in turn; None where there are none."""
        return range(self.conf.trainer.folds) or (None,)

    def _may_train(self, case: Case) -> bool:
        return any(trains(case, fold) for fold in self._turns)

    def _fewest_cases(self) -> int:
        """Of the smallest member."""
        return min(sum(trains(case, fold) for case in self.data.read.cases) for fold in self._turns)

    def _grid(self, found: Draft) -> WholeGrid:
        return self._whole_grid(found.spacing_mm, found.crop, found.normalisation)

    def _whole_grid(self, spacing_mm: Sequence[float], crop: str, normalisation: dict[str, Any]) -> WholeGrid:
        channels = normalisation["channels"]
        statistics = Statistics()
        if normalisation["scale"] == "dataset":
            columns = ("low", "high", "mean", "std")
            statistics = Statistics(**{name: tuple(c[name] for c in channels) for name in columns})
        grid = WholeGrid.of(
            self.conf.transforms,
            reading=Reading.of(self.conf.data),
            num_channels=self.data.in_channels,
            spatial_dims=len(self.data.read.fingerprints[0].shape_vox),
            spacing_mm=spacing_mm,
            statistics=statistics,
        )
        return replace(grid, crop=crop, scale=str(normalisation["scale"]))

    def _overheads(self, cases: SegmentationCases) -> Overheads:
        """What the minutes pay for besides steps. Time counts from the command's begin, imports included."""
        folds = self.conf.trainer.folds
        held = [sum(is_held_out(case, fold) for case in cases.cases) for fold in self._turns]
        reviewed = sum(case.split in ("calib", "test") for case in cases.cases)
        reviewed += 2 * sum(held) // folds if folds else sum(held)  # in folds by one member, once to fit, once to tell
        passes = 2 ** len(self.conf.inference.mirror_axes or []) * (1 + self.conf.inference.shifts)
        return Overheads(
            spent_s=time.time() - self.began_at,
            validation_patches=max(held),
            packaging_s=_WRITING_S,
            review_s=reviewed * _SURFACES_S,
            review_patches=reviewed * passes,
        )

    def _measured(self, candidate: Candidate, found: Draft, cases: SegmentationCases) -> Throughput:
        """A few steps of a network that is thrown away, as they will be taken."""
        alone = finish(replace(found, candidates=(candidate,)), [Throughput(candidate, 1.0)])
        bench = self.bench(alone, cases)
        conf, device = self.conf.trainer, choose_device(self.conf.trainer.accelerator)
        if conf.threads:
            torch.set_num_threads(conf.threads)
        task = bench.task(self.conf.seed)
        task.to(device).train()
        network_channels_last(task.network, len(candidate.patch_px))
        batch = next(iter(bench.batches(0 if conf.folds else None).loader(0, 0, 1))).to(device)
        seconds = seconds_per_step(task, batch, device, precision=candidate.precision)
        log.info("measured %s: %.2f s a step", candidate.name, seconds)
        return Throughput(candidate, seconds, peak_memory_mb(device))


def precisions(asked: str, device: torch.device) -> tuple[str, ...]:
    """What to choose from. On a CPU with instructions for it, bf16 takes half as long; elsewhere it takes longer."""
    if asked != "auto":
        return (asked,)
    if device.type == "cuda":
        return ("bf16",) if torch.cuda.is_bf16_supported() else ("16",)
    if device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return ("32", "bf16")
    return ("32",)


def _free_gb(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info()[0] / 1e9)
    return float(psutil.virtual_memory().available / 1e9)
