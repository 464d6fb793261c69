"""Two ways of doing the same cases, compared pair by pair: difference, interval, tests, wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcnn.evaluation.arrays import Floats, ratio
from medcnn.evaluation.comparison import paired_bootstrap
from medcnn.evaluation.intervals import NUM_RESAMPLES, Estimate, Resamples
from medcnn.evaluation.patients import group_patients
from medcnn.evaluation.wilcoxon import signed_rank_p


@dataclass(frozen=True)
class Paired:
    """One measure of two runs on the same cases.

    mean_a, mean_b   over the pairs: cases where it is defined for both
    difference       mean of a - b, with the interval of the paired patient bootstrap
    bootstrap_p      two-sided, of no mean difference, from the same resamples
    wilcoxon_p       two-sided signed-rank test; a patient with several cases counts once, with the mean difference
    wins, losses, ties   pairs in which a is better, worse, equal
    num_undefined    cases left out, since the measure is undefined for one of the two, or both
    """

    mean_a: float
    mean_b: float
    difference: Estimate
    bootstrap_p: float
    wilcoxon_p: float
    wins: int
    losses: int
    ties: int
    num_undefined: int

    @property
    def num_pairs(self) -> int:
        return self.wins + self.losses + self.ties


def compare_paired(
    a: Floats,
    b: Floats,
    *,
    lower_is_better: bool,
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Paired:
    """Compare a with b (n,) each, one entry per case, nan where undefined.

    patient  whose each case is; None: every case stands for itself
    """
    both = np.isfinite(a) & np.isfinite(b)
    num_undefined = int((~both).sum())
    if not both.any():
        nan = float("nan")
        return Paired(nan, nan, Estimate(nan, nan, nan, 0), nan, nan, 0, 0, 0, num_undefined)
    a, b = a[both], b[both]
    whose = None if patient is None else [one for one, there in zip(patient, both, strict=True) if there]
    patients = group_patients(whose, len(a))
    resamples = Resamples(patients, np.zeros(patients.count, dtype=np.int64), seed, num_resamples)

    def means(weights: Floats) -> dict[str, Floats]:
        return {"a": ratio(weights @ a, weights.sum(axis=1)), "b": ratio(weights @ b, weights.sum(axis=1))}

    found = paired_bootstrap(means, resamples)
    better = (b - a) if lower_is_better else (a - b)
    per_patient = np.bincount(patients.of_case, weights=a - b) / np.bincount(patients.of_case)
    return Paired(
        mean_a=found.a,
        mean_b=found.b,
        difference=found.difference,
        bootstrap_p=found.p_value,
        wilcoxon_p=signed_rank_p(per_patient),
        wins=int((better > 0).sum()),
        losses=int((better < 0).sum()),
        ties=int((better == 0).sum()),
        num_undefined=num_undefined,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979) of a family of tests; nan stays nan and is not counted in the family."""
    adjusted = [float("nan")] * len(p_values)
    order = sorted((p, place) for place, p in enumerate(p_values) if np.isfinite(p))
    highest = 0.0
    for rank, (p, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        adjusted[place] = highest
    return adjusted
