"""From read cases to a classifier's answers: one question to the network for many scans, one overlay per scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcnn.batch.masks import Grid
from medcnn.batch.overlay import Words, overlay_page
from medcnn.batch.page import Page
from medcnn.batch.reading import Read, failure
from medcnn.batch.value_words import value_words
from medcnn.batch.view import Heat, View
from medcnn.data.cache import Entry
from medcnn.data.covariates import Vectors
from medcnn.explain.build import Explainer
from medcnn.inference.prediction import Prediction
from medcnn.model_package.classifier import NOT_A_NUMBER, ClassifierPackage
from medcnn.model_package.regressor import RegressorPackage
from medcnn.scan import Reason, Rejection

WholeScanPackage = ClassifierPackage | RegressorPackage

_SHOWN = 4  # of many classes, the most probable


@dataclass(frozen=True, eq=False)
class Shown:
    """A prepared scan, and as a person looks at it where pictures are drawn. grid: the scan's own."""

    entry: Entry
    view: View | None
    grid: Grid

    @property
    def nbytes(self) -> int:
        """Of what waits for a question."""
        return int(self.entry.image.nbytes + (self.view.grey.nbytes if self.view else 0))


@dataclass(frozen=True, eq=False)
class Answer:
    """What is said about one case, and where the networks looked; or why nothing can be said."""

    prediction: Prediction | None = None
    heat: Heat | None = None
    rejection: Rejection | None = None


def predictions(package: WholeScanPackage, batch: Sequence[Read[Shown]]) -> list[Prediction | Rejection]:
    """For each case of a batch; where the batch fails as a whole, its cases are asked one by one."""
    entries = [read.prepared.entry for read in batch if read.prepared is not None]
    try:
        images = np.stack([entry.image for entry in entries])
        facts = [entry.facts for entry in entries]
        if isinstance(package, RegressorPackage):
            found = package.predict_images(images, facts)
        else:
            found = package.predict_images(images, facts, _covariates(package, batch))
    except Exception as error:
        if len(batch) == 1:
            return [failure(error)]
        return [answer for read in batch for answer in predictions(package, [read])]
    return [_checked(prediction) for prediction in found]


def _covariates(package: ClassifierPackage, batch: Sequence[Read[Shown]]) -> Vectors | None:
    """(n, V) of those cases that are asked about."""
    if package.description.covariates is None:
        return None
    rows = [package.description.covariates.vector(read.case.covariates) for read in batch if read.prepared is not None]
    return np.stack(rows)


def _checked(prediction: Prediction) -> Prediction | Rejection:
    if NOT_A_NUMBER in prediction.flags:
        return Rejection(
            Reason.INTERNAL,
            "the network's answer is not a finite number",
            "Look at the scan, and evaluate the model anew",
        )
    return prediction


@dataclass(frozen=True, eq=False)
class Look:
    """Where the members looked, 0 to 1 on the network's grid; note: what must be said of it, or ""."""

    heat: Heat
    note: str = ""


def looks(
    package: WholeScanPackage,
    batch: Sequence[Read[Shown]],
    found: Sequence[Prediction | Rejection],
    explainer: Explainer,
) -> list[Look | Rejection | None]:
    """For each case that is shown; one by one where a batch fails as a whole."""
    asked = [
        (read, read.prepared.entry.image, shown_class(package, prediction))
        for read, prediction in zip(batch, found, strict=True)
        if read.prepared is not None and read.prepared.view is not None and isinstance(prediction, Prediction)
    ]
    if not asked:
        return [None] * len(batch)
    try:
        scans, classes = np.stack([image for _, image, _ in asked]), [shown for _, _, shown in asked]
        if isinstance(package, RegressorPackage):
            networks, images = package.regressor.networks, scans
        else:
            covariates = _covariates(package, [read for read, _, _ in asked])
            networks, images = package.classifier.for_explainers(scans, covariates)
        heat, notes = explainer.explain(networks, images, classes)
    except Exception as error:
        if len(batch) == 1:
            return [failure(error)]
        pairs = zip(batch, found, strict=True)
        return [look for read, prediction in pairs for look in looks(package, [read], [prediction], explainer)]
    drawn = (Look(np.asarray(one, np.float32), note) for one, note in zip(heat, notes, strict=True))
    shown = [
        read.prepared is not None and read.prepared.view is not None and isinstance(said, Prediction)
        for read, said in zip(batch, found, strict=True)
    ]
    return [next(drawn) if is_shown else None for is_shown in shown]


def overlay(
    package: WholeScanPackage, explainer: Explainer, case_id: str, view: View, prediction: Prediction, heat: Heat
) -> Page:
    """The scan under its heat map, with what was answered."""
    if isinstance(package, RegressorPackage):
        return overlay_page(
            view, heat, value_words(package, explainer, case_id, prediction, has_heat=bool(heat.max() > 0))
        )
    name = package.classifier.rule.class_names[shown_class(package, prediction)]
    return overlay_page(view, heat, _words(package, explainer, case_id, prediction, name, heat))


def shown_class(package: WholeScanPackage, prediction: Prediction) -> int:
    """The class decided for; where that is none or several, the most probable. A number has one output."""
    if isinstance(package, RegressorPackage):
        return 0
    names = package.classifier.rule.class_names
    if prediction.decision in names:
        return names.index(prediction.decision)
    return int(np.argmax([prediction.probability[name] for name in names]))


def _words(
    package: ClassifierPackage, explainer: Explainer, case_id: str, prediction: Prediction, shown: str, heat: Heat
) -> Words:
    decided = prediction.decision
    if decided:
        headline = f"{decided}   {prediction.confidence:.2f}"
    elif prediction.conformal_set is not None:
        headline = "no decision: the prediction set is not one answer"
    else:
        headline = "no decision: not the kind of scan this model knows"
    beside = package.description.covariates
    held = f" The patient's {', '.join(beside.names)} are held fixed." if beside else ""
    caption = (
        f"Heat: {explainer.title} for {shown}, relative to its own maximum. {explainer.meaning} It shows where the "
        f"answer was sensitive to the scan, not why, and outlines no disease.{held} "
        f"Intended use: {package.description.intended_use}"
    )
    return Words(
        case_id,
        headline,
        _numbers(package, prediction),
        f"What spoke for {shown}" if heat.max() > 0 else f"Nothing spoke for {shown}",
        caption,
        prediction.flags,
        is_warning=not decided,
    )


def _numbers(package: ClassifierPackage, prediction: Prediction) -> str:
    rule = package.classifier.rule
    ranked = sorted(prediction.probability.items(), key=lambda pair: -pair[1])
    text = " · ".join(f"{name} {value:.2f}" for name, value in ranked[:_SHOWN])
    text += f" and {len(ranked) - _SHOWN} more" if len(ranked) > _SHOWN else ""
    limit = f"; {rule.class_names[-1]} is decided from {rule.limits()[0]:.2f}" if rule.kind == "binary" else ""
    return f"Probabilities: {text}{limit}" if prediction.decision else f"Not to be relied on: {text}"
