"""Curves against scikit-learn, and that their areas are the metrics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as oracle

from medcnn.evaluation import curves, metrics


def scored(seed, n=80, decimals=1):
    random = np.random.default_rng(seed)
    positive = random.random(n) < 0.4
    positive[:2] = [True, False]
    return np.round(random.normal(size=n) + positive, decimals), positive


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_roc_has_scikit_learns_points_and_auroc_as_its_area(seed):
    score, positive = scored(seed)
    found = curves.roc_curve(score, positive)
    fpr, tpr, threshold = oracle.roc_curve(positive, score, drop_intermediate=False)
    at = np.searchsorted(-threshold, -found.threshold)
    assert found.false_positive_rate == pytest.approx(fpr[at])
    assert found.true_positive_rate == pytest.approx(tpr[at])
    assert np.trapezoid(found.true_positive_rate, found.false_positive_rate) == pytest.approx(
        float(metrics.auroc(score, positive))
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_precision_recall_has_scikit_learns_points_and_average_precision_as_its_area(seed):
    score, positive = scored(seed)
    found = curves.precision_recall_curve(score, positive)
    precision, recall, threshold = oracle.precision_recall_curve(positive, score)
    assert found.threshold == pytest.approx(threshold[::-1])
    assert found.recall == pytest.approx(recall[-2::-1])
    assert found.precision == pytest.approx(precision[-2::-1])
    area = (np.diff(found.recall, prepend=0) * found.precision).sum()
    assert area == pytest.approx(float(metrics.average_precision(score, positive)))
    assert found.prevalence == pytest.approx(positive.mean())


def test_on_the_grid_the_unweighted_curves_are_themselves():
    score, positive = scored(5, decimals=6)
    once = np.ones((1, len(score)))
    found = curves.roc_curve(score, positive)
    jump_up = [found.true_positive_rate[found.false_positive_rate <= x + 1e-12].max() for x in (0, 1)]
    on_grid = curves.true_positive_rate_on_grid(score, positive, once)[0]
    assert [on_grid[0], on_grid[-1]] == pytest.approx(jump_up)
    assert (np.diff(on_grid) >= -1e-12).all()
    pr = curves.precision_recall_curve(score, positive)
    for x, y in zip(curves.GRID, curves.precision_on_grid(score, positive, once)[0], strict=True):
        assert y == pytest.approx(pr.precision[np.argmax(pr.recall >= x - 1e-9)])


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    random = np.random.default_rng(0)
    positive = random.random(9000) < 0.5
    found = curves.roc_curve(random.random(9000), positive)
    assert len(found.threshold) == curves.MOST_POINTS
    assert (found.true_positive_rate[0], found.true_positive_rate[-1]) == (0, 1)


def test_reliability_counts_means_and_wilsons_interval():
    probability = np.array([0.05, 0.15, 0.18, 0.12, 0.95])
    happened = np.array([False, True, False, False, True])
    found = curves.reliability(probability, happened, num_bins=10)
    assert found.count.tolist() == [1, 3, 0, 0, 0, 0, 0, 0, 0, 1]
    assert found.predicted[1] == pytest.approx(0.15)
    assert found.observed[1] == pytest.approx(1 / 3)
    expected = binomtest(1, 3).proportion_ci(method="wilson")
    assert (found.low[1], found.high[1]) == pytest.approx((expected.low, expected.high))
    assert np.isnan([found.predicted[2], found.observed[2], found.low[2], found.high[2]]).all()


def test_reliability_holds_the_calibration_error():
    random = np.random.default_rng(2)
    probability, happened = random.random(300), random.random(300) < 0.5
    found = curves.reliability(probability, happened)
    gap = np.nansum(found.count * np.abs(found.predicted - found.observed)) / 300
    assert gap == pytest.approx(float(metrics.calibration_error(probability, happened)))
