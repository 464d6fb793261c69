"""ROC and precision-recall: how well a classifier ranks cases, whatever the threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcnn.evaluation.classification import ClassificationResult
from medcnn.evaluation.curves import Band
from medcnn.reporting.figures import INK, QUIET, Drawn, Row, colour, legend, one_plot
from medcnn.reporting.words import METRIC_WORDS, rests_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BANDS = 3  # more of them hide each other


def roc_figure(result: ClassificationResult, *, split: str) -> Drawn:
    """Sensitivity against false alarms, with the bootstrap's pointwise 95 % band and the decision point."""
    title = f"ROC curve on the {split} split"
    figure, axes = one_plot(title, _caption(result), height_in=5.6)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 3)), label="guessing")
    rows: list[Row] = []
    for index, (of_class, curve) in enumerate(result.roc.items()):
        label = _label(result, "auroc", of_class)
        axes.plot(curve.false_positive_rate, curve.true_positive_rate, color=colour(index), linewidth=2, label=label)
        _draw_band(axes, curve.band, index, len(result.roc))
        points = zip(curve.false_positive_rate, curve.true_positive_rate, curve.threshold, strict=True)
        rows += [
            {"class": of_class, "part": "curve", "false_positive_rate": x, "true_positive_rate": y, "threshold": t}
            for x, y, t in points
        ]
        rows += _band_rows(curve.band, of_class, "false_positive_rate")
    rows += _decision_point(axes, result)
    axes.set(xlabel="1 − specificity (false alarms)", ylabel="Sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_aspect("equal")
    legend(axes, loc="lower right")
    return Drawn(figure, title, rows, _caption(result))


def precision_recall_figure(result: ClassificationResult, *, split: str) -> Drawn:
    """Precision against recall; the dashed line is the class's prevalence, which guessing reaches."""
    title = f"Precision and recall on the {split} split"
    figure, axes = one_plot(title, _caption(result), height_in=5.6)
    rows: list[Row] = []
    for index, (of_class, curve) in enumerate(result.precision_recall.items()):
        label = _label(result, "average_precision", of_class)
        axes.step(curve.recall, curve.precision, where="pre", color=colour(index), linewidth=2, label=label)
        axes.axhline(curve.prevalence, color=colour(index), linewidth=1, linestyle=(0, (4, 3)), alpha=0.7)
        _draw_band(axes, curve.band, index, len(result.precision_recall))
        points = zip(curve.recall, curve.precision, curve.threshold, strict=True)
        rows += [
            {"class": of_class, "part": "curve", "recall": x, "precision": y, "threshold": t} for x, y, t in points
        ]
        rows += _band_rows(curve.band, of_class, "recall")
    axes.set(xlabel="Recall (sensitivity)", ylabel="Precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.set_aspect("equal")
    legend(axes, loc="lower left")
    return Drawn(figure, title, rows, _caption(result))


def _caption(result: ClassificationResult) -> str:
    return rests_on(result, "; band: pointwise" if len(result.roc) <= _MOST_BANDS else "")


def _label(result: ClassificationResult, metric: str, of_class: str) -> str:
    """`pneumonia: AUROC 0.971 (0.959 to 0.983)`; a binary result's metrics carry no class."""
    found = result.estimates[metric if len(result.roc) == 1 else f"{metric}.{of_class}"]
    text = f"{METRIC_WORDS[metric]} {found}"
    return text if len(result.roc) == 1 else f"{of_class}: {text}"


def _draw_band(axes: Axes, band: Band | None, index: int, num_curves: int) -> None:
    if band is not None and num_curves <= _MOST_BANDS:
        axes.fill_between(band.x, band.low, band.high, color=colour(index), alpha=0.18, linewidth=0)


def _band_rows(band: Band | None, of_class: str, x: str) -> list[Row]:
    if band is None:
        return []
    points = zip(band.x, band.low, band.high, strict=True)
    return [{"class": of_class, "part": "band", x: at, "low": low, "high": high} for at, low, high in points]


def _decision_point(axes: Axes, result: ClassificationResult) -> list[Row]:
    """Mark where a binary classifier's threshold lies on its curve."""
    sensitivity, specificity = result.estimates["sensitivity"], result.estimates["specificity"]
    if result.kind != "binary" or not (sensitivity.defined and specificity.defined):
        return []
    x, y, threshold = 1 - specificity.value, sensitivity.value, result.thresholds[0]
    axes.plot(
        x,
        y,
        "o",
        markersize=8,
        color="white",
        markeredgecolor=INK,
        markeredgewidth=1.8,
        linestyle="none",
        label=f"decision at {threshold:.3f}: sensitivity {y:.3f}, specificity {1 - x:.3f}",
        zorder=5,
    )
    of_class = result.class_names[-1]
    return [
        {
            "class": of_class,
            "part": "decision",
            "false_positive_rate": x,
            "true_positive_rate": y,
            "threshold": threshold,
        }
    ]
