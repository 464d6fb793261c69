"""A classifier as the yes-or-no questions it answers, and all metrics over them for many weightings of the cases.

A binary classifier answers one question, a multi-class one k (one class against the rest), one of grades as well, a
multi-label one k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcnn.evaluation import metrics
from medcnn.evaluation.arrays import ONE_OF_SEVERAL, Bools, Floats, Ints, Kind
from medcnn.evaluation.ordinal import grade_metrics

#: In this order they are shown.
METRICS = (
    "auroc",
    "average_precision",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "f1",
    "brier",
    "log_loss",
    "ece",
)
PER_CLASS = ("auroc", "average_precision", "sensitivity", "specificity", "f1")
#: Shares of cases: at 0 or 1 no resample differs, and an exact interval takes the bootstrap's place.
PROPORTIONS = ("accuracy", "sensitivity", "specificity", "within_one")
#: Of those the ones that are over the cases of all classes together.
OF_ALL_CASES = ("accuracy", "within_one")
#: What a class must have for a metric of it to mean something (and to enter the mean over classes).
_NEEDS = {
    "auroc": "both",
    "average_precision": "both",
    "balanced_accuracy": "both",
    "sensitivity": "positives",
    "f1": "positives",
    "specificity": "negatives",
}


@dataclass(frozen=True, eq=False)
class Question:
    """Is it this class? score (m,), positive (m,), decided (m,) of the m cases whose answer is known.

    known (n,) which of all cases those are
    """

    name: str
    score: Floats
    positive: Bools
    decided: Bools
    known: Bools

    def weights(self, of_all: Floats) -> Floats:
        """(r, m) from (r, n)."""
        return of_all if self.known.all() else of_all[:, self.known]

    def answers(self, metric: str) -> bool:
        """Whether the cases at hand define the metric."""
        has = {"positives": bool(self.positive.any()), "negatives": bool((~self.positive).any())}
        has["both"] = has["positives"] and has["negatives"]
        return len(self.score) > 0 if metric not in _NEEDS else has[_NEEDS[metric]]

    def counted(self, metric: str) -> Bools:
        """(n,) the cases that the metric is a share of, or a mean over."""
        within = {"sensitivity": self.positive, "specificity": ~self.positive}
        cases = self.known.copy()
        cases[self.known] = within.get(metric, True)
        return cases

    def measure(self, weights: Floats) -> dict[str, Floats]:
        """Every metric, (r,) each, of weights (r, m)."""
        score, positive, decided = self.score, self.positive, self.decided
        given_to_truth = np.where(positive, score, 1 - score)
        return {
            "auroc": metrics.auroc(score, positive, weights),
            "average_precision": metrics.average_precision(score, positive, weights),
            "accuracy": metrics.accuracy(decided == positive, weights),
            "balanced_accuracy": metrics.balanced_accuracy(decided, positive, weights),
            "sensitivity": metrics.sensitivity(decided, positive, weights),
            "specificity": metrics.specificity(decided, positive, weights),
            "f1": metrics.f1(decided, positive, weights),
            "brier": metrics.brier(score, positive, weights),
            "log_loss": metrics.log_loss(given_to_truth, weights),
            "ece": metrics.calibration_error(score, positive, weights),
        }


def questions_of(
    probability: Floats, truth: Floats | Ints, decision: Ints, kind: Kind, class_names: Sequence[str]
) -> list[Question]:
    columns = [1] if kind == "binary" else range(len(class_names))
    return [_question(str(class_names[c]), c, probability, truth, decision, kind) for c in columns]


def measure_all(
    weights: Floats, probability: Floats, truth: Floats | Ints, decision: Ints, kind: Kind, questions: list[Question]
) -> dict[str, Floats]:
    """Every metric of the classifier, name -> (r,), for weights (r, n); `<metric>.<class>` beside the means."""
    measured = [q.measure(q.weights(weights)) for q in questions]
    per_class = {m: np.stack([of_one[m] for of_one in measured], axis=-1) for m in METRICS}
    found = {m: metrics.macro(per_class[m], np.array([q.answers(m) for q in questions])) for m in METRICS}
    if kind in ONE_OF_SEVERAL:
        found |= _of_several(weights, probability, np.asarray(truth, dtype=np.int64), decision)
    if kind == "ordinal":
        found |= grade_metrics(decision, np.asarray(truth, dtype=np.int64), probability.shape[1], weights)
    if len(questions) > 1:
        found |= {f"{m}.{q.name}": per_class[m][:, c] for m in PER_CLASS for c, q in enumerate(questions)}
    return found


def _of_several(weights: Floats, probability: Floats, truth: Ints, decision: Ints) -> dict[str, Floats]:
    """Metrics that are defined over classes that exclude each other together, not as a mean of one against the rest."""
    cases, num_classes = np.arange(len(truth)), probability.shape[1]
    recall = metrics.recall_per_class(decision, truth, num_classes, weights)
    present = np.isin(np.arange(num_classes), truth)
    return {
        "accuracy": metrics.accuracy(decision == truth, weights),
        "balanced_accuracy": metrics.macro(recall, present),
        "brier": metrics.brier_multiclass(probability, truth, weights),
        "log_loss": metrics.log_loss(probability[cases, truth], weights),
        "ece": metrics.calibration_error(probability[cases, decision], decision == truth, weights),
    }


def _question(
    name: str, column: int, probability: Floats, truth: Floats | Ints, decision: Ints, kind: Kind
) -> Question:
    if kind == "multilabel":
        known, positive, decided = ~np.isnan(truth[:, column]), truth[:, column] == 1, decision[:, column] == 1
    else:
        known, positive, decided = np.ones(len(truth), dtype=bool), truth == column, decision == column
    return Question(name, probability[known, column], positive[known], decided[known], known)
