"""What metrics are called where people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from medcnn.evaluation.intervals import Estimate
from medcnn.evaluation.patients import Unit

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
    "quadratic_kappa": "Kappa (quadratic)",
    "kendall_tau": "Kendall's tau-b",
    "mae_grades": "Mean error (grades, absolute)",
    "within_one": "Within one grade",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "r2": "R2",
    "concordance": "Concordance",
    "correlation": "Correlation",
    "error": "Mean error",
    "range_coverage": "Coverage of the ranges",
    "agreement_low": "Limit of agreement, lower",
    "agreement_high": "Limit of agreement, upper",
    "coverage": "Coverage of the sets",
    "set_size": "Classes in a set",
    "abstained": "Abstained",
    "empty_set": "Empty sets",
    "accuracy_answered": "Accuracy where answered",
    "dice": "Dice",
    "iou": "IoU",
    "nsd": "NSD",
    "hd95_mm": "HD95 (mm)",
    "hd95_px": "HD95 (px)",
    "assd_mm": "ASSD (mm)",
    "assd_px": "ASSD (px)",
    "volume_error_ml": "Volume error (ml)",
    "area_error_cm2": "Area error (cm2)",
    "area_error_px": "Area error (px)",
    "volume_abs_error_pct": "Volume error (%, absolute)",
    "area_abs_error_pct": "Area error (%, absolute)",
}
_DISTANCES = {"hd95_mm", "hd95_px", "assd_mm", "assd_px"}
LOWER_IS_BETTER = frozenset(
    {"brier", "log_loss", "ece", "mae_grades", "mae", "rmse", "set_size", "abstained", "volume_abs_error_pct"}
    | {"area_abs_error_pct"}
    | _DISTANCES
)
IN_UNITS = frozenset({"error", "agreement_low", "agreement_high"})  # of either sign, and neither better high nor low
MISSING = "–"


def in_words(name: str) -> str:
    """`auroc` -> AUROC, `auroc.pneumonia` -> AUROC, pneumonia; an unknown name as it is, without underscores."""
    metric, _, of_class = name.partition(".")
    words = METRIC_WORDS.get(metric, metric.replace("_", " "))
    return f"{words}, {of_class}" if of_class else words


def class_noun(estimates: Mapping[str, Estimate]) -> str:
    """What the metrics of single parts are of: thirds of the range of a number, else classes."""
    return "Part" if "agreement_low" in estimates else "Class"


def number(value: float) -> str:
    """Three decimals; fewer from 10 on, where they would pretend to be known."""
    if value != value or abs(value) == float("inf"):
        return MISSING
    decimals = 3 if abs(value) < 10 else 2 if abs(value) < 100 else 1
    return f"{value:,.{decimals}f}"


def interval(estimate: Estimate) -> str:
    """`0.959 to 0.983`; a dash where the metric is undefined."""
    if not estimate.defined:
        return MISSING
    return f"{number(estimate.low)} to {number(estimate.high)}"


def how_many(count: int, unit: str) -> str:
    """`1 case`, `1,204 patients`."""
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


class Counted(Protocol):
    """What was measured, on how many."""

    @property
    def num_cases(self) -> int: ...

    @property
    def num_patients(self) -> int: ...

    @property
    def unit(self) -> Unit: ...


def rests_on(result: Counted, more: str = "") -> str:
    """`n = 624 cases of 312 patients; 95 % intervals over patients`: what stands below a figure."""
    who = how_many(result.num_cases, "case")
    if result.unit == "patient":
        who += f" of {how_many(result.num_patients, 'patient')}"
    return f"n = {who}; 95 % intervals over {result.unit}s{more}"
