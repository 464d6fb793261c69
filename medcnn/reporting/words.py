"""What metrics are called where people read them."""

from __future__ import annotations

from medcnn.evaluation.classification import ClassificationResult
from medcnn.evaluation.intervals import Estimate

METRIC_WORDS = {
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "f1": "F1 score",
    "brier": "Brier score",
    "log_loss": "Log loss",
    "ece": "Calibration error",
}
LOWER_IS_BETTER = frozenset({"brier", "log_loss", "ece"})
MISSING = "–"


def in_words(name: str) -> str:
    """`auroc` -> AUROC, `auroc.pneumonia` -> AUROC, pneumonia; an unknown name as it is, without underscores."""
    metric, _, of_class = name.partition(".")
    words = METRIC_WORDS.get(metric, metric.replace("_", " "))
    return f"{words}, {of_class}" if of_class else words


def number(value: float) -> str:
    return f"{value:.3f}" if value == value and abs(value) != float("inf") else MISSING


def interval(estimate: Estimate) -> str:
    """`0.959 to 0.983`; a dash where the metric is undefined."""
    if not estimate.defined:
        return MISSING
    return f"{number(estimate.low)} to {number(estimate.high)}"


def how_many(count: int, unit: str) -> str:
    """`1 case`, `1,204 patients`."""
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


def rests_on(result: ClassificationResult, more: str = "") -> str:
    """`n = 624 cases of 312 patients; 95 % intervals over patients`: what stands below a figure."""
    who = how_many(result.num_cases, "case")
    if result.unit == "patient":
        who += f" of {how_many(result.num_patients, 'patient')}"
    return f"n = {who}; 95 % intervals over {result.unit}s{more}"
