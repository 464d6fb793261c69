"""A trained classifier, measured on prepared cases: output rule, metrics with intervals, tables, figures, report."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medcnn.config.decisions import DecisionsConf
from medcnn.data.labels import Labels, truth
from medcnn.data.prepared import Prepared
from medcnn.data.privacy import Keyring
from medcnn.errors import DataError
from medcnn.evaluation.classification import ClassificationResult, evaluate_classification
from medcnn.evaluation.decisions import decide
from medcnn.evaluation.prediction_sets import PredictionSets
from medcnn.explain.gradcam import grad_cam, has_maps
from medcnn.inference.classifier import Classifier, OutputRule
from medcnn.reporting.confusion_figure import confusion_figure
from medcnn.reporting.figures import SavedFigure, save
from medcnn.reporting.ordinal_figure import ordinal_figure
from medcnn.reporting.page import CaseCard
from medcnn.reporting.probability_figures import reliability_figure, score_figure
from medcnn.reporting.ranking_figures import precision_recall_figure, roc_figure
from medcnn.reporting.sets_figure import sets_figure
from medcnn.study.classification.output_rule import FitCases, fitted_rule, measured_sets
from medcnn.study.scan_pictures import middle_plane, picture

_CHUNK = 512  # prepared scans taken into memory at once


@dataclass(frozen=True, eq=False)
class Measured:
    """A classifier on one split's cases."""

    split: str
    prepared: Prepared
    probability: npt.NDArray[np.float64]
    decisions: list[str]
    confidence: list[float]
    truths: list[str]
    result: ClassificationResult
    figures: list[SavedFigure] = field(default_factory=list)
    sets: PredictionSets | None = None


def logits_of(classifier: Classifier, prepared: Prepared) -> npt.NDArray[np.float64]:
    """(n, K) of every prepared case, in memory bounded by a chunk."""
    chunks = [list(range(start, min(start + _CHUNK, len(prepared)))) for start in range(0, len(prepared), _CHUNK)]
    parts = [classifier.logits(prepared.images[chunk], prepared.covariates_of(chunk)) for chunk in chunks]
    return np.concatenate(parts) if parts else np.zeros((0, len(classifier.rule.class_names)))


def fit_rule(
    classifier: Classifier, prepared: Prepared, labels: Labels, conf: DecisionsConf, *, seed: int
) -> tuple[OutputRule, str, list[str]]:
    """Calibration, thresholds and prediction sets as the config asks, from calib cases; from val with a warning.

    Returns the rule, which split it was fitted on, and remarks.
    """
    remarks: list[str] = []
    calib = prepared.of_split("calib")
    split = "calib"
    if not _enough(calib, labels):
        calib, split = prepared.of_split("val"), "val"
        remarks.append(
            "thresholds and calibration were fitted on val, which also chose the model, since calib has too few cases "
            "of some class: their figures on val are flattering"
        )
    patients = [case.patient_id for case in calib.cases]
    cases = FitCases(
        logits_of(classifier, calib),
        truth(labels.targets(calib.cases), labels.kind),
        patients if all(patients) else None,
        split,
    )
    rule, more = fitted_rule(classifier.rule, cases, conf, seed=seed)
    return rule, split, remarks + more


def _enough(calib: Prepared, labels: Labels) -> bool:
    """At least five cases of each class."""
    if not len(calib):
        return False
    targets = labels.targets(calib.cases)
    if labels.kind == "multilabel":
        return bool((np.nansum(targets, axis=0) >= 1).all())
    return bool((targets.sum(axis=0) >= 5).all())


def measure(
    classifier: Classifier, prepared: Prepared, labels: Labels, split: str, *, seed: int, resamples: int
) -> Measured:
    """Every metric with its interval, those of prediction sets beside the others.

    Raises DataError where there is nothing to measure on.
    """
    if not len(prepared):
        raise DataError(f"the split {split!r} has no usable case to evaluate on")
    logits = logits_of(classifier, prepared)
    probability = classifier.rule.probability(logits)
    answers = truth(labels.targets(prepared.cases), labels.kind)
    named = [case.patient_id or None for case in prepared.cases]
    patients = named if all(named) else None
    result = evaluate_classification(
        probability,
        answers,
        kind=labels.kind,
        class_names=labels.class_names,
        thresholds=classifier.rule.limits() or None,
        patient=patients,
        seed=seed,
        num_resamples=resamples,
    )
    rule = classifier.rule
    sets = measured_sets(rule, logits, answers, split, patient=patients, seed=seed, resamples=resamples)
    if sets is not None:
        together = {**result.estimates, **sets.estimates}
        result = replace(result, estimates=together, notes=(*result.notes, *sets.notes))
    return Measured(
        split, prepared, probability, rule.decisions(probability), rule.confidence(probability),
        _in_words(answers, labels), result, sets=sets,
    )  # fmt: skip


def _in_words(answers: npt.NDArray[Any], labels: Labels) -> list[str]:
    if labels.kind != "multilabel":
        return [labels.class_names[int(index)] for index in answers]
    return ["+".join(np.array(labels.class_names)[row == 1]) or "none" for row in answers]


def write_predictions(path: Path, measured: Sequence[Measured], keyring: Keyring) -> None:
    """predictions.csv: a row per case, no paths."""
    names = measured[0].result.class_names if measured else ()
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["case_id", "patient_key", "split", "label", *(f"p.{name}" for name in names), "decision", "confidence"]
        )
        for part in measured:
            rows = zip(part.prepared.cases, part.truths, part.probability, part.decisions, part.confidence, strict=True)
            for case, label, probability, decision, sure in rows:
                numbers = [f"{value:.6f}" for value in probability]
                key = keyring.patient_key(case.patient_id)
                writer.writerow([case.case_id, key, case.split, label, *numbers, decision, f"{sure:.6f}"])


def draw(measured: Measured, folder: Path) -> list[SavedFigure]:
    """ROC, precision and recall, confusion, calibration, scores, prediction sets: PNG and CSV each."""
    result, split = measured.result, measured.split
    answers = truth(_targets(measured), result.kind)
    figures = {
        "roc": roc_figure(result, split=split),
        "precision_recall": precision_recall_figure(result, split=split),
        "confusion": (ordinal_figure if result.kind == "ordinal" else confusion_figure)(result, split=split),
        "calibration": reliability_figure(result, split=split),
        "scores": score_figure(result, measured.probability, answers, split=split),
    }
    if measured.sets is not None:
        figures["sets"] = sets_figure(measured.sets, split=split)
    return [save(drawn, folder, f"{split}_{name}") for name, drawn in figures.items()]


def _targets(measured: Measured) -> npt.NDArray[np.float32]:
    return Labels(measured.result.kind, measured.result.class_names).targets(measured.prepared.cases)


def worst_cases(measured: Measured, classifier: Classifier, keyring: Keyring, *, most: int) -> list[CaseCard]:
    """The cases to look at first: surest errors, then the least sure right ones, with where the network looked."""
    wrong = [truth != decided for truth, decided in zip(measured.truths, measured.decisions, strict=True)]
    badness = [sure if bad else -sure for bad, sure in zip(wrong, measured.confidence, strict=True)]
    order = np.argsort(badness)[::-1][:most]
    return [_card(measured, int(index), classifier, keyring) for index in order]


def _card(measured: Measured, index: int, classifier: Classifier, keyring: Keyring) -> CaseCard:
    prepared = measured.prepared
    case, image = prepared.cases[index], prepared.images[[index]][0]
    shown = _shown_class(measured, index)
    networks, images = classifier.for_explainers(image[None], prepared.covariates_of([index]))
    heat = grad_cam(networks[0], images[0], shown) if has_maps(networks[0]) else None
    plane = middle_plane(heat if heat is not None else np.abs(image[0]))
    return CaseCard(
        case_id=case.case_id,
        truth=measured.truths[index],
        decision=measured.decisions[index],
        confidence=measured.confidence[index],
        patient_key=keyring.patient_key(case.patient_id),
        split=case.split,
        image=picture(image, plane),
        heat=None if heat is None else picture(heat[None], plane),
    )


def _shown_class(measured: Measured, index: int) -> int:
    """Whose heat is drawn: the most probable class, or the grade that is decided."""
    row = measured.probability[[index]]
    return int(decide(row, "ordinal")[0] if measured.result.kind == "ordinal" else row[0].argmax())
