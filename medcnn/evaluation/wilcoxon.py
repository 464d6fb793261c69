"""Wilcoxon's signed-rank test (1945) of paired differences, exact as long as that is quick.

Differences of 0 are dropped, as Wilcoxon did; equal sizes share the mean of their ranks. Up to 100 differences the
p-value is exact given these ranks: every sign is as likely as its opposite, so all sums are counted. Beyond that it is
the normal approximation with the correction for ties, as in SciPy.
"""

from __future__ import annotations

import numpy as np

from medcnn.evaluation.arrays import Floats, Ints

MOST_EXACT = 100


def signed_rank_p(difference: Floats) -> float:
    """Two-sided p-value of no difference; 1 where all are 0, nan where there is none. difference (n,) finite."""
    there = difference[difference != 0]
    if not len(there):
        return 1.0 if len(difference) else float("nan")
    from scipy.special import ndtr
    from scipy.stats import rankdata

    doubled = np.rint(2 * rankdata(np.abs(there))).astype(np.int64)  # whole numbers, whatever the ties
    positive = int(doubled[there > 0].sum())
    if len(there) <= MOST_EXACT:
        return _exact_p(doubled, positive)
    mean, variance = doubled.sum() / 2, (doubled.astype(np.float64) ** 2).sum() / 4
    return float(2 * ndtr(-abs(positive - mean) / np.sqrt(variance)))


def _exact_p(doubled: Ints, positive: int) -> float:
    """Share of all choices of signs whose sum of positive ranks is as far from the middle, both ways."""
    chance = np.zeros(int(doubled.sum()) + 1)
    chance[0] = 1.0
    for rank in doubled:
        shifted = np.zeros_like(chance)
        shifted[rank:] = chance[:-rank]
        chance = (chance + shifted) / 2
    upper, lower = float(chance[positive:].sum()), float(chance[: positive + 1].sum())
    return min(1.0, 2 * min(upper, lower))
