"""From probabilities to decisions: the rule that evaluation and prediction share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medcnn.evaluation.arrays import Floats, Ints, Kind

DEFAULT_THRESHOLD = 0.5


def decide(probability: Floats, kind: Kind, thresholds: Sequence[float] | float | None = None) -> Ints:
    """What is decided for each case.

    binary      (n,) 1 where the last column >= the threshold, else 0
    multiclass  (n,) the most probable class, the first of equals; thresholds play no part
    ordinal     (n,) the median grade; thresholds play no part
    multilabel  (n, k) 1 where a class's probability >= its threshold
    """
    if kind == "multiclass":
        return np.asarray(probability.argmax(axis=1), dtype=np.int64)
    if kind == "ordinal":
        return decide_grade(probability)
    columns = probability[:, -1:] if kind == "binary" else probability
    decided = (columns >= checked_thresholds(thresholds, columns.shape[1])).astype(np.int64)
    return decided[:, 0] if kind == "binary" else decided


def decide_grade(probability: Floats) -> Ints:
    """(n, k) -> (n,): the median grade, the lowest with at least half of the probability at or below it.

    It is the decision of least expected error in grades, and CORAL's own (Cao et al. 2020): how many "above grade j"
    exceed one half.
    """
    cumulative = np.cumsum(probability, axis=1)
    return np.asarray((cumulative[:, :-1] < 0.5 - 1e-12).sum(axis=1), dtype=np.int64)


def checked_thresholds(thresholds: Sequence[float] | float | None, num_columns: int) -> Floats:
    """(columns,) one threshold per yes-or-no question; one number serves all, None means 0.5."""
    given = np.atleast_1d(np.asarray(DEFAULT_THRESHOLD if thresholds is None else thresholds, dtype=np.float64))
    if given.shape == (1,):
        given = np.repeat(given, num_columns)
    if given.shape != (num_columns,) or not np.isfinite(given).all():
        raise ValueError(f"thresholds: expected {num_columns} finite numbers, got {given.tolist()}")
    return given
