"""The whole evaluation of each kind: values against scikit-learn, intervals, notes, and what is refused."""

import json
import time

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics as oracle

from medcnn.evaluation.classification import evaluate_classification
from medcnn.evaluation.questions import METRICS


def binary(n=300, seed=0, shift=2.0):
    random = np.random.default_rng(seed)
    truth = (random.random(n) < 0.4).astype(int)
    p = expit(random.normal(size=n) + shift * (truth - 0.5))
    return np.c_[1 - p, p], truth


def measured(*arguments, kind="binary", class_names=("normal", "pneumonia"), num_resamples=200, **options):
    return evaluate_classification(
        *arguments, kind=kind, class_names=class_names, num_resamples=num_resamples, **options
    )


def test_binary_values_equal_scikit_learn_at_the_threshold():
    probability, truth = binary()
    found = measured(probability, truth, thresholds=0.3)
    p = probability[:, 1]
    decided = p >= 0.3
    expected = {
        "auroc": oracle.roc_auc_score(truth, p),
        "average_precision": oracle.average_precision_score(truth, p),
        "accuracy": oracle.accuracy_score(truth, decided),
        "balanced_accuracy": oracle.balanced_accuracy_score(truth, decided),
        "sensitivity": oracle.recall_score(truth, decided),
        "specificity": oracle.recall_score(truth, decided, pos_label=0),
        "f1": oracle.f1_score(truth, decided),
        "brier": oracle.brier_score_loss(truth, p),
        "log_loss": oracle.log_loss(truth, p),
    }
    assert list(found.estimates) == list(METRICS)
    for name, value in expected.items():
        assert found.estimates[name].value == pytest.approx(value), name
    for name, one in found.estimates.items():
        assert one.low < one.high, name
        assert one.low <= one.value <= one.high or name == "ece", name  # resampling biases calibration errors upwards
    assert (found.confusion == oracle.confusion_matrix(truth, decided)).all()
    assert (found.estimates["sensitivity"].n, found.estimates["specificity"].n) == (truth.sum(), (1 - truth).sum())
    assert found.thresholds == (0.3,)


def test_multiclass_values_equal_scikit_learn():
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 200)
    probability = softmax(random.normal(size=(200, 3)) + 1.5 * np.eye(3)[truth], axis=1)
    decision = probability.argmax(axis=1)
    found = measured(probability, truth, kind="multiclass", class_names="abc")
    expected = {
        "auroc": oracle.roc_auc_score(truth, probability, multi_class="ovr"),
        "average_precision": oracle.average_precision_score(np.eye(3)[truth], probability),
        "accuracy": oracle.accuracy_score(truth, decision),
        "balanced_accuracy": oracle.balanced_accuracy_score(truth, decision),
        "f1": oracle.f1_score(truth, decision, average="macro"),
        "brier": oracle.brier_score_loss(truth, probability),
        "log_loss": oracle.log_loss(truth, probability),
        "auroc.b": oracle.roc_auc_score(truth == 1, probability[:, 1]),
        "sensitivity.c": oracle.recall_score(truth, decision, average=None)[2],
    }
    for name, value in expected.items():
        assert found.estimates[name].value == pytest.approx(value), name
    assert (found.confusion == oracle.confusion_matrix(truth, decision)).all()
    assert (list(found.roc), list(found.reliability), found.thresholds) == (["a", "b", "c"], ["top"], ())


def test_multilabel_leaves_missing_labels_out_class_by_class():
    random = np.random.default_rng(0)
    truth = (random.random((250, 3)) < [0.5, 0.3, 0.2]).astype(float)
    probability = expit(random.normal(size=truth.shape) + 2 * truth - 1)
    truth[random.random(truth.shape) < 0.2] = np.nan
    found = measured(probability, truth, kind="multilabel", class_names="abc", thresholds=[0.5, 0.4, 0.6])
    areas = []
    for column, (name, threshold) in enumerate(zip("abc", [0.5, 0.4, 0.6], strict=True)):
        known = ~np.isnan(truth[:, column])
        y, p = truth[known, column], probability[known, column]
        areas.append(oracle.roc_auc_score(y, p))
        assert found.estimates[f"auroc.{name}"].value == pytest.approx(areas[-1])
        assert found.estimates[f"auroc.{name}"].n == known.sum()
        assert found.estimates[f"f1.{name}"].value == pytest.approx(oracle.f1_score(y, p >= threshold))
        assert (found.confusion[column] == oracle.confusion_matrix(y, p >= threshold)).all()
    assert found.estimates["auroc"].value == pytest.approx(np.mean(areas))


@pytest.mark.filterwarnings("error")
def test_a_class_that_never_occurs_is_undefined_and_leaves_the_mean_of_the_others():
    probability, truth = binary()
    wide = np.c_[probability * 0.9, np.full(len(truth), 0.1)]
    found = measured(wide, truth, kind="multiclass", class_names="abc")
    assert not found.estimates["auroc.c"].defined
    both = [found.estimates[f"auroc.{c}"].value for c in "ab"]
    assert found.estimates["auroc"].value == pytest.approx(np.mean(both))
    assert "no case with c: what needs one is undefined" in found.notes


@pytest.mark.filterwarnings("error")
def test_one_class_alone_gives_what_is_defined_and_says_what_is_not():
    found = measured(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0]))
    assert not found.estimates["auroc"].defined
    assert not found.estimates["sensitivity"].defined
    assert found.estimates["specificity"].value == 0.5
    assert any("no case with pneumonia" in note for note in found.notes)
    json.dumps(found.as_json(), allow_nan=False)


def test_a_perfect_split_gets_exact_intervals_over_patients():
    truth = np.repeat([0, 1], [12, 20])
    probability = np.c_[1 - truth, truth].astype(float)
    names = [f"p{i // 2}" for i in range(32)]  # 6 and 10 patients
    found = measured(probability, truth, patient=names)
    assert found.estimates["sensitivity"].value == 1
    assert found.estimates["sensitivity"].low == pytest.approx(0.025 ** (1 / 10))
    assert found.estimates["specificity"].low == pytest.approx(0.025 ** (1 / 6))
    assert any("exact binomial" in note for note in found.notes)
    assert any(note.startswith("auroc") and "not certainty" in note for note in found.notes)


def test_patients_are_named_only_by_their_number():
    probability, truth = binary(80)
    names = [f"Meier-{i // 2}" for i in range(80)]
    found = measured(probability, truth, patient=names)
    assert (found.unit, found.num_patients, found.estimates["auroc"].unit) == ("patient", 40, "patient")
    assert "Meier" not in repr(found)


def test_without_patients_the_result_says_so():
    found = measured(*binary())
    assert found.unit == "case"
    assert any("no patient_id: intervals are per case" in note for note in found.notes)


def test_few_positive_patients_are_noted():
    probability, truth = binary(200)
    truth[:] = 0
    truth[:5] = 1
    found = measured(probability, truth, patient=["one", "one", *(f"p{i}" for i in range(198))])
    assert "only 4 patients with pneumonia: intervals are wide, and themselves uncertain" in found.notes


def test_equal_seeds_give_equal_results_and_other_seeds_other_intervals():
    probability, truth = binary()
    one, again, other = (measured(probability, truth, seed=seed).as_json() for seed in (3, 3, 4))
    assert one == again
    assert one["auroc"]["low"] != other["auroc"]["low"]
    assert one["auroc"]["value"] == other["auroc"]["value"]


def test_relabelling_swaps_sensitivity_and_specificity():
    probability, truth = binary()
    found, swapped = measured(probability, truth), measured(probability[:, ::-1], 1 - truth)
    assert found.estimates["sensitivity"].value == pytest.approx(swapped.estimates["specificity"].value)
    assert found.estimates["auroc"].value == pytest.approx(swapped.estimates["auroc"].value)


def test_bands_hold_the_curve_nearly_everywhere():
    probability, truth = binary()
    curve = measured(probability, truth, num_resamples=500).roc["pneumonia"]
    on_grid = np.interp(curve.band.x, curve.false_positive_rate, curve.true_positive_rate)
    assert np.mean((curve.band.low <= on_grid + 1e-9) & (on_grid <= curve.band.high + 1e-9)) > 0.95


def test_2000_resamples_of_624_cases_take_less_than_3_seconds_of_one_core():
    probability, truth = binary(624)
    start = time.process_time()
    measured(probability, truth, num_resamples=2000)
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("probability", "truth", "kind", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0), "binary", "a case at least"),
        (np.full((2, 3), 1 / 3), [0, 1], "binary", r"\(cases, 2\)"),
        (np.full((2, 2), 0.9), [0, 1], "binary", "differs from a sum of 1 by 0.8"),
        (np.array([[2.0, -1.0]]), [1], "binary", "Are these logits"),
        (np.array([[np.nan, 0.5], [0.5, 0.5]]), [1, 0], "binary", "1 of 2 cases hold nan"),
        (np.full((2, 2), 0.5), [0, 2], "binary", "1 labels are none of"),
        (np.full((2, 2), 0.5), [0, np.nan], "binary", "1 labels are none of"),
        (np.full((2, 2), 0.5), [[0, 1]], "binary", r"expected shape \(2,\)"),
        (np.full((2, 2), 0.5), [0, 1], "multilabel", r"expected shape \(2, 2\)"),
        (np.full((1, 2), 0.5), [[0, 0.5]], "multilabel", "1 labels are none of"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(probability, truth, kind, message):
    with pytest.raises(ValueError, match=message):
        measured(probability, np.array(truth), kind=kind)
