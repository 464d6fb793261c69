"""Grades against scikit-learn's kappa and hand-made cases."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from medcnn.evaluation.ordinal import decide_grade, evaluate_ordinal, quadratic_kappa


def drawn(n=200, k=5, seed=0):
    random = np.random.default_rng(seed)
    truth = random.integers(k, size=n)
    near = np.clip(truth + random.integers(-1, 2, n), 0, k - 1)
    probability = 0.7 * np.eye(k)[near] + 0.3 * random.dirichlet(np.ones(k), n)
    return probability, truth


def test_kappa_is_scikit_learns_weighted_or_not():
    probability, truth = drawn()
    decision = decide_grade(probability)
    ours = float(quadratic_kappa(decision, truth, 5))
    assert ours == pytest.approx(cohen_kappa_score(truth, decision, weights="quadratic"))
    weights = np.random.default_rng(1).integers(0, 4, (3, 200)).astype(float)
    expected = [cohen_kappa_score(truth, decision, weights="quadratic", sample_weight=w) for w in weights]
    assert quadratic_kappa(decision, truth, 5, weights) == pytest.approx(expected)


def test_kappa_of_agreement_chance_and_nothing():
    grades = np.array([0, 1, 2, 2])
    assert float(quadratic_kappa(grades, grades, 3)) == 1
    crossed = np.array([0, 0, 2, 2]), np.array([0, 2, 0, 2])
    assert float(quadratic_kappa(*crossed, 3)) == pytest.approx(0)
    assert np.isnan(quadratic_kappa(np.ones(3, int), np.ones(3, int), 3))


def test_the_median_grade_is_decided_not_the_most_probable():
    probability = np.array([[0.4, 0.0, 0.3, 0.3], [0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    assert decide_grade(probability).tolist() == [2, 0, 3]


def test_the_median_costs_the_fewest_grades():
    """For any probabilities, no other fixed grade has a smaller expected error."""
    probability = np.random.default_rng(0).dirichlet(np.ones(6) * 0.5, 300)
    distance = np.abs(np.arange(6)[:, None] - np.arange(6))
    expected = probability @ distance
    assert (expected[np.arange(300), decide_grade(probability)] <= expected.min(axis=1) + 1e-12).all()


def test_all_measures_by_hand_and_with_intervals():
    probability = np.eye(4)[[0, 1, 1, 3]]
    found = evaluate_ordinal(probability, np.array([0, 1, 3, 2]), class_names=list("abcd"), num_resamples=100)
    values = {name: one.value for name, one in found.estimates.items()}
    assert values["mae_grades"] == 3 / 4
    assert values["within_one"] == 3 / 4
    assert values["exact_grade"] == 2 / 4
    assert found.confusion.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    probability, truth = drawn()
    found = evaluate_ordinal(
        probability, truth, class_names=list("abcde"), patient=[f"p{n // 2}" for n in range(200)], num_resamples=200
    )
    kappa = found.estimates["quadratic_kappa"]
    assert kappa.low < kappa.value < kappa.high
    assert (found.unit, found.num_patients) == ("patient", 100)
