"""Everything that is measured about a classifier, with intervals: one call from arrays to a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medcnn.evaluation.arrays import ONE_OF_SEVERAL, Floats, Ints, Kind
from medcnn.evaluation.caveats import caveats
from medcnn.evaluation.checks import checked_probability, checked_truth
from medcnn.evaluation.curves import (
    GRID,
    Band,
    PrecisionRecallCurve,
    Reliability,
    RocCurve,
    precision_on_grid,
    precision_recall_curve,
    reliability,
    roc_curve,
    true_positive_rate_on_grid,
)
from medcnn.evaluation.decisions import checked_thresholds, decide
from medcnn.evaluation.intervals import (
    NUM_RESAMPLES,
    Bootstrap,
    Estimate,
    Resamples,
    bootstrap,
    estimate,
    exact_interval,
    percentile_interval,
)
from medcnn.evaluation.ordinal import GRADE_METRICS
from medcnn.evaluation.patients import Patients, Unit, group_patients, patient_class
from medcnn.evaluation.questions import METRICS, OF_ALL_CASES, PROPORTIONS, Question, measure_all, questions_of


@dataclass(frozen=True, eq=False)
class ClassificationResult:
    """What was measured on one split.

    estimates   name -> Estimate: auroc, average_precision, accuracy, balanced_accuracy, sensitivity, specificity, f1,
                brier, log_loss, ece; with several classes these are means over classes (multi-class accuracy, brier,
                log_loss and ece are over the classes together), and `<metric>.<class>` stand beside them; of grades
                quadratic_kappa, kendall_tau, mae_grades and within_one besides
    confusion   cases, truth along rows, decision along columns: (k, k); multi-label (k, 2, 2), no and yes per class
    roc, precision_recall   by class name; a binary classifier has one, of its positive class
    reliability by class name; multi-class and grades have one, "top": what was decided, whatever it is
    thresholds  one per yes-or-no question; empty for multi-class and grades
    unit        what the intervals resample
    notes       what a reader must know to judge the numbers; no patient data
    """

    kind: Kind
    class_names: tuple[str, ...]
    estimates: dict[str, Estimate]
    confusion: Ints
    roc: dict[str, RocCurve]
    precision_recall: dict[str, PrecisionRecallCurve]
    reliability: dict[str, Reliability]
    thresholds: tuple[float, ...]
    num_cases: int
    num_patients: int
    unit: Unit
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, dict[str, float | int | str | None]]:
        """One split's part of metrics.json: metric -> value, low, high, n, unit."""
        return {name: found.as_json() for name, found in self.estimates.items()}


def evaluate_classification(
    probability: Floats,
    truth: Floats | Ints,
    *,
    kind: Kind,
    class_names: Sequence[str],
    thresholds: Sequence[float] | float | None = None,
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> ClassificationResult:
    """Measure a classifier.

    probability (n, k): binary k = 2, the positive class last; multi-class rows sum to 1; multi-label each alone
    truth       (n,) class index; multi-label (n, k) of 0, 1 and nan (not known)
    thresholds  what a positive decision takes; binary one number, multi-label k; None is 0.5; multi-class: not used
    patient     (n,) whose case it is; None: every case is resampled by itself, and the notes say so
    Raises ValueError where the arrays do not fit together.
    """
    probability = checked_probability(probability, kind, class_names)
    truth = checked_truth(truth, kind, probability)
    patients = group_patients(patient, len(probability))
    decision = decide(probability, kind, thresholds)
    questions = questions_of(probability, truth, decision, kind, class_names)

    def statistic(weights: Floats) -> dict[str, Floats]:
        return measure_all(weights, probability, truth, decision, kind, questions) | _curves(weights, questions)

    strata = patient_class(truth, patients, kind)
    found = bootstrap(statistic, Resamples(patients, strata, seed, num_resamples))
    estimates = _estimates(found, questions, patients)
    return ClassificationResult(
        kind=kind,
        class_names=tuple(class_names),
        estimates=estimates,
        confusion=_confusion(decision, truth, kind, len(class_names)),
        roc={q.name: roc_curve(q.score, q.positive, _band(found, "roc", q)) for q in questions},
        precision_recall={
            q.name: precision_recall_curve(q.score, q.positive, _band(found, "pr", q)) for q in questions
        },
        reliability=_reliability(probability, truth, decision, kind, questions),
        thresholds=() if kind in ONE_OF_SEVERAL else tuple(checked_thresholds(thresholds, len(questions)).tolist()),
        num_cases=len(probability),
        num_patients=patients.count,
        unit=patients.unit,
        notes=tuple(caveats(estimates, questions, patients, num_resamples)),
    )


def estimate_metrics(
    probability: Floats,
    truth: Floats | Ints,
    *,
    kind: Kind,
    class_names: Sequence[str],
    thresholds: Sequence[float] | float | None = None,
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> dict[str, Estimate]:
    """The estimates of evaluate_classification, the same to the last digit, without curves: for one group of many."""
    probability = checked_probability(probability, kind, class_names)
    truth = checked_truth(truth, kind, probability)
    patients = group_patients(patient, len(probability))
    decision = decide(probability, kind, thresholds)
    questions = questions_of(probability, truth, decision, kind, class_names)
    strata = patient_class(truth, patients, kind)
    found = bootstrap(
        lambda weights: measure_all(weights, probability, truth, decision, kind, questions),
        Resamples(patients, strata, seed, num_resamples),
    )
    return _estimates(found, questions, patients)


def _curves(weights: Floats, questions: list[Question]) -> dict[str, Floats]:
    found = {}
    for q in questions:
        if q.answers("auroc"):
            found[f"roc/{q.name}"] = true_positive_rate_on_grid(q.score, q.positive, q.weights(weights))
            found[f"pr/{q.name}"] = precision_on_grid(q.score, q.positive, q.weights(weights))
    return found


def _band(found: Bootstrap, curve: str, question: Question) -> Band | None:
    sample = found.sample.get(f"{curve}/{question.name}")
    return None if sample is None else Band(GRID, *percentile_interval(sample))


def _estimates(found: Bootstrap, questions: list[Question], patients: Patients) -> dict[str, Estimate]:
    """Each metric with the interval of its resamples; a proportion of 0 or 1 with the exact one."""
    estimates = {}
    for name, value in found.value.items():
        metric, _, of_class = name.partition(".")
        if metric not in METRICS and metric not in GRADE_METRICS:
            continue  # a curve
        asked = [q for q in questions if not of_class or q.name == of_class]
        alone = len(asked) == 1 or metric in OF_ALL_CASES
        counted = np.any([q.counted(metric if alone else "") for q in asked], axis=0)
        one = estimate(float(value), found.sample[name], n=int(counted.sum()), unit=patients.unit)
        if alone and metric in PROPORTIONS and one.value in (0, 1):
            num = patients.having(counted)
            low, high = exact_interval(int(one.value) * num, num)
            one = replace(one, low=low, high=high)
        estimates[name] = one
    return estimates


def _confusion(decision: Ints, truth: Floats | Ints, kind: Kind, num_classes: int) -> Ints:
    if kind != "multilabel":
        return crossed(np.asarray(truth, dtype=np.int64), decision, num_classes)
    per_class = []
    for c in range(num_classes):
        known = ~np.isnan(truth[:, c])
        per_class.append(crossed(truth[known, c].astype(np.int64), decision[known, c], 2))
    return np.stack(per_class)


def crossed(truth: Ints, decision: Ints, size: int) -> Ints:
    """Counts (size, size) of indices (n,) each: truth along rows, decision along columns."""
    return np.bincount(truth * size + decision, minlength=size * size).reshape(size, size).astype(np.int64)


def _reliability(
    probability: Floats, truth: Floats | Ints, decision: Ints, kind: Kind, questions: list[Question]
) -> dict[str, Reliability]:
    if kind in ONE_OF_SEVERAL:
        return {"top": reliability(probability[np.arange(len(truth)), decision], decision == truth)}
    return {q.name: reliability(q.score, q.positive) for q in questions}
