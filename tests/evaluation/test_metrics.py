"""Metrics against closed forms and, on random cases with ties, weights and missing classes, against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from medcnn.evaluation import metrics


@st.composite
def cases(draw):
    """Scores with many ties, both classes present, and how often each case counts."""
    n = draw(st.integers(4, 40))
    score = np.array(draw(st.lists(st.integers(0, 10), min_size=n, max_size=n))) / 10
    positive = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    positive[:2] = [True, False]
    weights = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=float)
    weights[:2] = np.maximum(weights[:2], 1)
    return score, positive, weights


@settings(max_examples=60, deadline=None)
@given(cases())
def test_binary_metrics_equal_scikit_learn_with_ties_and_weights(case):
    score, positive, weights = case
    decided = score >= 0.5
    expected = {
        metrics.auroc: oracle.roc_auc_score(positive, score, sample_weight=weights),
        metrics.average_precision: oracle.average_precision_score(positive, score, sample_weight=weights),
        metrics.brier: oracle.brier_score_loss(positive, score, sample_weight=weights),
    }
    for metric, value in expected.items():
        assert float(metric(score, positive, weights)) == pytest.approx(value, abs=1e-12), metric.__name__
    at_threshold = {
        metrics.sensitivity: oracle.recall_score(positive, decided, sample_weight=weights),
        metrics.specificity: oracle.recall_score(~positive, ~decided, sample_weight=weights),
        metrics.balanced_accuracy: oracle.balanced_accuracy_score(positive, decided, sample_weight=weights),
        metrics.f1: oracle.f1_score(positive, decided, sample_weight=weights),
    }
    for metric, value in at_threshold.items():
        assert float(metric(decided, positive, weights)) == pytest.approx(value, abs=1e-12), metric.__name__
    assert float(metrics.accuracy(decided == positive, weights)) == pytest.approx(
        oracle.accuracy_score(positive, decided, sample_weight=weights)
    )


@settings(max_examples=30, deadline=None)
@given(cases())
def test_a_row_of_weights_is_the_same_as_repeating_cases(case):
    score, positive, weights = case
    repeated = np.repeat(np.arange(len(score)), weights.astype(int))
    block = np.stack([np.ones(len(score)), weights])
    for metric in (metrics.auroc, metrics.average_precision, metrics.brier, metrics.calibration_error):
        found = metric(score, positive, block)
        assert found.shape == (2,)
        assert found[0] == pytest.approx(float(metric(score, positive)))
        assert found[1] == pytest.approx(float(metric(score[repeated], positive[repeated])))


@settings(max_examples=30, deadline=None)
@given(cases())
def test_auroc_mirrors_when_scores_or_classes_are_swapped_and_ignores_monotone_maps(case):
    score, positive, _ = case
    auroc = float(metrics.auroc(score, positive))
    assert float(metrics.auroc(-score, positive)) == pytest.approx(1 - auroc)
    assert float(metrics.auroc(score, ~positive)) == pytest.approx(1 - auroc)
    assert float(metrics.auroc(np.exp(3 * score), positive)) == pytest.approx(auroc)


def test_auroc_of_a_hand_counted_example():
    score, positive = np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False])
    assert float(metrics.auroc(score, positive)) == (1 + 1 + 0.5 + 1) / 4  # four pairs, one tied


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("only", [True, False])
def test_one_class_alone_is_undefined_without_a_warning(only):
    score, positive = np.array([0.2, 0.7]), np.array([only, only])
    assert np.isnan(metrics.auroc(score, positive))
    assert np.isnan(metrics.average_precision(score, positive))
    assert np.isnan(metrics.balanced_accuracy(score > 0.5, positive))


@pytest.mark.filterwarnings("error")
def test_no_case_is_undefined_without_a_warning():
    none, nothing = np.zeros(0), np.zeros(0, dtype=bool)
    found = [metrics.auroc(none, nothing), metrics.brier(none, nothing), metrics.f1(nothing, nothing)]
    assert np.isnan([float(one) for one in found]).all()
    assert np.isnan(metrics.auroc(none, nothing, np.zeros((3, 0)))).all()


def test_multiclass_metrics_equal_scikit_learn():
    random = np.random.default_rng(1)
    probability = random.dirichlet([1, 1, 1], 200)
    truth = random.integers(0, 3, 200)
    decision = probability.argmax(axis=1)
    recall = metrics.recall_per_class(decision, truth, 3)
    assert recall == pytest.approx(oracle.recall_score(truth, decision, average=None))
    assert recall.mean() == pytest.approx(oracle.balanced_accuracy_score(truth, decision))
    assert float(metrics.log_loss(probability[np.arange(200), truth])) == pytest.approx(
        oracle.log_loss(truth, probability)
    )
    assert float(metrics.brier_multiclass(probability, truth)) == pytest.approx(
        oracle.brier_score_loss(truth, probability)
    )
    one_vs_rest = np.array([float(metrics.auroc(probability[:, c], truth == c)) for c in range(3)])
    assert one_vs_rest.mean() == pytest.approx(
        oracle.roc_auc_score(truth, probability, multi_class="ovr", average="macro")
    )


def test_log_loss_of_a_certain_mistake_is_finite():
    assert float(metrics.log_loss(np.array([0.0]))) == pytest.approx(-np.log(np.finfo(float).eps))


@pytest.mark.parametrize(("claimed", "observed", "error"), [(0.8, 0.8, 0.0), (0.9, 0.6, 0.3), (1.0, 0.5, 0.5)])
def test_calibration_error_of_one_bin_is_the_gap(claimed, observed, error):
    happened = np.arange(100) < 100 * observed
    assert float(metrics.calibration_error(np.full(100, claimed), happened)) == pytest.approx(error)


def test_calibration_error_weighs_bins_by_their_cases_and_lets_no_gap_cancel_another():
    probability = np.r_[np.full(30, 0.9), np.full(10, 0.1)]
    happened = np.r_[np.ones(30, bool), np.zeros(10, bool)]  # 0.1 too low in one bin, 0.1 too high in the other
    assert float(metrics.calibration_error(probability, happened)) == pytest.approx(0.1)


def test_bins_hold_their_lower_edge_and_the_last_one_both():
    assert metrics.bin_index(np.array([0.0, 0.2, 0.3999, 0.4, 1.0]), 5).tolist() == [0, 1, 1, 2, 4]


def test_macro_takes_only_counted_classes_and_keeps_undefined_resamples_undefined():
    per_class = np.array([[0.5, 1.0, np.nan], [np.nan, 1.0, np.nan]])
    found = metrics.macro(per_class, np.array([True, True, False]))
    assert found[0] == 0.75
    assert np.isnan(found[1])
    assert np.isnan(metrics.macro(per_class, np.zeros(3, bool))).all()
