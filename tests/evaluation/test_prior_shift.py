"""Prior shift against Bayes' rule on normal distributions, where every posterior is known."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from medcnn.evaluation.decisions import decide
from medcnn.evaluation.prior_shift import PriorShift, observed_shares, predictive_values, stated_shares

X = np.linspace(-3, 5, 41)


def posterior(shares):
    """Of classes with means 0, 2, 4 and a standard deviation of 1, at X."""
    weighted = np.stack([share * norm.pdf(X, 2 * k) for k, share in enumerate(shares)], axis=1)
    return weighted / weighted.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("kind", "fitted", "stated"),
    [("binary", (0.5, 0.5), (0.97, 0.03)), ("binary", (0.26, 0.74), (0.6, 0.4)),
     ("multiclass", (0.2, 0.3, 0.5), (0.7, 0.25, 0.05))],
)  # fmt: skip
def test_shifted_probabilities_are_the_posteriors_at_the_other_prevalence(kind, fitted, stated):
    shift = PriorShift(kind, fitted, stated)
    assert shift.probability(posterior(fitted)) == pytest.approx(posterior(stated))
    back = PriorShift(kind, stated, fitted).probability(posterior(stated))
    assert back == pytest.approx(posterior(fitted))


def test_each_label_shifts_by_itself():
    def of(share):
        return expit(2 * X - 2 + np.log(share / (1 - share)))  # normal at 0 against normal at 2

    shift = PriorShift("multilabel", (0.5, 0.1), (0.02, 0.1))
    found = shift.probability(np.c_[of(0.5), of(0.1)])
    assert found == pytest.approx(np.c_[of(0.02), of(0.1)])


def test_the_same_prevalence_changes_nothing_and_certainty_stays_certain():
    given = np.array([[1.0, 0.0], [0.0, 1.0], [0.3, 0.7]])
    assert PriorShift("binary", (0.4, 0.6), (0.4, 0.6)).probability(given) == pytest.approx(given)
    assert PriorShift("binary", (0.4, 0.6), (0.99, 0.01)).probability(given)[:2].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_thresholds_either_move_and_keep_every_decision_or_stay(kind):
    random = np.random.default_rng(0)
    ill = random.random((500, 2))
    given, cuts = (np.c_[1 - ill[:, 0], ill[:, 0]], [0.35]) if kind == "binary" else (ill, [0.35, 0.6])
    fitted, stated = ((0.6, 0.4), (0.95, 0.05)) if kind == "binary" else ((0.4, 0.2), (0.05, 0.5))
    shift = PriorShift(kind, fitted, stated)
    shifted = shift.probability(given)
    moved = shift.thresholds(cuts, "same_decisions")
    assert (decide(shifted, kind, moved) == decide(given, kind, cuts)).all()
    assert shift.thresholds(cuts, "same_thresholds") == cuts
    assert decide(shifted, kind, cuts).sum() != decide(given, kind, cuts).sum()


def test_several_classes_have_no_thresholds():
    shift = PriorShift("multiclass", (0.2, 0.3, 0.5), (0.7, 0.2, 0.1))
    assert shift.thresholds(None, "same_decisions") == []


def test_half_moves_to_the_prevalences_own_odds():
    """At equal costs a case is positive where it is likelier than not; seen from the fitted prevalence of one half."""
    assert PriorShift("binary", (0.5, 0.5), (0.9, 0.1)).thresholds(None, "same_decisions") == pytest.approx([0.1])


@pytest.mark.parametrize(
    ("kind", "shares", "message"),
    [("binary", (0.0, 1.0), "above 0 and below 1"), ("multiclass", (0.5, 0.4, 0.4), "must sum to 1, got 1.3"),
     ("multiclass", (0.5, 0.5), "expected 3 shares"), ("multilabel", (0.5, float("nan"), 0.1), "above 0 and below 1")],
)  # fmt: skip
def test_what_is_no_prevalence_is_refused(kind, shares, message):
    fitted = (0.5, 0.5) if kind == "binary" else (0.2, 0.3, 0.5)
    with pytest.raises(ValueError, match=message):
        PriorShift(kind, fitted, shares)


def test_a_user_may_state_the_positive_classs_share_alone():
    assert stated_shares([0.03], kind="binary", num_classes=2) == (0.97, 0.03)
    assert stated_shares([0.1, 0.9], kind="binary", num_classes=2) == (0.1, 0.9)
    with pytest.raises(ValueError, match="expected 3 shares in the order of the classes, got 1"):
        stated_shares([0.1], kind="multiclass", num_classes=3)


def test_shares_of_labelled_cases():
    assert observed_shares(np.array([0, 1, 1, 1]), kind="binary", num_classes=2) == (0.25, 0.75)
    truth = np.array([[1, np.nan], [0, np.nan], [np.nan, 1.0]])
    assert observed_shares(truth, kind="multilabel", num_classes=2) == (0.5, 1.0)


def test_predictive_values_by_counting():
    """1,000 people, 10 of them ill: 9 found, 99 false alarms."""
    found = predictive_values(0.9, 0.9, 0.01)
    assert found == pytest.approx((9 / 108, 891 / 892))
