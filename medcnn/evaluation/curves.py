"""ROC, precision-recall and reliability curves as plain arrays, with bands from the bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medcnn.evaluation.arrays import Bools, Floats, Ints, ratio
from medcnn.evaluation.metrics import NUM_ECE_BINS, bin_index, weight_per_score

#: Where bands are computed: false positive rates for ROC, recalls for precision-recall.
GRID: Floats = np.linspace(0, 1, 101)
MOST_POINTS = 2000


@dataclass(frozen=True, eq=False)
class Band:
    """Pointwise 95 % bounds of y at the places GRID of x: x, low, high (101,)."""

    x: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Corners of the curve, from (0, 0) to (1, 1), (p,) each; a point is reached by deciding score >= threshold."""

    false_positive_rate: Floats
    true_positive_rate: Floats
    threshold: Floats
    band: Band | None = None


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Precision at each distinct threshold, recall growing, (p,) each. prevalence is what guessing reaches."""

    recall: Floats
    precision: Floats
    threshold: Floats
    prevalence: float
    band: Band | None = None


@dataclass(frozen=True, eq=False)
class Reliability:
    """Per bin of predicted probability, (bins,): how many cases, their mean probability, and how often it happened.

    low, high  Wilson's 95 % interval of the observed rate, cases taken as independent; nan where a bin is empty
    """

    edges: Floats  # (bins + 1,)
    count: Ints
    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats


def roc_curve(score: Floats, positive: Bools, band: Band | None = None) -> RocCurve:
    of_positives, of_negatives = weight_per_score(score, positive)
    tpr = np.r_[0, ratio(np.cumsum(of_positives), of_positives.sum())]
    fpr = np.r_[0, ratio(np.cumsum(of_negatives), of_negatives.sum())]
    threshold = np.r_[np.inf, np.unique(score)[::-1]]
    kept = _thinned(_corners(of_positives, of_negatives))
    return RocCurve(fpr[kept], tpr[kept], threshold[kept], band)


def precision_recall_curve(score: Floats, positive: Bools, band: Band | None = None) -> PrecisionRecallCurve:
    of_positives, of_negatives = weight_per_score(score, positive)
    found, flagged = np.cumsum(of_positives), np.cumsum(of_positives + of_negatives)
    prevalence = float(ratio(of_positives.sum(), flagged[-1:].sum()))
    recall, precision = ratio(found, of_positives.sum()), ratio(found, flagged)
    kept = _thinned(np.arange(len(found)))
    return PrecisionRecallCurve(recall[kept], precision[kept], np.unique(score)[::-1][kept], prevalence, band)


def true_positive_rate_on_grid(score: Floats, positive: Bools, weights: Floats) -> Floats:
    """(r, 101) the ROC curves of weightings (r, n), at the false positive rates GRID; at a jump, its upper end."""
    of_positives, of_negatives = weight_per_score(score, positive, weights)
    start = np.zeros((len(weights), 1))
    tpr = np.c_[start, ratio(np.cumsum(of_positives, axis=1), of_positives.sum(axis=1, keepdims=True))]
    fpr = np.c_[start, ratio(np.cumsum(of_negatives, axis=1), of_negatives.sum(axis=1, keepdims=True))]
    return np.stack([np.interp(GRID, x, y) for x, y in zip(fpr, tpr, strict=True)])


def precision_on_grid(score: Floats, positive: Bools, weights: Floats) -> Floats:
    """(r, 101) precision of weightings (r, n) at the first threshold whose recall reaches each of GRID."""
    of_positives, of_negatives = weight_per_score(score, positive, weights)
    found = np.cumsum(of_positives, axis=1)
    precision = ratio(found, found + np.cumsum(of_negatives, axis=1))
    recall = ratio(found, of_positives.sum(axis=1, keepdims=True))
    wanted = np.maximum(GRID, 1e-9) - 1e-9  # a recall of 0.30 is reached by 3 of 10, whatever its last bit
    reached = [np.searchsorted(np.where(np.isnan(row), 0, row), wanted) for row in recall]
    last = precision.shape[1] - 1
    return np.stack([row[np.minimum(at, last)] for row, at in zip(precision, reached, strict=True)])


def reliability(probability: Floats, happened: Bools, *, num_bins: int = NUM_ECE_BINS) -> Reliability:
    """How often what was predicted with a probability came true; same bins as metrics.calibration_error."""
    index = bin_index(probability, num_bins)
    count = np.bincount(index, minlength=num_bins).astype(np.int64)
    predicted = ratio(np.bincount(index, probability, num_bins), count)
    observed = ratio(np.bincount(index, happened, num_bins), count)
    low, high = _wilson(observed, count)
    return Reliability(np.linspace(0, 1, num_bins + 1), count, predicted, observed, low, high)


def _corners(of_positives: Floats, of_negatives: Floats) -> Ints:
    """Indices of the points of a ROC curve that do not lie in the middle of a straight run, both ends included."""
    direction = np.arctan2(of_positives, of_negatives)
    turns = 1 + np.flatnonzero(np.diff(direction))
    return np.unique(np.r_[0, turns, len(of_positives)])


def _thinned(points: Ints) -> Ints:
    """At most MOST_POINTS of them, evenly spread, both ends kept: no eye and no page needs more."""
    if len(points) <= MOST_POINTS:
        return points
    return np.asarray(points[np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(np.int64)])


def _wilson(rate: Floats, count: Ints) -> tuple[Floats, Floats]:
    z = 1.959963984540054  # the normal's 97.5 % point
    n = np.where(count > 0, count, np.nan)
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return centre - half, centre + half
