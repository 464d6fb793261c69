"""Vector scaling against known distortions, scikit-learn's logistic regression, and the temperature it contains."""

import json

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from medcnn.evaluation import metrics
from medcnn.evaluation.calibration import fit_temperature
from medcnn.evaluation.vector_scaling import VectorScaling, fit_vector_scaling


def drawn(kind, n=6000, k=3, seed=0):
    random = np.random.default_rng(seed)
    k = 2 if kind == "binary" else k
    logits = 1.5 * random.normal(size=(n, k))
    if kind == "multilabel":
        return logits, (random.random((n, k)) < expit(logits)).astype(float)
    return logits, (softmax(logits, axis=1).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)


def test_known_scales_and_offsets_are_undone():
    logits, truth = drawn("multilabel")
    scale, offset = np.array([0.5, 2.0, 3.0]), np.array([-1.0, 0.5, 2.0])
    found = fit_vector_scaling((logits - offset) / scale, truth, kind="multilabel")
    assert found.scale == pytest.approx(scale, rel=0.07)
    assert found.offset == pytest.approx(offset, abs=0.12)
    assert found.n == truth.size


def test_of_several_classes_the_probabilities_come_back():
    logits, truth = drawn("multiclass", n=20_000)
    distorted = (logits - np.array([1.0, -0.5, 0.0])) / np.array([2.0, 0.8, 1.4])
    found = fit_vector_scaling(distorted, truth, kind="multiclass")
    assert np.abs(found.probability(distorted, kind="multiclass") - softmax(logits, axis=1)).max() < 0.05
    assert sum(found.offset) == pytest.approx(0, abs=1e-9)


def test_two_classes_are_a_logistic_regression_on_the_margin():
    logits, truth = drawn("binary", n=800)
    distorted = 2.5 * logits + [0.0, 1.5]
    margin = distorted[:, 1] - distorted[:, 0]
    plain = LogisticRegression(C=np.inf, tol=1e-8).fit(margin[:, None], truth)
    found = fit_vector_scaling(distorted, truth, kind="binary")
    assert found.scale[0] == found.scale[1] == pytest.approx(plain.coef_[0, 0], rel=0.02)
    assert found.offset == pytest.approx((0.0, plain.intercept_[0]), abs=0.03)


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_the_ranking_within_a_class_stays(kind):
    logits, truth = drawn(kind, n=500)
    distorted = 3 * logits + 1
    found = fit_vector_scaling(distorted, truth, kind=kind).probability(distorted, kind=kind)
    before = distorted[:, 1] - distorted[:, 0] if kind == "binary" else distorted[:, 1]
    positive = truth == 1 if kind == "binary" else truth[:, 1] == 1
    assert metrics.auroc(found[:, 1], positive) == pytest.approx(float(metrics.auroc(before, positive)), abs=1e-9)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_it_fits_at_least_as_well_as_a_temperature(kind):
    logits, truth = drawn(kind, n=2000)
    distorted = 2 * logits + np.arange(logits.shape[1])
    vector, one = fit_vector_scaling(distorted, truth, kind=kind), fit_temperature(distorted, truth, kind=kind)
    assert vector.nll_before == pytest.approx(one.nll_before)
    assert vector.nll_after < one.nll_after - 0.01


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_separated_classes_do_not_run_away(kind):
    k = 2 if kind == "binary" else 3
    index = np.arange(30) % k
    logits = 4.0 * np.eye(k)[index]
    truth = np.eye(k)[index] if kind == "multilabel" else index
    found = fit_vector_scaling(logits, truth, kind=kind)
    assert max(found.scale) < 5
    assert max(map(abs, found.offset)) < 5


def test_missing_labels_play_no_part():
    logits, truth = drawn("multilabel", n=400)
    half = truth.copy()
    half[200:, 1] = np.nan
    found = fit_vector_scaling(logits, half, kind="multilabel")
    first = fit_vector_scaling(logits[:200], truth[:200], kind="multilabel")
    assert found.n == 1000
    assert first.scale[1] == pytest.approx(found.scale[1], rel=1e-3)
    assert first.n == 600


def test_it_travels_as_json():
    logits, truth = drawn("multiclass", n=200)
    found = fit_vector_scaling(logits, truth, kind="multiclass")
    assert VectorScaling.from_json(json.loads(json.dumps(found.as_json()))) == found


def test_nothing_to_fit_on_is_refused():
    with pytest.raises(ValueError, match="labelled cases, got none"):
        fit_vector_scaling(np.zeros((2, 3)), np.full((2, 3), np.nan), kind="multilabel")
