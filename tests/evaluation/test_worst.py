import numpy as np

from medcnn.evaluation.worst import probability_of_truth, worst_first


def test_the_surest_mistake_comes_first():
    probability = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert worst_first(probability, np.array([0, 0, 1]), "binary").tolist() == [1, 2, 0]


def test_multilabel_counts_the_worst_known_label():
    probability = np.array([[0.9, 0.3], [0.5, 0.5], [0.1, 0.1]])
    truth = np.array([[1, 1], [np.nan, 0], [np.nan, np.nan]])
    assert probability_of_truth(probability, truth, "multilabel").tolist() == [0.3, 0.5, 1.0]
