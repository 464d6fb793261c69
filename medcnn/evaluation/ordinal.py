"""Ordered grades: how far off a decision is. The decision itself, the median grade, is in decisions.py."""

from __future__ import annotations

import numpy as np

from medcnn.evaluation.arrays import Floats, Ints, ratio
from medcnn.evaluation.metrics import share

#: What is measured of grades beside what is measured of classes, in this order.
GRADE_METRICS = ("quadratic_kappa", "kendall_tau", "mae_grades", "within_one")


def grade_metrics(decision: Ints, truth: Ints, num_grades: int, weights: Floats) -> dict[str, Floats]:
    """Each of GRADE_METRICS, (r,), for weights (r, n): how often each case counts.

    decision, truth (n,) grades from 0; mae_grades is the mean distance, within_one the share at most one grade off
    """
    off = np.abs(decision - truth)
    return {
        "quadratic_kappa": quadratic_kappa(decision, truth, num_grades, weights),
        "kendall_tau": kendall_tau(decision, truth, num_grades, weights),
        "mae_grades": ratio(weights @ off, weights.sum(axis=1)),
        "within_one": share(off <= 1, weights),
    }


def quadratic_kappa(decision: Ints, truth: Ints, num_grades: int, weights: Floats | None = None) -> Floats:
    """Cohen's kappa (1968) with squared distances: 1 - observed / expected squared error of grades, (r,) or ().

    1 is agreement, 0 chance; nan where neither varies. Only two moments of each are needed, no table.
    """
    weight = np.ones((1, len(truth))) if weights is None else np.atleast_2d(weights)
    a, b = decision.astype(np.float64), truth.astype(np.float64)
    if len(a) and max(a.max(), b.max()) >= num_grades:
        raise ValueError(f"grades: expected indices below {num_grades}")
    total = weight.sum(axis=1)
    mean_a, mean_b = ratio(weight @ a, total), ratio(weight @ b, total)
    observed = ratio(weight @ (a - b) ** 2, total)
    expected = ratio(weight @ a**2, total) + ratio(weight @ b**2, total) - 2 * mean_a * mean_b
    kappa = 1 - ratio(observed, np.where(expected > 1e-12, expected, 0))
    return kappa if weights is not None else kappa[0]


def kendall_tau(decision: Ints, truth: Ints, num_grades: int, weights: Floats | None = None) -> Floats:
    """Kendall's tau-b (1945) of decided and true grades, (r,) or (): of pairs that differ in both, how many agree.

    1 where the order is the same, 0 where it is chance; nan where either does not vary. A case's copies are ties.
    """
    weight = np.ones((1, len(truth))) if weights is None else np.atleast_2d(weights)
    cell = np.eye(num_grades**2)[truth * num_grades + decision]
    table = (weight @ cell).reshape(-1, num_grades, num_grades)  # (r, truth, decision)
    after = _after(table)
    concordant = (table * after).sum(axis=(1, 2))
    discordant = (table * _after(table[:, :, ::-1])[:, :, ::-1]).sum(axis=(1, 2))
    differ_in_truth, differ_in_decision = (_differing(table.sum(axis=axis)) for axis in (2, 1))
    tau = ratio(concordant - discordant, np.sqrt(differ_in_truth * differ_in_decision))
    return tau if weights is not None else tau[0]


def _after(table: Floats) -> Floats:
    """(r, k, k): the weight of the cells that are higher in both."""
    reached = table[:, ::-1, ::-1].cumsum(axis=1).cumsum(axis=2)[:, ::-1, ::-1]
    beyond = np.zeros_like(table)
    beyond[:, :-1, :-1] = reached[:, 1:, 1:]
    return beyond


def _differing(counts: Floats) -> Floats:
    """(r, k) weights of the grades -> (r,): the pairs of cases that are of two grades."""
    return np.asarray((counts.sum(axis=1) ** 2 - (counts**2).sum(axis=1)) / 2)
