"""From chosen weights to the package of a segmenter: how scans are prepared, walked through, and what is expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from medcnn.config.errors import ConfigError
from medcnn.config.model import CustomConf, ModelConf
from medcnn.config.verbs import InferenceConf, TrainConf
from medcnn.data.segmentation_cases import SegmentationCases
from medcnn.data.structures import Structures
from medcnn.inference.expectation import Expectation
from medcnn.inference.mask_rule import MaskRule
from medcnn.inference.segmenter_settings import SegmenterSettings
from medcnn.model_package.description import save_package
from medcnn.model_package.opening import load_segmenter
from medcnn.model_package.segmenter import SegmenterDescription, SegmenterPackage
from medcnn.planning.segmentation_plan import SegmentationPlan
from medcnn.run_folder import RunFolder
from medcnn.study.segmentation.data import MaskStudyData
from medcnn.tracking.environment import versions
from medcnn.training.callbacks import member_path

_SEEN = 200  # training scans that the intensity range is taken from


def mask_rule(structures: Structures) -> MaskRule:
    """What the network's outputs mean."""
    values = {name: tuple(own) for name, own in structures.values.items() if own}
    return MaskRule(structures.names, structures.overlapping, values=values)


def settings_of(conf: InferenceConf, plan: SegmentationPlan, slices: str, names: Sequence[str]) -> SegmenterSettings:
    """How volumes are walked through: the config's wishes, the plan's patch."""
    number = {name: at + 1 for at, name in enumerate(names)}
    if odd := sorted({name for pair in conf.mirror_swaps for name in pair} - set(names)):
        raise ConfigError([f"inference.mirror_swaps: there is no {odd[0]}; the structures are {', '.join(names)}"])
    if any(len(pair) != 2 for pair in conf.mirror_swaps):
        raise ConfigError(["inference.mirror_swaps: give pairs, for example [[left_kidney,right_kidney]]"])
    try:
        return SegmenterSettings(
            patch=tuple(plan.size_px),
            slices=slices,
            mirror_axes=tuple(conf.mirror_axes or ()),
            mirror_swaps=tuple((number[one], number[other]) for one, other in conf.mirror_swaps),
            shifts=conf.shifts,
            overlap=0.5 if conf.overlap is None else conf.overlap,
            batch_memory_mb=conf.batch_memory_mb,
            precision="bf16" if plan.precision.startswith("bf16") else "32",
        )
    except ValueError as error:
        raise ConfigError([f"inference.{error}"]) from error


def save_mask_package(
    run: RunFolder,
    description: SegmenterDescription,
    members: int,
    *,
    accelerator: str,
    modules: Sequence[str] = (),
) -> SegmenterPackage:
    """Write the package with the members' chosen weights, and open it."""
    save_package(run.model, description, [member_path(run.checkpoints, at).read_bytes() for at in range(members)])
    return load_segmenter(run.model, accelerator=accelerator, modules=modules)


def describe(
    conf: TrainConf,
    model: ModelConf,
    data: MaskStudyData,
    cases: SegmentationCases,
    plan: SegmentationPlan,
) -> SegmenterDescription:
    """Everything but the weights."""
    rule = mask_rule(data.dataset.structures)
    return SegmenterDescription(
        task=conf.task.name,
        intended_use=conf.task.intended_use,
        class_codes=dict(data.dataset.structures.codes),
        network={
            **{**asdict(model), **({} if isinstance(model, CustomConf) else {"encoder_weights": ""})},
            "in_channels": data.in_channels,
            "size_px": list(plan.size_px),
            "num_outputs": rule.num_logits,
        },
        rule=rule,
        preprocessing=cases.grid,
        settings=settings_of(conf.inference, plan, cases.grid.slices, rule.names),
        expects=_expectation(cases),
        training={
            "data": conf.data.name,
            "data_digest": data.dataset.digest,
            "split_digest": data.dataset.split_digest,
            "cases": data.dataset.counts(),
            "seed": conf.seed,
            "plan": plan.as_json(),
            "versions": versions(),
        },
    )


def asked_otherwise(package: SegmenterPackage, conf: InferenceConf) -> SegmenterPackage:
    """The package with the settings of inference that a command names."""
    settings = package.segmenter.settings
    asked: dict[str, Any] = {"batch_memory_mb": conf.batch_memory_mb, "uncertainty": conf.uncertainty}
    if conf.overlap is not None:
        asked["overlap"] = conf.overlap
    if conf.mirror_axes is not None:
        asked["mirror_axes"] = tuple(conf.mirror_axes)
    if conf.shifts:
        asked["shifts"] = conf.shifts
    try:
        settings = replace(settings, **asked)
    except ValueError as error:
        raise ConfigError([f"inference.{error}"]) from error
    return replace(package, segmenter=replace(package.segmenter, settings=settings))


def _expectation(cases: SegmentationCases) -> Expectation:
    train = cases.of_split("train")
    seen = [np.asarray(train[index].image) for index in range(min(len(train), _SEEN))]
    return Expectation.of_moments(
        modality=[fact.modality for fact in train.facts],
        body_part=[fact.body_part for fact in train.facts],
        spatial_dims=cases.grid.spatial_dims,
        low=[fact.low for fact in train.facts],
        high=[fact.high for fact in train.facts],
        mean=[float(image.mean()) for image in seen],
        spread=[float(image.std()) for image in seen],
    )
