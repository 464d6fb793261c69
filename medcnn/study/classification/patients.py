"""A training whose model answers for patients: thresholds fitted on them, and figures of them beside the images'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from medcnn.config.decisions import DecisionsConf
from medcnn.config.verbs import TrainConf
from medcnn.data.labels import Labels
from medcnn.data.prepared import Prepared
from medcnn.evaluation.aggregate import Rule, aggregate
from medcnn.evaluation.arrays import ONE_OF_SEVERAL
from medcnn.evaluation.operating_point import Goal, Side, operating_points
from medcnn.inference.classifier import Classifier
from medcnn.inference.patient_rule import PatientRule
from medcnn.study.classification.per_patient import patients_answers, per_patient
from medcnn.study.classification.review import Measured, logits_of


def asked_rule(conf: DecisionsConf) -> Rule | None:
    """How a patient's images are taken together; None: they are not."""
    return None if conf.aggregate == "none" else cast(Rule, conf.aggregate)


def fit_patient_rule(
    classifier: Classifier, calib: Prepared, labels: Labels, conf: DecisionsConf, *, seed: int
) -> PatientRule | None:
    """Thresholds for what a patient's images say together, by the goal that the images' have.

    classifier  with its images' rule; calib: the cases that this was fitted on
    """
    rule = asked_rule(conf)
    if rule is None:
        return None
    if labels.kind in ONE_OF_SEVERAL:
        return PatientRule(rule, {})
    names, patient = labels.class_names, [case.patient_id for case in calib.cases]
    probability = classifier.rule.probability(logits_of(classifier, calib))
    found = aggregate(probability, kind=labels.kind, patient=patient, rule=rule, class_names=names)
    points = operating_points(
        found.probability,
        patients_answers(calib.cases, labels),
        Goal(cast(Side, conf.operating_point.side), conf.operating_point.wanted),
        kind=labels.kind,
        class_names=names,
        patient=None,
        seed=seed,
    )
    return PatientRule(rule, {point.class_name: point.threshold for point in points})


def of_patients(
    conf: TrainConf, measured: Sequence[Measured], classifier: Classifier, rule: PatientRule | None, labels: Labels
) -> list[Measured]:
    """The same splits, a row per patient; [] where nobody asked."""
    if rule is None:
        return []
    resamples = 200 if conf.debug == "dry_run" else 2000
    return [
        per_patient(part, labels, classifier.rule, rule.aggregate, fitted=rule, seed=conf.seed, resamples=resamples)
        for part in measured
    ]


def as_json(rule: PatientRule, measured: Sequence[Measured]) -> dict[str, Any]:
    """For metrics.json: the rule, and each split's figures of patients."""
    return {"rule": rule.aggregate, **{part.split: part.result.as_json() for part in measured}}
