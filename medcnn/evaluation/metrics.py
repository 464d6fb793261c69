"""Classification metrics as pure functions, each for many weightings of the cases at once.

n cases, k classes. `weights` (..., n) says how often each case counts (the counts of bootstrap resamples, one row
each); left out, every case counts once. Results have shape (...): nan, without a warning, where a metric is undefined.
`positive` and `decided` (n,) are true or false; `score` and `probability` (n,) grow with the belief in the positive.
"""

from __future__ import annotations

import numpy as np

from medcnn.evaluation.arrays import Bools, Floats, Ints, ratio

NUM_ECE_BINS = 15


def auroc(score: Floats, positive: Bools, weights: Floats | None = None) -> Floats:
    """Chance that a positive case scores above a negative one, ties counting half."""
    of_positives, of_negatives = weight_per_score(score, positive, weights)
    total_positive, total_negative = of_positives.sum(axis=-1), of_negatives.sum(axis=-1)
    # scores descend: what still lies below a group is the total less what came before and half the group itself
    below = total_negative[..., None] - np.cumsum(of_negatives, axis=-1) + of_negatives / 2
    return ratio((of_positives * below).sum(axis=-1), total_positive * total_negative)


def average_precision(score: Floats, positive: Bools, weights: Floats | None = None) -> Floats:
    """Mean precision over the recall gained at each distinct score (no interpolation), as scikit-learn defines it.

    Undefined without positives, and, unlike there, without negatives: nothing is ranked.
    """
    of_positives, of_negatives = weight_per_score(score, positive, weights)
    found = np.cumsum(of_positives, axis=-1)
    flagged = found + np.cumsum(of_negatives, axis=-1)
    precision = np.divide(found, flagged, out=np.zeros_like(found), where=flagged > 0)
    both = np.minimum(1, of_negatives.sum(axis=-1))  # 0 makes the ratio undefined
    return ratio((of_positives * precision).sum(axis=-1) * both, of_positives.sum(axis=-1) * both)


def sensitivity(decided: Bools, positive: Bools, weights: Floats | None = None) -> Floats:
    """Share of the positive cases that are decided positive."""
    return share(decided[positive], _of(weights, positive))


def specificity(decided: Bools, positive: Bools, weights: Floats | None = None) -> Floats:
    """Share of the negative cases that are decided negative."""
    return share(~decided[~positive], _of(weights, ~positive))


def balanced_accuracy(decided: Bools, positive: Bools, weights: Floats | None = None) -> Floats:
    """Mean of sensitivity and specificity."""
    return (sensitivity(decided, positive, weights) + specificity(decided, positive, weights)) / 2


def f1(decided: Bools, positive: Bools, weights: Floats | None = None) -> Floats:
    """2 TP / (2 TP + FP + FN); undefined where nothing is positive and nothing decided so."""
    hits = total(decided & positive, weights)
    return ratio(2 * hits, total(decided, weights) + total(positive, weights))


def accuracy(correct: Bools, weights: Floats | None = None) -> Floats:
    """Share of the cases decided correctly."""
    return share(correct, weights)


def recall_per_class(decision: Ints, truth: Ints, num_classes: int, weights: Floats | None = None) -> Floats:
    """(..., k): of each class's cases, the share given that class. Their mean is multi-class balanced accuracy."""
    per_class = [sensitivity(decision == c, truth == c, weights) for c in range(num_classes)]
    return np.stack(per_class, axis=-1)


def brier(probability: Floats, positive: Bools, weights: Floats | None = None) -> Floats:
    """Mean squared distance of the positive class's probability from 0 or 1 (0 to 1, lower is better)."""
    return mean((probability - positive) ** 2, weights)


def brier_multiclass(probability: Floats, truth: Ints, weights: Floats | None = None) -> Floats:
    """Mean over cases of the squared distances summed over classes (0 to 2). probability (n, k), truth (n,) index."""
    target = np.eye(probability.shape[1])[truth]
    return mean(((probability - target) ** 2).sum(axis=1), weights)


def log_loss(probability_of_truth: Floats, weights: Floats | None = None) -> Floats:
    """Mean of -ln of the probability given to what was true; clipped at the float's resolution, so never infinite."""
    smallest = np.finfo(np.float64).eps
    return mean(-np.log(np.clip(probability_of_truth, smallest, 1 - smallest)), weights)


def calibration_error(
    probability: Floats, happened: Bools, weights: Floats | None = None, *, num_bins: int = NUM_ECE_BINS
) -> Floats:
    """Expected calibration error: sum over equal-width bins of (share of cases) x |mean probability - observed rate|.

    Binary and multi-label: `probability` of the positive class, `happened` whether the case is positive.
    Multi-class, top label (Guo et al. 2017): the greatest probability, and whether that class was the true one.
    """
    in_bin = np.eye(num_bins)[bin_index(probability, num_bins)]  # (n, bins)
    gap = _sum(in_bin * (probability - happened)[:, None], weights)  # (..., bins)
    return ratio(np.abs(gap).sum(axis=-1), total(np.ones_like(happened), weights))


def bin_index(probability: Floats, num_bins: int = NUM_ECE_BINS) -> Ints:
    """Which of the equal-width bins [0, 1/b), [1/b, 2/b) ... [(b-1)/b, 1] each probability falls into."""
    edges = np.linspace(0, 1, num_bins + 1)[1:-1]
    return np.searchsorted(edges, probability, side="right").astype(np.int64)


def macro(per_class: Floats, counted: Bools) -> Floats:
    """Mean over the classes that are `counted` (k,); nan where one of them is undefined. per_class (..., k)."""
    if not counted.any():
        return np.full(per_class.shape[:-1], np.nan)
    return np.asarray(per_class[..., counted].mean(axis=-1))


def weight_per_score(score: Floats, positive: Bools, weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Total weight of the positives and of the negatives at each distinct score, scores descending, (..., g) each."""
    if not len(score):
        shape = (0,) if weights is None else weights.shape
        return np.zeros(shape), np.zeros(shape)
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    weight = np.ones(len(order)) if weights is None else weights[..., order]
    of_positives = np.add.reduceat(weight * positive[order], starts, axis=-1)
    return of_positives, np.add.reduceat(weight * ~positive[order], starts, axis=-1)


def share(true: Bools, weights: Floats | None = None) -> Floats:
    """Weighted share of the cases for which something is true."""
    return mean(true.astype(np.float64), weights)


def mean(values: Floats, weights: Floats | None = None) -> Floats:
    """Weighted mean; nan of nothing."""
    return ratio(_sum(values, weights), total(np.ones(len(values), dtype=bool), weights))


def total(true: Bools, weights: Floats | None = None) -> Floats:
    """Weighted number of the cases for which something is true."""
    return _sum(true.astype(np.float64), weights)


def _sum(values: Floats, weights: Floats | None) -> Floats:
    return np.asarray(values.sum(axis=0) if weights is None else weights @ values)


def _of(weights: Floats | None, cases: Bools) -> Floats | None:
    return None if weights is None else weights[..., cases]
