"""Paired comparisons with a known shift, and Holm's adjustment by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import wilcoxon

from medcnn.evaluation.paired import compare_paired, holm

RANDOM = np.random.default_rng(0)
B = RANDOM.uniform(0.6, 0.9, 40)


def test_a_known_shift_is_found():
    a = B + 0.02 + RANDOM.normal(0, 0.005, 40)
    found = compare_paired(a, B, lower_is_better=False)
    assert found.difference.value == pytest.approx(np.mean(a - B))
    assert found.difference.low < 0.02 < found.difference.high
    assert (found.mean_a, found.mean_b) == pytest.approx((a.mean(), B.mean()))
    assert found.wilcoxon_p == pytest.approx(wilcoxon(a, B, method="exact").pvalue)
    assert found.bootstrap_p < 0.002
    assert (found.wins + found.losses, found.ties, found.num_pairs) == (40, 0, 40)
    assert found.wins > 35


def test_the_same_run_twice_differs_in_nothing():
    found = compare_paired(B, B, lower_is_better=True)
    assert (found.difference.low, found.difference.value, found.difference.high) == (0, 0, 0)
    assert (found.wilcoxon_p, found.bootstrap_p) == (1.0, 1.0)
    assert (found.wins, found.losses, found.ties) == (0, 0, 40)


def test_lower_can_be_better():
    found = compare_paired(B - 0.1, B, lower_is_better=True)
    assert (found.wins, found.losses) == (40, 0)
    assert found.difference.value == pytest.approx(-0.1)


def test_chance_is_seldom_significant():
    """Under no difference, 5 % of 200 tests: 4 to 18 with probability 0.98."""
    random = np.random.default_rng(5)
    p = [compare_paired(*random.normal(size=(2, 25)), lower_is_better=False, num_resamples=400) for _ in range(200)]
    assert 3 <= sum(one.wilcoxon_p < 0.05 for one in p) <= 19
    assert 3 <= sum(one.bootstrap_p < 0.05 for one in p) <= 24  # a little liberal at 25 pairs, as percentiles are


def test_undefined_cases_are_left_out_and_counted():
    a, b = B.copy(), B + 0.1
    a[0] = b[1] = math.nan
    found = compare_paired(a, b, lower_is_better=False)
    assert (found.num_pairs, found.num_undefined) == (38, 2)
    nothing = compare_paired(np.full(3, math.nan), np.ones(3), lower_is_better=False)
    assert nothing.num_undefined == 3
    assert math.isnan(nothing.wilcoxon_p)
    assert not nothing.difference.defined


def test_a_patient_counts_once_in_the_signed_rank_test():
    """Five patients with eight cases each cannot reach p < 2 / 2**5."""
    a = B + 0.05
    alone = compare_paired(a, B, lower_is_better=False)
    together = compare_paired(a, B, lower_is_better=False, patient=[f"p{i % 5}" for i in range(40)])
    assert alone.wilcoxon_p < 1e-6
    assert together.wilcoxon_p == pytest.approx(2 / 2**5)
    assert together.difference.unit == "patient"
    assert together.num_pairs == 40


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    adjusted = holm([0.01, math.nan, 0.02])
    assert adjusted[::2] == pytest.approx([0.02, 0.02])
    assert math.isnan(adjusted[1])
    assert holm([]) == []
