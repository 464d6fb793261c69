"""Regression metrics against scikit-learn, SciPy and Lin's own definition."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from medcnn.evaluation.regression import evaluate_regression, measures


def drawn(n=120, seed=0):
    random = np.random.default_rng(seed)
    truth = random.normal(50, 15, n)
    return 0.8 * truth + 12 + random.normal(0, 6, n), truth


def concordance(p, t):
    """Lin 1989, equation 3, with the moments over n."""
    return 2 * np.cov(p, t, bias=True)[0, 1] / (p.var() + t.var() + (p.mean() - t.mean()) ** 2)


def test_every_metric_equals_an_independent_one():
    p, t = drawn()
    found = {name: one.value for name, one in evaluate_regression(p, t, num_resamples=50).estimates.items()}
    error = p - t
    found = {name: value for name, value in found.items() if "." not in name}  # thirds: test_value_range.py
    assert found == pytest.approx(
        {
            "mae": mean_absolute_error(t, p),
            "rmse": root_mean_squared_error(t, p),
            "r2": r2_score(t, p),
            "concordance": concordance(p, t),
            "correlation": pearsonr(p, t).statistic,
            "error": error.mean(),
            "agreement_low": error.mean() - 1.96 * error.std(ddof=1),
            "agreement_high": error.mean() + 1.96 * error.std(ddof=1),
        }
    )


def test_a_case_drawn_twice_is_a_case_that_is_there_twice():
    p, t = drawn(30)
    weights = np.random.default_rng(3).integers(0, 3, 30)
    weighted = measures(p, t, weights[None].astype(float))
    repeated = measures(np.repeat(p, weights), np.repeat(t, weights), np.ones((1, weights.sum())))
    for name, value in weighted.items():
        assert value == pytest.approx(repeated[name]), name


def test_far_from_zero_no_digits_are_lost():
    p, t = drawn()
    near = measures(p, t, np.ones((1, len(t))))
    far = measures(p + 1e7, t + 1e7, np.ones((1, len(t))))
    assert far["concordance"] == pytest.approx(near["concordance"], rel=1e-6)
    assert far["r2"] == pytest.approx(near["r2"], rel=1e-6)


def test_an_offset_lowers_the_concordance_but_not_the_correlation():
    t = np.arange(20.0)
    found = {name: one.value for name, one in evaluate_regression(t + 5, t, num_resamples=20).estimates.items()}
    assert found["correlation"] == pytest.approx(1)
    assert found["concordance"] == pytest.approx(concordance(t + 5, t))
    assert found["concordance"] < 0.75
    assert found["agreement_low"] == pytest.approx(found["agreement_high"]) == pytest.approx(5)


def test_unknown_truths_are_left_out_and_said_and_patients_are_resampled():
    p, t = drawn(40)
    t[:4] = np.nan
    found = evaluate_regression(p, t, patient=[f"p{n // 2}" for n in range(40)], num_resamples=50)
    assert (found.num_cases, found.num_patients, found.unit) == (36, 18, "patient")
    assert found.notes == ("4 cases without a known value were left out",)
    alone = evaluate_regression(p[4:], t[4:], num_resamples=50)
    assert found.estimates["mae"].value == pytest.approx(alone.estimates["mae"].value)


def test_the_interval_of_a_mean_error_is_the_textbooks():
    p, t = drawn(400)
    found = evaluate_regression(p, t).estimates["error"]
    half = 1.96 * (p - t).std(ddof=1) / 20
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.12)


@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        ([1.0, np.nan], [1.0, 2.0], "finite"),
        ([1.0], [np.nan], "known truth"),
        ([1.0], [1.0, 2.0], r"\(1,\) and \(2,\)"),
    ],
)
def test_what_cannot_be_measured_is_refused(predicted, truth, message):
    with pytest.raises(ValueError, match=message):
        evaluate_regression(np.array(predicted), np.array(truth))
