"""DeLong against the definition, pair by pair, and both tests against what chance must give."""

import numpy as np
import pytest

from medcnn.evaluation import metrics
from medcnn.evaluation.comparison import compare_auroc, delong_covariance, delong_interval, delong_test
from medcnn.evaluation.intervals import Resamples, bootstrap
from medcnn.evaluation.patients import group_patients


def pairwise_covariance(scores, positive):
    """DeLong et al. 1988, equations 3 to 6, over all pairs of a positive and a negative case."""
    v10, v01 = [], []
    for score in scores:
        x, y = score[positive], score[~positive]
        psi = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    m, n = positive.sum(), (~positive).sum()
    return np.mean(v10, axis=1), np.cov(v10) / m + np.cov(v01) / n


def two_models(n=120, seed=0, better=1.0):
    random = np.random.default_rng(seed)
    positive = random.random(n) < 0.4
    common = random.normal(size=n)
    a = np.round(common + random.normal(size=n) + (1 + better) * positive, 1)  # rounded, so that there are ties
    return a, np.round(common + random.normal(size=n) + positive, 1), positive


def test_midrank_covariance_equals_the_definition_with_ties():
    a, b, positive = two_models()
    auroc, covariance = delong_covariance(np.stack([a, b]), positive)
    expected_auroc, expected = pairwise_covariance([a, b], positive)
    assert auroc == pytest.approx(expected_auroc)
    assert auroc == pytest.approx([float(metrics.auroc(s, positive)) for s in (a, b)])
    assert covariance == pytest.approx(expected)


def test_delong_and_bootstrap_agree_on_the_standard_error():
    a, _, positive = two_models(n=400)
    _, covariance = delong_covariance(a[None], positive)
    plan = Resamples(group_patients(None, 400), positive.astype(int))
    sample = bootstrap(lambda w: {"x": metrics.auroc(a, positive, w)}, plan).sample["x"]
    assert sample.std() == pytest.approx(float(np.sqrt(covariance[0, 0])), rel=0.08)


def test_interval_stays_within_0_and_1_and_holds_the_value():
    positive = np.arange(30) < 10
    score = np.where(positive, 2.0, 1.0) + np.linspace(0, 0.9, 30)
    score[12] = 5
    found = delong_interval(score, positive)
    assert 0 < found.low < found.value < found.high < 1


def test_a_perfect_auroc_has_an_interval_without_width_and_one_class_none():
    positive = np.arange(10) < 5
    assert (delong_interval(positive * 1.0, positive).low, delong_interval(positive * 1.0, positive).high) == (1, 1)
    assert np.isnan(delong_interval(np.arange(4.0), np.ones(4, bool)).value)


def test_equal_models_do_not_differ_and_swapping_changes_the_sign():
    a, b, positive = two_models()
    same = delong_test(a, a, positive)
    assert (same.difference.value, same.p_value) == (0, 1)
    ab, ba = delong_test(a, b, positive), delong_test(b, a, positive)
    assert ab.difference.value == pytest.approx(-ba.difference.value)
    assert ab.p_value == pytest.approx(ba.p_value)
    assert ab.difference.low == pytest.approx(-ba.difference.high)


def test_without_a_difference_p_is_below_5_percent_in_about_5_percent():
    p_values = [delong_test(*two_models(seed=seed, better=0.0)).p_value for seed in range(400)]
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.085


def test_a_clear_difference_is_found_by_both_tests_and_the_grouping_chooses_which():
    a, b, positive = two_models(n=300)
    alone = compare_auroc(a, b, positive)
    paired = compare_auroc(a, b, positive, patient=[f"p{i // 2}" for i in range(300)])
    assert (alone.method, paired.method) == ("delong", "paired bootstrap")
    assert (alone.difference.unit, paired.difference.unit) == ("case", "patient")
    for found in (alone, paired):
        assert found.p_value < 0.01
        assert found.difference.low > 0
    assert paired.difference.value == pytest.approx(alone.difference.value)


def test_the_bootstrap_never_claims_a_p_of_zero():
    positive = np.arange(40) < 20
    found = compare_auroc(positive * 1.0, -1.0 * positive, positive, patient=["a", *map(str, range(38)), "a"])
    assert found.p_value == pytest.approx(2 / 2001)
