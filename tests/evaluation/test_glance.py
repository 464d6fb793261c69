"""The figures of every epoch, beside scikit-learn's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from medcnn.evaluation.glance import glance


def scores(n: int, k: int, *, seed: int = 0) -> np.ndarray:
    raw = np.random.default_rng(seed).random((n, k)) + 0.05
    return raw / raw.sum(axis=1, keepdims=True)


def test_binary_as_scikit_learn() -> None:
    probability, truth = scores(60, 2), np.random.default_rng(1).integers(0, 2, 60)
    found = glance(probability, truth, "binary")
    score, decided = probability[:, 1], probability[:, 1] >= 0.5
    assert found == {
        "auroc": pytest.approx(reference.roc_auc_score(truth, score)),
        "average_precision": pytest.approx(reference.average_precision_score(truth, score)),
        "balanced_accuracy": pytest.approx(reference.balanced_accuracy_score(truth, decided)),
        "accuracy": pytest.approx(reference.accuracy_score(truth, decided)),
        "loss": pytest.approx(reference.log_loss(truth, probability)),
    }


def test_several_classes_as_scikit_learn() -> None:
    probability, truth = scores(90, 4), np.random.default_rng(1).integers(0, 4, 90)
    found, decided = glance(probability, truth, "multiclass"), probability.argmax(axis=1)
    assert found["auroc"] == pytest.approx(reference.roc_auc_score(truth, probability, multi_class="ovr"))
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, decided))
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(truth, decided))
    assert found["loss"] == pytest.approx(reference.log_loss(truth, probability))


def test_findings_as_scikit_learn_each_on_the_cases_that_have_it() -> None:
    generator = np.random.default_rng(2)
    probability, truth = generator.random((80, 3)), generator.integers(0, 2, (80, 3)).astype(float)
    truth[generator.random((80, 3)) < 0.3] = np.nan
    found = glance(probability, truth, "multilabel")
    known = [~np.isnan(truth[:, k]) for k in range(3)]
    aurocs = [reference.roc_auc_score(truth[here, k], probability[here, k]) for k, here in enumerate(known)]
    losses = [reference.log_loss(truth[here, k], probability[here, k]) for k, here in enumerate(known)]
    assert found["auroc"] == pytest.approx(np.mean(aurocs))
    assert found["loss"] == pytest.approx(np.mean(losses))


@pytest.mark.parametrize(
    ("truth", "kind"), [(np.ones(5, int), "binary"), (np.array([[1.0], [1.0], [np.nan], [1.0], [1.0]]), "multilabel")]
)
def test_a_class_alone_has_no_ranking(truth: np.ndarray, kind: Any) -> None:
    probability = scores(5, 2) if kind == "binary" else scores(5, 2)[:, :1]
    found = glance(probability, truth, kind)
    assert math.isnan(found["auroc"])
    assert math.isfinite(found["loss"])


def test_a_class_that_is_not_there_is_left_out_of_the_means() -> None:
    probability, truth = scores(60, 3), np.random.default_rng(1).integers(0, 2, 60)
    found = glance(probability, truth, "multiclass")
    aurocs = [reference.roc_auc_score(truth == k, probability[:, k]) for k in range(2)]
    assert found["auroc"] == pytest.approx(np.mean(aurocs))
