"""Grades against scikit-learn, SciPy and hand-made cases; by themselves and as a kind of classifier."""

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import accuracy_score, cohen_kappa_score, mean_absolute_error

from medcnn.evaluation.classification import evaluate_classification
from medcnn.evaluation.decisions import decide, decide_grade
from medcnn.evaluation.glance import glance
from medcnn.evaluation.ordinal import GRADE_METRICS, kendall_tau, quadratic_kappa
from medcnn.evaluation.subgroups import evaluate_subgroups


def drawn(n=200, k=5, seed=0):
    random = np.random.default_rng(seed)
    truth = random.integers(k, size=n)
    near = np.clip(truth + random.integers(-1, 2, n), 0, k - 1)
    probability = 0.7 * np.eye(k)[near] + 0.3 * random.dirichlet(np.ones(k), n)
    return probability, truth


def measured(probability, truth, **more):
    names = [f"grade {k}" for k in range(probability.shape[1])]
    return evaluate_classification(
        probability, truth, kind="ordinal", class_names=names, **{"num_resamples": 100, **more}
    )


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


def test_tau_is_scipys_weighted_by_counts_or_not():
    probability, truth = drawn(n=120, seed=3)
    decision = decide_grade(probability)
    assert float(kendall_tau(decision, truth, 5)) == pytest.approx(kendalltau(truth, decision).statistic)
    times = np.random.default_rng(1).integers(0, 4, (3, 120))
    expected = [kendalltau(np.repeat(truth, w), np.repeat(decision, w)).statistic for w in times]
    assert kendall_tau(decision, truth, 5, times.astype(float)) == pytest.approx(expected)


def test_tau_of_order_reversal_and_nothing():
    grades = np.array([0, 1, 1, 2])
    assert float(kendall_tau(grades, grades, 3)) == pytest.approx(1)
    assert float(kendall_tau(2 - grades, grades, 3)) == pytest.approx(-1)
    assert np.isnan(kendall_tau(np.ones(4, int), grades, 3))


def test_the_median_grade_is_decided_not_the_most_probable():
    probability = np.array([[0.4, 0.0, 0.3, 0.3], [0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    assert decide(probability, "ordinal").tolist() == [2, 0, 3]
    assert decide(probability, "multiclass").tolist() == [0, 0, 3]


def test_the_median_costs_the_fewest_grades():
    """For any probabilities, no other fixed grade has a smaller expected error."""
    probability = np.random.default_rng(0).dirichlet(np.ones(6) * 0.5, 300)
    distance = np.abs(np.arange(6)[:, None] - np.arange(6))
    expected = probability @ distance
    assert (expected[np.arange(300), decide_grade(probability)] <= expected.min(axis=1) + 1e-12).all()


def test_all_measures_by_hand():
    found = measured(np.eye(4)[[0, 1, 1, 3]], np.array([0, 1, 3, 2]))
    values = {name: one.value for name, one in found.estimates.items()}
    assert values["mae_grades"] == 3 / 4
    assert values["within_one"] == 3 / 4
    assert values["accuracy"] == 2 / 4
    assert found.confusion.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    assert found.thresholds == ()


def test_all_measures_as_scikit_learn_with_intervals_over_patients():
    probability, truth = drawn()
    found = measured(probability, truth, patient=[f"p{n // 2}" for n in range(200)], num_resamples=200)
    decision = decide_grade(probability)
    expected = {
        "quadratic_kappa": cohen_kappa_score(truth, decision, weights="quadratic"),
        "kendall_tau": kendalltau(truth, decision).statistic,
        "mae_grades": mean_absolute_error(truth, decision),
        "within_one": float((np.abs(truth - decision) <= 1).mean()),
        "accuracy": accuracy_score(truth, decision),
    }
    assert {name: found.estimates[name].value for name in expected} == pytest.approx(expected)
    for one in (found.estimates[name] for name in GRADE_METRICS[:3]):
        assert one.low < one.value < one.high
    assert (found.unit, found.num_patients, found.estimates["quadratic_kappa"].n) == ("patient", 100, 200)


def test_what_does_not_decide_is_as_of_classes_without_an_order():
    probability, truth = drawn()
    names = list("abcde")
    grades, classes = (
        evaluate_classification(probability, truth, kind=kind, class_names=names, num_resamples=100)
        for kind in ("ordinal", "multiclass")
    )
    assert set(grades.estimates) == set(classes.estimates) | set(GRADE_METRICS)
    for name in ("auroc", "auroc.b", "average_precision", "brier", "log_loss"):
        assert grades.estimates[name] == classes.estimates[name]


def test_a_share_of_one_within_one_grade_has_the_exact_interval():
    found = measured(np.eye(3)[[0, 1, 2, 2, 1, 0] * 3], np.array([0, 1, 2, 1, 1, 1] * 3)).estimates["within_one"]
    assert found.value == found.high == 1
    assert found.low == pytest.approx(0.025 ** (1 / 18))


def test_reliability_is_of_the_decided_grade():
    probability = np.array([[0.4, 0.0, 0.3, 0.3]] * 10)
    found = measured(probability, np.array([2, 2, 2, 0, 0, 0, 0, 1, 3, 3]))
    curve = found.reliability["top"]
    assert curve.observed[curve.count > 0] == pytest.approx([0.3])
    assert curve.predicted[curve.count > 0] == pytest.approx([0.3])
    assert found.estimates["ece"].value == pytest.approx(0, abs=1e-12)


def test_each_epoch_knows_kappa_of_grades_alone():
    probability, truth = drawn()
    shown = glance(probability, truth, "ordinal")
    assert shown["quadratic_kappa"] == pytest.approx(
        cohen_kappa_score(truth, decide_grade(probability), weights="quadratic")
    )
    assert "quadratic_kappa" not in glance(probability, truth, "multiclass")


def test_subgroups_have_the_measures_of_grades():
    probability, truth = drawn()
    site = ["a", "b"] * 100
    found = evaluate_subgroups(
        probability, truth, {"site": site}, kind="ordinal", class_names=list("abcde"), num_resamples=100
    )
    of_a = next(group for group in found.groups if group.group == "a")
    expected = cohen_kappa_score(truth[::2], decide_grade(probability[::2]), weights="quadratic")
    assert of_a.estimates["quadratic_kappa"].value == pytest.approx(expected)
