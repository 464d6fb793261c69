"""The signed-rank test against SciPy, and against trying all signs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import rankdata, wilcoxon

from medcnn.evaluation.wilcoxon import MOST_EXACT, signed_rank_p


@pytest.mark.parametrize("n", [1, 2, 5, 12, 50, MOST_EXACT])
def test_exact_p_is_scipys(n):
    difference = np.random.default_rng(n).normal(0.3, 1, n)
    assert signed_rank_p(difference) == pytest.approx(wilcoxon(difference, method="exact").pvalue)


@pytest.mark.parametrize("seed", range(4))
def test_ties_and_zeros_follow_the_rule(seed):
    """All signs of the non-zero differences, ranked with midranks."""
    difference = np.random.default_rng(seed).integers(-3, 5, 11).astype(float)
    there = difference[difference != 0]
    rank = rankdata(np.abs(there))
    sums = np.array([rank @ signs for signs in itertools.product([0, 1], repeat=len(there))])
    positive = rank[there > 0].sum()
    expected = min(1.0, 2 * min((sums >= positive).mean(), (sums <= positive).mean()))
    assert signed_rank_p(difference) == pytest.approx(expected)


def test_many_pairs_are_approximated_as_in_scipy():
    difference = np.random.default_rng(0).integers(-4, 6, 300).astype(float)
    assert signed_rank_p(difference) == pytest.approx(
        wilcoxon(difference, zero_method="wilcox", method="approx").pvalue
    )


def test_nothing_but_zeros_is_no_difference_and_nothing_is_undefined():
    assert signed_rank_p(np.zeros(5)) == 1.0
    assert np.isnan(signed_rank_p(np.zeros(0)))
