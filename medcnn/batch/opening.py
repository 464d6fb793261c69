"""From an errand to a model that answers for cases, asked as the config says. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from medcnn.batch.classifying import Classifying
from medcnn.batch.outcome import Answering
from medcnn.batch.results import Results
from medcnn.batch.segmenting import Segmenting
from medcnn.config.errors import ConfigError
from medcnn.config.explain import USUAL
from medcnn.config.predict import PredictConf
from medcnn.config.verbs import InferenceConf
from medcnn.errors import PackageError
from medcnn.explain.build import build_explainer
from medcnn.model_package.classifier import ClassifierPackage
from medcnn.model_package.opening import ModelPackage, load_package
from medcnn.model_package.regressor import RegressorPackage
from medcnn.model_package.segmenter import SegmenterPackage


def open_answering(conf: PredictConf, root: Path, results: Path) -> Answering:
    """Ready for the first case. Raises PackageError and ConfigError."""
    package = _opened(conf)
    if isinstance(package, SegmenterPackage):
        if conf.prevalence or conf.abstain:
            raise ConfigError(["prevalence and abstain are for classifiers; this model segments. Leave them out"])
        return Segmenting(_segmenter_asked(package, conf.inference), root, Results(results), conf)
    if isinstance(package, RegressorPackage):
        if conf.prevalence or conf.abstain:
            raise ConfigError(["prevalence and abstain are for classifiers; this model predicts a number"])
        return Classifying(_regressor_asked(package, conf), root, Results(results), conf)
    return Classifying(_classifier_asked(package, conf), root, Results(results), conf)


def _opened(conf: PredictConf) -> ModelPackage:
    inference = conf.inference
    package = load_package(
        Path(conf.package).expanduser(),
        accelerator=inference.accelerator,
        batch_cases=inference.batch_cases,
        modules=conf.modules,
    )
    channels = package.description.preprocessing.num_channels
    if channels > 1:
        raise PackageError(
            f"this model looks at {channels} images of each case together, and a folder does not say which belong "
            f"together. Write a manifest and use evaluate"
        )
    return package


def _regressor_asked(package: RegressorPackage, conf: PredictConf) -> RegressorPackage:
    _check_explainer(package.regressor.networks, conf)
    shifts = conf.inference.shifts or package.regressor.shifts
    return replace(package, regressor=replace(package.regressor, shifts=shifts))


def _check_explainer(networks: Sequence[nn.Module], conf: PredictConf) -> None:
    if conf.explain != "none" or conf.saliency:
        try:
            build_explainer(USUAL if conf.explain == "none" else conf.explain).check(networks)
        except ValueError as error:
            raise PackageError(str(error)) from error


def _classifier_asked(package: ClassifierPackage, conf: PredictConf) -> ClassifierPackage:
    _check_explainer(package.classifier.networks, conf)
    shifts = conf.inference.shifts or package.classifier.shifts
    asked = replace(package, classifier=replace(package.classifier, shifts=shifts))
    return asked.at_site(conf.prevalence, conf.follow, abstain=conf.abstain)


def _segmenter_asked(package: SegmenterPackage, inference: InferenceConf) -> SegmenterPackage:
    """The package's settings, but for those that the config names."""
    settings = package.segmenter.settings
    changes: dict[str, Any] = {"batch_memory_mb": inference.batch_memory_mb}
    if inference.overlap is not None:
        changes["overlap"] = inference.overlap
    if inference.mirror_axes is not None:
        changes["mirror_axes"] = tuple(inference.mirror_axes)
    changes["shifts"] = inference.shifts or settings.shifts
    changes["uncertainty"] = inference.uncertainty or settings.uncertainty
    try:
        asked = replace(settings, **changes)
    except ValueError as error:
        raise ConfigError([f"inference.{error}"]) from error
    return replace(package, segmenter=replace(package.segmenter, settings=asked))
