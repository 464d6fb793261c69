"""Ranges hold the truth as often as they promise, whatever the network, and say so where they promise less."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medcnn.evaluation.conformal import least_cases
from medcnn.evaluation.regression import evaluate_regression
from medcnn.evaluation.value_range import RangeRule, fit_range


@pytest.mark.parametrize(("error", "num"), [(0.1, 9), (0.1, 40), (0.2, 25), (0.05, 19)])
@pytest.mark.parametrize("noise", ["normal", "heavy"])
def test_coverage_over_many_calibrations_is_what_is_promised(error: float, num: int, noise: str) -> None:
    """Continuous errors: the mean coverage is ceil((n + 1)(1 - error)) / (n + 1), exactly (Vovk et al. 2005)."""
    random = np.random.default_rng(3)
    draw = random.standard_normal if noise == "normal" else lambda size: random.standard_t(1.5, size)
    repeats, held = 1500, []
    for _ in range(repeats):
        rule = fit_range(np.zeros(num), draw(num) + 0.7, error=error, fitted_on="calib")  # biased, too
        held.append(np.mean(np.abs(draw(50) + 0.7) <= rule.half_width))
    exact = np.ceil((num + 1) * (1 - error) - 1e-9) / (num + 1)
    assert np.mean(held) == pytest.approx(exact, abs=4 * np.std(held) / np.sqrt(repeats))
    assert exact >= 1 - error
    assert rule.coverage == 1 - error
    assert rule.notes() == []


def test_too_few_patients_take_the_largest_error_and_promise_less() -> None:
    random = np.random.default_rng(4)
    held = []
    for _ in range(2000):
        rule = fit_range(np.zeros(4), random.standard_normal(4), error=0.1, fitted_on="calib")
        held.append(np.mean(np.abs(random.standard_normal(50)) <= rule.half_width))
    assert rule.num_patients < least_cases(0.1)
    assert rule.coverage == 4 / 5
    assert np.mean(held) == pytest.approx(0.8, abs=0.02)
    assert "need 9 calibration patients, got 4" in rule.notes()[0]
    assert rule.words() == "80 % range"


def test_a_patient_with_many_cases_counts_once() -> None:
    errors = np.array([1.0, 2.0, 3.0, *np.full(40, 100.0)])
    rule = fit_range(np.zeros(43), errors, error=0.5, fitted_on="calib", patient=["a", "b", "c", *["d"] * 40])
    assert rule.num_patients == 4
    assert rule.half_width == 3.0  # the third of 1, 2, 3, 100


def test_what_chose_the_model_promises_nothing() -> None:
    rule = fit_range(np.zeros(20), np.arange(20.0), error=0.1, fitted_on="val")
    assert not rule.claims_coverage
    assert "no coverage is claimed" in rule.notes()[0]
    assert "nothing promised" in rule.words()


def test_it_comes_back_from_json_and_refuses_what_cannot_be() -> None:
    rule = fit_range(np.zeros(20), np.arange(20.0), error=0.1, fitted_on="calib", seed=3)
    assert RangeRule.from_json(json.loads(json.dumps(rule.as_json()))) == rule
    assert fit_range(np.zeros(0), np.zeros(0), error=0.1, fitted_on="calib") is None
    for error in (0.0, 1.0):
        with pytest.raises(ValueError, match="above 0 and below 1"):
            fit_range(np.zeros(3), np.zeros(3), error=error, fitted_on="calib")


def test_errors_of_the_thirds_and_coverage_are_those_of_their_cases() -> None:
    random = np.random.default_rng(5)
    truth = random.uniform(20, 80, 90)
    predicted = truth + random.normal(0, 5, 90) + 0.2 * (50 - truth)
    found = evaluate_regression(predicted, truth, half_width=6.0, num_resamples=100).estimates
    lowest = truth <= np.quantile(truth, 1 / 3)
    assert found["mae.lower third"].value == pytest.approx(np.abs(predicted - truth)[lowest].mean())
    assert found["error.lower third"].value == pytest.approx((predicted - truth)[lowest].mean())
    assert found["mae.lower third"].n == lowest.sum() == 30
    assert found["range_coverage"].value == pytest.approx((np.abs(predicted - truth) <= 6).mean())
    assert found["error.lower third"].value > 0 > found["error.upper third"].value  # drawn towards the mean
    parts = [found[f"mae.{part} third"].value for part in ("lower", "middle", "upper")]
    assert np.mean(parts) == pytest.approx(found["mae"].value)  # equally many cases in each
