import numpy as np
import pytest

from medcnn.evaluation.decisions import decide


def test_a_binary_score_at_the_threshold_is_positive():
    probability = np.array([[0.7, 0.3], [0.6, 0.4], [0.1, 0.9]])
    assert decide(probability, "binary", 0.4).tolist() == [0, 1, 1]
    assert decide(probability, "binary").tolist() == [0, 0, 1]
    assert decide(probability, "binary", [0.95]).tolist() == [0, 0, 0]


def test_multiclass_takes_the_most_probable_and_the_first_of_equals():
    probability = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
    assert decide(probability, "multiclass").tolist() == [1, 0]
    assert decide(probability, "multiclass", [0.9, 0.9, 0.1]).tolist() == [1, 0]


def test_multilabel_has_a_threshold_per_class():
    probability = np.array([[0.5, 0.5], [0.2, 0.9]])
    assert decide(probability, "multilabel", [0.5, 0.6]).tolist() == [[1, 0], [0, 1]]
    assert decide(probability, "multilabel", 0.1).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("wrong", [[0.5, 0.5, 0.5], [float("nan"), 0.5]])
def test_thresholds_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match="expected 2 finite numbers"):
        decide(np.zeros((1, 2)), "multilabel", wrong)
