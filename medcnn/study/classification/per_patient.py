"""Several images of a patient taken together: what was answered per image, measured per patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medcnn.config.errors import ConfigError
from medcnn.data.labels import Labels, truth
from medcnn.data.manifest import Case
from medcnn.errors import DataError
from medcnn.evaluation.aggregate import Rule, aggregate, aggregate_truth
from medcnn.evaluation.arrays import ONE_OF_SEVERAL
from medcnn.evaluation.classification import evaluate_classification
from medcnn.inference.classifier import OutputRule
from medcnn.inference.patient_rule import PatientRule
from medcnn.reporting.words import how_many
from medcnn.study.classification.review import Measured

RULE_WORDS: dict[Rule, str] = {
    "mean": "the mean of the log-odds of the images",
    "max": "the highest probability of the images",
    "noisy_or": "noisy-or over the images, 1 - product of (1 - p)",
}


def require_patients(cases: Sequence[Case], labels: Labels, rule: Rule) -> None:
    """Raise where these cases cannot be taken together: ConfigError for the rule, DataError for the cases."""
    if labels.kind in ONE_OF_SEVERAL and rule != "mean":
        raise ConfigError(
            [f"aggregate: {rule} is for yes-or-no questions; for classes that exclude each other take mean"]
        )
    if num := sum(not case.patient_id for case in cases):
        raise DataError(
            f"aggregate: {num} of {len(cases)} cases have no patient_id. Fill the column in, or take aggregate=none"
        )
    patients_answers(cases, labels)


def per_patient(
    images: Measured,
    labels: Labels,
    output_rule: OutputRule,
    rule: Rule,
    *,
    fitted: PatientRule | None = None,
    seed: int,
    resamples: int,
) -> Measured:
    """One row per patient, in the order and by the name of each one's first image.

    fitted  the package's own, whose thresholds are taken where it takes images together in the same way
    """
    fits = fitted is not None and fitted.aggregate == rule
    output_rule = fitted.read_by(output_rule) if fitted is not None and fits else output_rule
    cases = images.prepared.cases
    patient = [case.patient_id for case in cases]
    found = aggregate(images.probability, kind=labels.kind, patient=patient, rule=rule, class_names=labels.class_names)
    answers = patients_answers(cases, labels)
    firsts = {cases[index].case_id for index in found.first_case}
    prepared = images.prepared.part(lambda case: case.case_id in firsts)
    prepared = replace(prepared, cases=[_with_label(*one, labels) for one in zip(prepared.cases, answers, strict=True)])
    result = evaluate_classification(
        found.probability,
        answers,
        kind=labels.kind,
        class_names=labels.class_names,
        thresholds=output_rule.limits() or None,
        patient=[case.patient_id for case in prepared.cases],
        seed=seed,
        num_resamples=resamples,
    )
    notes = _notes(rule, len(cases), len(prepared), fitted_on_images=bool(result.thresholds) and not fits)
    if images.sets is not None:
        notes.append("prediction sets promise their coverage for single images, so there are none of patients")
    return replace(
        images,
        prepared=prepared,
        probability=found.probability,
        decisions=output_rule.decisions(found.probability),
        confidence=output_rule.confidence(found.probability),
        truths=[_in_words(case, labels) for case in prepared.cases],
        result=replace(result, notes=(*notes, *result.notes)),
        sets=None,
    )


def patients_answers(cases: Sequence[Case], labels: Labels) -> npt.NDArray[Any]:
    """What is true of each patient. Raises DataError where one's images have classes that exclude each other."""
    patient = [case.patient_id for case in cases]
    try:
        return aggregate_truth(truth(labels.targets(cases), labels.kind), kind=labels.kind, patient=patient)
    except ValueError as error:
        raise DataError(f"aggregate: {error}") from None


def _with_label(case: Case, answer: Any, labels: Labels) -> Case:
    """The patient's label on the first image, so that figures and tables ask the row itself."""
    if labels.kind != "multilabel":
        return replace(case, labels={"": labels.class_names[int(answer)]})
    words = {name: "" if np.isnan(one) else str(int(one)) for name, one in zip(labels.class_names, answer, strict=True)}
    return replace(case, labels=words)


def _in_words(case: Case, labels: Labels) -> str:
    if labels.kind != "multilabel":
        return case.labels[""]
    return "+".join(name for name in labels.class_names if case.labels[name] == "1") or "none"


def _notes(rule: Rule, num_images: int, num_patients: int, *, fitted_on_images: bool) -> list[str]:
    who = f"{how_many(num_images, 'image')} of {how_many(num_patients, 'patient')}"
    notes = [f"every row is a patient, not an image: {who}, taken together by {RULE_WORDS[rule]}"]
    if fitted_on_images:
        more = (
            "" if rule == "mean" else f"; {rule} raises probabilities, so more patients are called positive than images"
        )
        notes.append(f"the threshold was fitted on single images, not on patients{more}")
    return notes
