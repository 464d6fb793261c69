import numpy as np
import pytest

from medcnn.evaluation.patients import group_patients, patient_class


def test_equal_names_are_one_patient_and_unnamed_cases_stand_alone():
    patients = group_patients(["a", "b", "a", "", None, float("nan")], 6)
    assert patients.of_case.tolist() == [0, 1, 0, 2, 3, 4]
    assert (patients.unit, patients.count, patients.num_unnamed) == ("patient", 5, 3)
    assert not patients.one_case_each


@pytest.mark.parametrize("nobody", [None, ["", None, ""]])
def test_no_patient_at_all_means_per_case(nobody):
    patients = group_patients(nobody, 3)
    assert (patients.unit, patients.count, patients.one_case_each) == ("case", 3, True)


def test_a_list_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 entries for 3 cases"):
        group_patients(["a", "b"], 3)


def test_names_are_not_kept():
    assert "Meier" not in repr(vars(group_patients(["Meier", "Meier"], 2)))


def test_patients_having_counts_each_once():
    patients = group_patients(["a", "a", "b", "c"], 4)
    assert patients.having(np.array([True, True, True, False])) == 2


def test_binary_patient_is_positive_if_any_case_is():
    patients = group_patients(["a", "a", "b", "b"], 4)
    assert patient_class(np.array([0, 1, 0, 0]), patients, "binary").tolist() == [1, 0]


def test_multiclass_patient_has_the_most_frequent_class():
    patients = group_patients(["a", "a", "a", "b", "b"], 5)
    assert patient_class(np.array([2, 2, 0, 1, 0]), patients, "multiclass").tolist() == [2, 0]


def test_multilabel_patient_is_of_its_rarest_finding():
    patients = group_patients(["a", "a", "b", "c", "d"], 5)
    truth = np.array([[1, 0], [0, 1], [1, 0], [1, 0], [0, np.nan]], dtype=float)
    assert patient_class(truth, patients, "multilabel").tolist() == [2, 1, 1, 0]
