"""Which cases fared worst: those whose truth the model gave the least probability."""

from __future__ import annotations

import numpy as np

from medcnn.evaluation.arrays import Floats, Ints, Kind


def probability_of_truth(probability: Floats, truth: Floats | Ints, kind: Kind) -> Floats:
    """(n,) what the model gave to what was true; multi-label: to the worst of the known labels, 1 where none is."""
    if kind != "multilabel":
        return np.asarray(probability[np.arange(len(truth)), np.asarray(truth, dtype=np.int64)], dtype=np.float64)
    given = np.where(truth == 1, probability, 1 - probability)
    return np.asarray(np.where(np.isnan(truth), 1.0, given).min(axis=1), dtype=np.float64)


def worst_first(probability: Floats, truth: Floats | Ints, kind: Kind) -> Ints:
    """(n,) indices of the cases, the worst first; equals keep their order."""
    return np.argsort(probability_of_truth(probability, truth, kind), kind="stable").astype(np.int64)
