"""The figures of every epoch: point values only, cheap enough to be taken after each."""

from __future__ import annotations

import numpy as np

from medcnn.evaluation import metrics
from medcnn.evaluation.arrays import ONE_OF_SEVERAL, Bools, Floats, Ints, Kind
from medcnn.evaluation.decisions import decide
from medcnn.evaluation.ordinal import quadratic_kappa


def glance(probability: Floats, truth: Floats | Ints, kind: Kind) -> dict[str, float]:
    """auroc, average_precision, balanced_accuracy (at 0.5), accuracy, loss (log loss); means over classes.

    Of grades quadratic_kappa besides.

    probability (n, K); truth as for evaluate_classification. A class that is not there, or alone, is left out.
    """
    questions = _questions(probability, truth, kind)
    decided = decide(probability, kind)
    if kind in ONE_OF_SEVERAL:
        recalls = metrics.recall_per_class(decided, np.asarray(truth, np.int64), probability.shape[1])
        balanced, accuracy = float(np.nanmean(recalls)), float(np.mean(decided == truth))
        loss = float(metrics.log_loss(probability[np.arange(len(probability)), np.asarray(truth, np.int64)]))
    else:
        cut = [(score >= 0.5, positive) for score, positive in questions]
        balanced = _mean([float(metrics.balanced_accuracy(yes, positive)) for yes, positive in cut])
        accuracy = _mean([float(np.mean(yes == positive)) for yes, positive in cut])
        loss = _mean([float(metrics.log_loss(np.where(p, s, 1 - s))) for s, p in questions])
    grades = np.asarray(truth, np.int64) if kind == "ordinal" else None
    kappa = {} if grades is None else {"quadratic_kappa": float(quadratic_kappa(decided, grades, probability.shape[1]))}
    return {
        "auroc": _mean([float(metrics.auroc(score, positive)) for score, positive in questions]),
        "average_precision": _mean(
            [float(metrics.average_precision(score, positive)) for score, positive in questions]
        ),
        "balanced_accuracy": balanced,
        "accuracy": accuracy,
        "loss": loss,
        **kappa,
    }


def _questions(probability: Floats, truth: Floats | Ints, kind: Kind) -> list[tuple[Floats, Bools]]:
    """Score and answer of each yes-or-no question."""
    if kind == "binary":
        return [(probability[:, 1], np.asarray(truth) == 1)]
    if kind in ONE_OF_SEVERAL:
        return [(probability[:, k], np.asarray(truth) == k) for k in range(probability.shape[1])]
    known = ~np.isnan(truth)
    return [(probability[known[:, k], k], truth[known[:, k], k] == 1) for k in range(probability.shape[1])]


def _mean(values: list[float]) -> float:
    there = [value for value in values if not np.isnan(value)]
    return float(np.mean(there)) if there else float("nan")
