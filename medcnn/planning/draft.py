"""The first half of a segmentation's plan: what follows from the data and the memory, before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from medcnn.config.model import ModelConf, UNetConf
from medcnn.config.planning import PlanConf
from medcnn.config.trainer import TrainerConf
from medcnn.config.transforms import TransformsConf
from medcnn.planning.budget import Clock, Overheads
from medcnn.planning.candidate import Candidate
from medcnn.planning.candidates import Wishes, candidates_for
from medcnn.planning.fingerprint import Fingerprint
from medcnn.planning.memory import Device
from medcnn.planning.network_shape import Sides
from medcnn.planning.normalisation import crop_of, normalisation_of
from medcnn.planning.refusal import PlanError
from medcnn.planning.spacing import extents, shape_at, target_spacing_mm

_ACROSS = {"sagittal": 0, "coronal": 1, "axial": 2}  # the axis that slices are stacked along; I, J, K run R, A, S
_FOREGROUND = 1 / 3  # nnU-Net's
_FOREGROUND_RARE = 1 / 2
_RARE = 1e-3  # of all voxels
_SLICES_APART = 8  # slices of one case in an epoch: neighbours show the same


@dataclass(frozen=True)
class Draft:
    """Everything but the number of steps; candidates wait to be measured, the most able first.

    largest_px  the largest case on the prepared grid, along the network's axes
    """

    fingerprint: Fingerprint
    conf: PlanConf
    trainer: TrainerConf
    transforms: TransformsConf
    device: Device
    train_cases: int
    spacing_mm: tuple[float, ...]
    crop: str
    normalisation: dict[str, Any]
    largest_px: Sides
    candidates: tuple[Candidate, ...]
    foreground_share: float
    patches_per_case: int
    reasons: dict[str, str]

    @property
    def members(self) -> int:
        return self.trainer.folds or self.trainer.members

    @property
    def network_spacing_mm(self) -> tuple[float, ...]:
        """Along the network's axes."""
        return _without(self.spacing_mm, _ACROSS.get(self.transforms.slices))

    def clock(self, overheads: Overheads) -> Clock:
        """With an endless time where no minutes were given."""
        return Clock(
            minutes=self.trainer.max_minutes if self.trainer.max_minutes is not None else 1e9,
            members=self.members,
            overheads=overheads,
            patches_per_epoch=self.train_cases * self.patches_per_case,
            accumulate_batches=self.trainer.accumulate_batches,
            validation_share=self.conf.validation_share,
        )


def draft(
    fingerprint: Fingerprint,
    conf: PlanConf,
    *,
    transforms: TransformsConf,
    trainer: TrainerConf,
    model: ModelConf,
    device: Device,
    num_outputs: int,
    precisions: Sequence[str] = ("32",),
    train_cases: int | None = None,
) -> Draft:
    """What the data and the memory decide.

    model        a network of one's own is taken for a plain U-Net, until its memory and speed are measured
    num_outputs  channels of the logits
    precisions   to choose from under max_minutes, the preferred one first: 32, bf16, 16
    train_cases  of the smallest member; the fingerprint's where folds do not hold some out
    Raises PlanError, a ValueError with a code: see medcnn.planning.refusal.
    """
    _check_structures(fingerprint)
    across = _across(fingerprint, transforms.slices)
    spacing_mm, reasons = _spacing(fingerprint, transforms)
    crop, reasons["crop"] = crop_of(fingerprint, "nonzero" if transforms.crop == "nonzero" else conf.crop)
    normalisation, reasons["normalisation"] = normalisation_of(fingerprint, conf.normalisation, crop)
    size = extents(fingerprint, crop)
    whole = shape_at(size.median, spacing_mm)
    wishes = Wishes(
        conf=conf,
        model=model if isinstance(model, UNetConf) else UNetConf(),
        device=device,
        in_channels=fingerprint.channels,
        num_outputs=num_outputs,
        precisions=tuple(precisions),
        is_timed=trainer.max_minutes is not None,
        median_px=_without(whole, across),
        spacing_mm=_without(spacing_mm, across),
        data_voxels=fingerprint.cases * prod(whole),
    )
    candidates = candidates_for(wishes, reasons)
    return Draft(
        fingerprint=fingerprint,
        conf=conf,
        trainer=trainer,
        transforms=transforms,
        device=device,
        train_cases=train_cases or fingerprint.cases,
        spacing_mm=spacing_mm,
        crop=crop,
        normalisation=normalisation,
        largest_px=_without(shape_at(size.largest, spacing_mm), across),
        candidates=candidates,
        foreground_share=_foreground(fingerprint, conf, reasons),
        patches_per_case=_patches_per_case(conf, whole, across, reasons),
        reasons=reasons,
    )


def _check_structures(fingerprint: Fingerprint) -> None:
    absent = [facts.name for facts in fingerprint.structures if not facts.cases]
    if absent or not fingerprint.structures:
        which = ", ".join(absent) or "no structure at all"
        raise PlanError(
            "STRUCTURE",
            f"{which}: outlined in none of the {fingerprint.cases} training cases, so it cannot be learnt. Check the "
            "values in the masks and data.structures, leave it out there, or move cases that have it into training.",
        )


def _across(fingerprint: Fingerprint, slices: str) -> int | None:
    if slices and fingerprint.dims == 2:
        raise PlanError("SETTING", f"transforms.slices={slices} needs volumes, and the cases are pictures.")
    return _ACROSS.get(slices)


def _without(numbers: tuple[Any, ...], across: int | None) -> tuple[Any, ...]:
    return tuple(number for axis, number in enumerate(numbers) if axis != across)


def _spacing(fingerprint: Fingerprint, transforms: TransformsConf) -> tuple[tuple[float, ...], dict[str, str]]:
    if not transforms.spacing_mm:
        spacing_mm, why = target_spacing_mm(fingerprint)
        return spacing_mm, {"spacing": why}
    if fingerprint.spacing_mm is None:
        raise PlanError(
            "SETTING",
            "transforms.spacing_mm is set, but not every case knows its spacing. Leave it empty, or mend those.",
        )
    if len(transforms.spacing_mm) != fingerprint.dims:
        raise PlanError(
            "SETTING", f"transforms.spacing_mm: needs {fingerprint.dims} numbers, got {transforms.spacing_mm}."
        )
    return tuple(float(edge) for edge in transforms.spacing_mm), {"spacing": "as asked for"}


def _foreground(fingerprint: Fingerprint, conf: PlanConf, reasons: dict[str, str]) -> float:
    rarest = min(fingerprint.structures, key=lambda facts: facts.share)
    if conf.foreground_share is not None:
        reasons["foreground_share"] = "as asked for"
        return conf.foreground_share
    reasons["foreground_share"] = f"the rarest structure, {rarest.name}, is {rarest.share:.2g} of all voxels"
    return _FOREGROUND_RARE if rarest.share < _RARE else _FOREGROUND


def _patches_per_case(conf: PlanConf, whole: Sides, across: int | None, reasons: dict[str, str]) -> int:
    if conf.patches_per_case:
        reasons["patches_per_case"] = "as asked for"
        return conf.patches_per_case
    if across is None:
        reasons["patches_per_case"] = "one of each case in an epoch"
        return 1
    reasons["patches_per_case"] = f"every {_SLICES_APART}th slice in an epoch"
    return max(1, round(whole[across] / _SLICES_APART))
