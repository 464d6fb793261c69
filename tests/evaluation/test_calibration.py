"""Temperatures that are known because the logits were made overconfident by a known factor."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from medcnn.evaluation.calibration import apply_temperature, fit_temperature


def drawn(kind, n=6000, k=3, seed=0):
    """Logits that are calibrated as they are, and truth drawn from them."""
    random = np.random.default_rng(seed)
    k = 2 if kind == "binary" else k
    logits = 1.5 * random.normal(size=(n, k))
    if kind == "multilabel":
        return logits, (random.random((n, k)) < expit(logits)).astype(float)
    return logits, (softmax(logits, axis=1).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_a_known_overconfidence_is_found(kind, factor):
    logits, truth = drawn(kind)
    found = fit_temperature(factor * logits, truth, kind=kind)
    assert found.temperature == pytest.approx(factor, rel=0.05)
    assert found.nll_after <= found.nll_before + 1e-12
    assert (found.n, found.note) == (truth.size, "")


def test_likelihoods_and_optimum_equal_independent_ones():
    logits, truth = drawn("multiclass", n=300)
    found = fit_temperature(2 * logits, truth, kind="multiclass")
    assert found.nll_before == pytest.approx(log_loss(truth, softmax(2 * logits, axis=1)))
    assert found.nll_after == pytest.approx(
        log_loss(truth, apply_temperature(2 * logits, found.temperature, kind="multiclass"))
    )
    best = minimize(lambda t: log_loss(truth, softmax(2 * logits / t[0], axis=1)), [1.0], method="Nelder-Mead")
    assert found.temperature == pytest.approx(best.x[0], rel=1e-3)


def test_missing_labels_do_not_count():
    logits, truth = drawn("multilabel", n=500)
    holes = truth.copy()
    holes[::3] = np.nan
    part = np.arange(500) % 3 != 0
    assert fit_temperature(logits, holes, kind="multilabel") == fit_temperature(
        logits[part], truth[part], kind="multilabel"
    )


def test_without_an_error_the_temperature_stays_1_and_says_why():
    found = fit_temperature(np.array([[2.0, -1.0], [-3.0, 0.5]]), np.array([0, 1]), kind="binary")
    assert found.temperature == 1
    assert "no calibration case is wrong" in found.note


def test_logits_without_information_end_at_the_bound_and_say_so():
    logits = np.array([[5.0, 0], [5.0, 0], [0, 5.0], [0, 5.0]])
    found = fit_temperature(logits, np.array([0, 1, 0, 1]), kind="binary")
    assert found.temperature == pytest.approx(20, rel=1e-3)
    assert "bound" in found.note


def test_scaling_keeps_order_and_decision_and_survives_large_logits():
    logits = np.array([[900.0, -900.0, 0.0], [1.0, 2.0, 3.0]])
    for kind in ("multiclass", "multilabel"):
        cool, warm = (apply_temperature(logits, t, kind=kind) for t in (1.0, 4.0))
        assert np.isfinite(cool).all()
        assert (cool.argmax(axis=1) == warm.argmax(axis=1)).all()
    assert apply_temperature(logits, 4.0, kind="multiclass").sum(axis=1) == pytest.approx([1, 1])
    assert apply_temperature(logits, 2.0, kind="multilabel") == pytest.approx(expit(logits / 2))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_above_0(temperature):
    with pytest.raises(ValueError, match="above 0"):
        apply_temperature(np.zeros((1, 2)), temperature, kind="binary")


def test_nothing_to_fit_on_is_refused():
    with pytest.raises(ValueError, match="got none"):
        fit_temperature(np.zeros((2, 2)), np.full((2, 2), np.nan), kind="multilabel")
    with pytest.raises(ValueError, match="class indices below 2"):
        fit_temperature(np.zeros((2, 2)), np.array([0, 2]), kind="binary")
