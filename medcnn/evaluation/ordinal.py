"""Ordered grades: a decision that respects their order, and how far off it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcnn.evaluation.arrays import Floats, Ints, ratio
from medcnn.evaluation.checks import checked_probability, checked_truth
from medcnn.evaluation.classification import crossed
from medcnn.evaluation.intervals import NUM_RESAMPLES, Estimate, Resamples, bootstrap, estimate
from medcnn.evaluation.metrics import share
from medcnn.evaluation.patients import Unit, group_patients, patient_class


@dataclass(frozen=True, eq=False)
class OrdinalResult:
    """What was measured on one split, beside what evaluate_classification says of the grades as classes.

    estimates   quadratic_kappa, mae_grades, within_one (share at most one grade off), exact_grade
    confusion   (k, k) cases, truth along rows, the decided grade along columns
    """

    class_names: tuple[str, ...]
    estimates: dict[str, Estimate]
    confusion: Ints
    num_cases: int
    num_patients: int
    unit: Unit

    def as_json(self) -> dict[str, dict[str, float | int | str | None]]:
        """For metrics.json, beside the split's other metrics."""
        return {name: one.as_json() for name, one in self.estimates.items()}


def decide_grade(probability: Floats) -> Ints:
    """(n, k) -> (n,): the median grade, the lowest with at least half of the probability at or below it.

    It is the decision of least expected error in grades, and CORAL's own: how many "above grade j" exceed one half.
    """
    cumulative = np.cumsum(probability, axis=1)
    return np.asarray((cumulative[:, :-1] < 0.5 - 1e-12).sum(axis=1), dtype=np.int64)


def quadratic_kappa(decision: Ints, truth: Ints, num_classes: int, weights: Floats | None = None) -> Floats:
    """Cohen's kappa (1968) with squared distances: 1 - observed / expected squared error of grades, (r,) or ().

    1 is agreement, 0 chance; nan where neither varies. Only two moments of each are needed, no table.
    """
    weight = np.ones((1, len(truth))) if weights is None else np.atleast_2d(weights)
    a, b = decision.astype(np.float64), truth.astype(np.float64)
    if len(a) and max(a.max(), b.max()) >= num_classes:
        raise ValueError(f"grades: expected indices below {num_classes}")
    total = weight.sum(axis=1)
    mean_a, mean_b = ratio(weight @ a, total), ratio(weight @ b, total)
    observed = ratio(weight @ (a - b) ** 2, total)
    expected = ratio(weight @ a**2, total) + ratio(weight @ b**2, total) - 2 * mean_a * mean_b
    kappa = 1 - ratio(observed, np.where(expected > 1e-12, expected, 0))
    return kappa if weights is not None else kappa[0]


def evaluate_ordinal(
    probability: Floats,
    truth: Ints,
    *,
    class_names: Sequence[str],
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> OrdinalResult:
    """probability (n, k) of the grades in their order, truth (n,) index; intervals over patients."""
    probability = checked_probability(probability, "multiclass", class_names)
    answers = np.asarray(checked_truth(truth, "multiclass", probability), dtype=np.int64)
    decision, k = decide_grade(probability), len(class_names)
    patients = group_patients(patient, len(answers))
    off = np.abs(decision - answers)

    def statistic(weights: Floats) -> dict[str, Floats]:
        return {
            "quadratic_kappa": quadratic_kappa(decision, answers, k, weights),
            "mae_grades": ratio(weights @ off, weights.sum(axis=1)),
            "within_one": share(off <= 1, weights),
            "exact_grade": share(off == 0, weights),
        }

    strata = patient_class(answers, patients, "multiclass")
    found = bootstrap(statistic, Resamples(patients, strata, seed, num_resamples))
    estimates = {
        name: estimate(float(value), found.sample[name], n=len(answers), unit=patients.unit)
        for name, value in found.value.items()
    }
    names = tuple(str(name) for name in class_names)
    return OrdinalResult(names, estimates, crossed(answers, decision, k), len(answers), patients.count, patients.unit)
