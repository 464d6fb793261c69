"""Two regressions on the same cases, by their absolute errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcnn.evaluation.arrays import Floats
from medcnn.evaluation.intervals import NUM_RESAMPLES
from medcnn.evaluation.paired import Paired, compare_paired


@dataclass(frozen=True)
class ComparedErrors:
    """The absolute errors of two runs, case by case, in the unit of their number."""

    paired: Paired


def compare_errors(
    predicted_a: Floats,
    predicted_b: Floats,
    truth: Floats,
    *,
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> ComparedErrors:
    """predicted, truth (n,) of the same cases; the smaller error wins."""
    of_a, of_b = np.abs(predicted_a - truth), np.abs(predicted_b - truth)
    return ComparedErrors(
        compare_paired(of_a, of_b, lower_is_better=True, patient=patient, seed=seed, num_resamples=num_resamples)
    )
