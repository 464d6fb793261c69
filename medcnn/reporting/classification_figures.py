"""All figures of one classified split, by the names they are saved under."""

from __future__ import annotations

from medcnn.evaluation.arrays import Floats, Ints
from medcnn.evaluation.classification import ClassificationResult
from medcnn.reporting.confusion_figure import confusion_figure
from medcnn.reporting.figures import Drawn
from medcnn.reporting.probability_figures import reliability_figure, score_figure
from medcnn.reporting.ranking_figures import precision_recall_figure, roc_figure


def classification_figures(
    result: ClassificationResult, probability: Floats, truth: Floats | Ints, *, split: str
) -> dict[str, Drawn]:
    """`roc_test` and so on -> figure; probability and truth are those that were evaluated."""
    return {
        f"roc_{split}": roc_figure(result, split=split),
        f"precision_recall_{split}": precision_recall_figure(result, split=split),
        f"confusion_{split}": confusion_figure(result, split=split),
        f"reliability_{split}": reliability_figure(result, split=split),
        f"scores_{split}": score_figure(result, probability, truth, split=split),
    }
