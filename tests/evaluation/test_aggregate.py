"""Several images of one patient as one row, by hand."""

import numpy as np
import pytest

from medcnn.evaluation.aggregate import aggregate, aggregate_truth

ILL = np.array([0.2, 0.8, 0.5, 0.9])
BINARY = np.c_[1 - ILL, ILL]
PATIENT = ["b", "a", "b", "a"]


def test_rules_by_hand():
    def found(rule):
        rows = aggregate(BINARY, kind="binary", patient=PATIENT, rule=rule, class_names=["no", "yes"])
        return rows.probability[:, 1].tolist()

    odds = np.sqrt([0.25 * 1, 4 * 9])  # geometric means of the odds
    assert found("mean") == pytest.approx(odds / (1 + odds))
    assert found("max") == pytest.approx([0.5, 0.9])
    assert found("noisy_or") == pytest.approx([1 - 0.8 * 0.5, 1 - 0.2 * 0.1])


def test_rows_come_in_the_order_of_first_cases_and_a_case_without_patient_stays_alone():
    rows = aggregate(BINARY, kind="binary", patient=["b", None, "b", "a"], rule="max", class_names=["no", "yes"])
    assert rows.first_case.tolist() == [0, 1, 3]
    assert rows.num_images.tolist() == [2, 1, 1]
    alone = aggregate(BINARY, kind="binary", patient=None, rule="mean", class_names=["no", "yes"])
    assert alone.probability == pytest.approx(BINARY)


def test_several_classes_take_the_geometric_mean():
    given = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    rows = aggregate(given, kind="multiclass", patient=["a", "a"], rule="mean", class_names=["a", "b", "c"])
    shares = np.sqrt(given[0] * given[1])
    assert rows.probability[0] == pytest.approx(shares / shares.sum())


def test_a_certain_no_does_not_outvote_everything():
    given = np.array([[0.0], [0.99], [0.99], [0.99], [0.99], [0.99], [0.99], [0.99]])
    rows = aggregate(given, kind="multilabel", patient=["a"] * 8, rule="mean", class_names=["x"])
    assert 0.5 < rows.probability[0, 0] < 0.99


def test_truth_of_a_patient_is_what_any_image_shows():
    assert aggregate_truth(np.array([0, 1, 0, 0]), kind="binary", patient=["a", "a", "b", "b"]).tolist() == [1, 0]
    labels = np.array([[1, np.nan], [np.nan, 0], [0, np.nan], [0, 0]])
    found = aggregate_truth(labels, kind="multilabel", patient=["a", "a", "b", "b"])
    np.testing.assert_array_equal(found, [[1, np.nan], [0, np.nan]])


def test_one_patient_in_two_exclusive_classes_is_refused():
    with pytest.raises(ValueError, match="1 patients have images of several classes"):
        aggregate_truth(np.array([0, 2, 1]), kind="multiclass", patient=["a", "a", "b"])


@pytest.mark.parametrize("rule", ["max", "noisy_or"])
def test_yes_or_no_rules_are_not_for_exclusive_classes(rule):
    with pytest.raises(ValueError, match=f"{rule} is for yes-or-no questions"):
        aggregate(np.full((2, 3), 1 / 3), kind="multiclass", patient=["a", "a"], rule=rule, class_names=["a", "b", "c"])
