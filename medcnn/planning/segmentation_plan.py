"""Everything that is decided before a segmentation's first step, as readable JSON. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from math import ceil
from pathlib import Path
from typing import Any

from medcnn.planning.budget import Clock, Overheads, chosen, worth_measuring
from medcnn.planning.candidate import Candidate, Throughput, seconds_of
from medcnn.planning.draft import Draft
from medcnn.planning.fingerprint import Fingerprint
from medcnn.planning.memory import memory_mb
from medcnn.planning.patch_size import margin_of
from medcnn.planning.refusal import PlanError
from medcnn.planning.short_json import short_json

_AVERAGED = 0.03  # of all steps: the time constant of the moving average
_DECAY = (0.9, 0.9995)


@dataclass(frozen=True)
class SegmentationPlan:
    """The training in numbers. Steps are fixed here, once: resuming never measures again.

    fingerprint    its digest, and what matters of it to a reader
    spacing_mm     of the prepared grid, along I, J, K; [] resamples nothing
    slices         the stack's direction where a 2D network sees slices of volumes, else ""
    patch_px       sides along the network's axes; margin_px is read around it and cut off after turning
    widths, kernels, strides, deep_supervision  arguments of medcnn.networks.unet.UNet, one entry a level
    steps          optimiser steps of one member, epochs of steps_per_epoch each; the last may be cut short
    budget         what set the number of steps: epochs, max_minutes, or steps where somebody did
    throughput     every candidate: seconds of a step, whether measured, and what it would see in time
    ema_decay      of the moving average of the weights; 0 keeps none
    reasons        one sentence for each decision
    """

    fingerprint: dict[str, Any]
    train_cases: int
    in_channels: int
    num_outputs: int
    spacing_mm: list[float]
    slices: str
    crop: str
    normalisation: dict[str, Any]
    patch_px: list[int]
    margin_px: list[int]
    batch_patches: int
    widths: list[int]
    kernels: list[list[int]]
    strides: list[list[int]]
    deep_supervision: int
    parameters: int
    foreground_share: float
    patches_per_case: int
    members: int
    batches_per_epoch: int
    steps_per_epoch: int
    epochs_per_validation: int
    steps: int
    warmup_steps: int
    learning_rate: float
    ema_decay: float
    budget: str
    precision: str
    device: str
    seconds_per_step: float
    estimated_minutes: float
    estimated_memory_mb: float
    throughput: list[dict[str, Any]]
    reasons: dict[str, str]

    @property
    def epochs(self) -> int:
        """Epochs begun."""
        return ceil(self.steps / self.steps_per_epoch)

    @property
    def size_px(self) -> list[int]:
        """What the network sees at once."""
        return self.patch_px

    @property
    def samples(self) -> int:
        """Patches that each member sees, where every step has one batch."""
        return self.steps * self.batch_patches

    def as_json(self) -> dict[str, Any]:
        """For plan.json and the model package."""
        return asdict(self)

    def save(self, path: Path) -> None:
        """Write plan.json."""
        path.write_text(short_json(self.as_json()) + "\n", encoding="utf-8")

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SegmentationPlan:
        """What as_json gave. Raises PlanError where fields are missing or unknown: another version wrote it."""
        names = {item.name for item in fields(cls)}
        if odd := sorted(names ^ value.keys()):
            raise PlanError("SETTING", f"this is no segmentation plan of this version; fields that differ: {odd[:5]}.")
        return cls(**value)

    @classmethod
    def load(cls, path: Path) -> SegmentationPlan:
        """Read plan.json."""
        return cls.from_json(json.loads(path.read_text(encoding="utf-8")))


def next_to_measure(found: Draft, measured: Sequence[Throughput], overheads: Overheads) -> Candidate | None:
    """Which candidate to time next; None when finish knows enough: two or three in all, whatever there are."""
    if found.trainer.max_minutes is None:
        return None if measured else found.candidates[0]
    return worth_measuring(found.candidates, measured, found.clock(overheads), found.conf.min_samples)


def finish(found: Draft, measured: Sequence[Throughput] = (), overheads: Overheads | None = None) -> SegmentationPlan:
    """The plan. Without minutes the first candidate is taken, and epochs decide how long.

    measured   at least one candidate where trainer.max_minutes is set
    overheads  what the minutes pay for besides training steps
    Raises PlanError where a time budget has nothing measured to go by.
    """
    clock, reasons = found.clock(overheads or Overheads()), dict(found.reasons)
    candidate = found.candidates[0]
    if found.trainer.max_minutes is not None:
        candidate, reasons["network"] = chosen(found.candidates, measured, clock, found.conf.min_samples)
    seconds = seconds_of(candidate, measured) or 0.0
    steps, budget, reasons["steps"] = _steps(found, clock, candidate, seconds)
    batch, cost, shape = candidate.batch_patches, candidate.cost, candidate.shape
    margin, reasons["margin"] = _margin(found, candidate)
    return SegmentationPlan(
        fingerprint=_summary(found.fingerprint),
        train_cases=found.train_cases,
        in_channels=shape.in_channels,
        num_outputs=shape.num_outputs,
        spacing_mm=list(found.spacing_mm),
        slices=found.transforms.slices,
        crop=found.crop,
        normalisation=found.normalisation,
        patch_px=list(candidate.patch_px),
        margin_px=margin,
        batch_patches=batch,
        widths=list(shape.widths),
        kernels=[list(kernel) for kernel in shape.levels.kernels],
        strides=[list(stride) for stride in shape.levels.strides],
        deep_supervision=shape.deep_supervision,
        parameters=cost.parameters,
        foreground_share=found.foreground_share,
        patches_per_case=found.patches_per_case,
        members=found.members,
        batches_per_epoch=clock.batches_per_epoch(batch),
        steps_per_epoch=clock.steps_per_epoch(batch),
        epochs_per_validation=clock.epochs_per_validation(candidate, seconds),
        steps=steps,
        warmup_steps=round(found.trainer.warmup_fraction * steps),
        learning_rate=found.trainer.learning_rate,
        ema_decay=_decay(found, steps),
        budget=budget,
        precision=candidate.precision,
        device=found.device.kind,
        seconds_per_step=_short(seconds),
        estimated_minutes=_short(clock.total_s(candidate, seconds, steps) / 60),
        estimated_memory_mb=round(_memory(found, candidate, measured)),
        throughput=[_row(one, measured, clock, found) for one in found.candidates],
        reasons=reasons,
    )


def _steps(found: Draft, clock: Clock, candidate: Candidate, seconds: float) -> tuple[int, str, str]:
    """Steps, what set them, and why: the epochs asked for, unless max_minutes ends them earlier."""
    if found.conf.steps:
        return found.conf.steps, "steps", "as asked for"
    wanted = found.trainer.epochs * clock.steps_per_epoch(candidate.batch_patches)
    epochs = f"{found.trainer.epochs} epochs of {clock.steps_per_epoch(candidate.batch_patches)} steps"
    if found.trainer.max_minutes is None:
        return wanted, "epochs", epochs
    affordable = clock.affordable(candidate, seconds)
    if affordable >= wanted:
        return wanted, "epochs", f"{epochs}; {found.trainer.max_minutes:g} minutes have room for {affordable:,} steps"
    if affordable < 1:
        return 1, "max_minutes", f"{found.trainer.max_minutes:g} minutes have no room for a single step; one is made"
    return affordable, "max_minutes", f"what fits into {found.trainer.max_minutes:g} minutes besides everything else"


def _decay(found: Draft, steps: int) -> float:
    """A moving average over the last few hundredths of the training; trainer.ema_decay and SWA go before."""
    if not found.conf.average or found.trainer.ema_decay or found.trainer.swa_fraction:
        return found.trainer.ema_decay
    low, high = _DECAY
    return round(min(high, max(low, 1 - 1 / max(1.0, _AVERAGED * steps))), 6)


def _margin(found: Draft, candidate: Candidate) -> tuple[list[int], str]:
    if found.conf.margin_px:
        return list(found.conf.margin_px), "as asked for"
    affine = found.transforms.random.affine
    turned = affine.probability > 0
    margin = margin_of(
        candidate.patch_px,
        found.largest_px,
        found.network_spacing_mm,
        rotate_deg=affine.rotate_deg if turned else 0.0,
        zoom=affine.scale if turned else 0.0,
        shift=affine.shift if turned else 0.0,
    )
    return list(margin), "what turning, scaling and shifting bring in from outside the patch, where cases go on there"


def _memory(found: Draft, candidate: Candidate, measured: Sequence[Throughput]) -> float:
    seen = [one.memory_mb for one in measured if one.candidate == candidate and one.memory_mb > 0]
    return (
        seen[-1] if seen else memory_mb(candidate.cost, candidate.batch_patches, candidate.precision, found.device.kind)
    )


def _row(candidate: Candidate, measured: Sequence[Throughput], clock: Clock, found: Draft) -> dict[str, Any]:
    """A candidate in plan.json."""
    seconds = seconds_of(candidate, measured)
    row: dict[str, Any] = {
        "candidate": candidate.name,
        "seconds_per_step": None if seconds is None else _short(seconds),
        "measured": any(one.candidate == candidate for one in measured),
        "multiply_adds": candidate.cost.multiply_adds,
    }
    if seconds is not None and found.trainer.max_minutes is not None:
        row["samples"] = clock.samples(candidate, seconds)
    return row


def _summary(fingerprint: Fingerprint) -> dict[str, Any]:
    spacing = fingerprint.spacing_mm
    return {
        "digest": fingerprint.digest,
        "cases": fingerprint.cases,
        "modality": fingerprint.modality,
        "median_shape_vox": list(fingerprint.shape_vox.median),
        "median_spacing_mm": list(spacing.median) if spacing else [],
        "structures": [asdict(facts) for facts in fingerprint.structures],
    }


def _short(number: float) -> float:
    return float(f"{number:.4g}")
