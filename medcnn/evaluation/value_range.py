"""Split-conformal ranges around predicted numbers: they hold the truth with a stated chance (Vovk et al. 2005).

The half-width is the ceil((n + 1)(1 - error))-th smallest absolute error of n calibration patients, one case of each.
For a case of a new patient who is exchangeable with them, value - half_width to value + half_width holds the truth with
a chance of at least 1 - error, whatever the network; averaged over calibrations and patients, not for each patient, and
not at each size of the number: the range is equally wide everywhere.

With fewer patients than 1 / error - 1 there is no such rank. The largest error is taken then, which holds the truth
with a chance of n / (n + 1): less than what was wanted, and said so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medcnn.evaluation.arrays import Floats
from medcnn.evaluation.conformal import CLAIMABLE, least_cases, quantile
from medcnn.evaluation.patients import group_patients


@dataclass(frozen=True)
class RangeRule:
    """What makes ranges of values.

    half_width   in the quantity's unit
    error        share of the truths that the ranges may miss, as it was wanted, above 0 and below 1
    num_patients that it rests on (cases where no patient is known)
    fitted_on    the split they are from
    """

    half_width: float
    error: float
    num_patients: int
    fitted_on: str

    @property
    def is_short(self) -> bool:
        """Whether there were too few patients for what was wanted."""
        return self.num_patients < least_cases(self.error)

    @property
    def coverage(self) -> float:
        """The chance to hold the truth that is promised, where any is."""
        return self.num_patients / (self.num_patients + 1) if self.is_short else 1 - self.error

    @property
    def claims_coverage(self) -> bool:
        """False where the calibration cases also chose the model: the ranges are then a guide, without a promise."""
        return self.fitted_on in CLAIMABLE

    def words(self) -> str:
        """`90 % range`; a guess is called one."""
        share = f"{100 * self.coverage:.3g} % range"
        return share if self.claims_coverage else f"{share}, nothing promised"

    def notes(self) -> list[str]:
        """What a reader must know: too few calibration cases, a split that promises nothing."""
        found = []
        if self.is_short:
            found.append(
                f"ranges that miss {self.error:g} of the truths need {least_cases(self.error)} calibration patients, "
                f"got {self.num_patients}: the largest error among them was taken, which holds {self.coverage:.2f}"
            )
        if not self.claims_coverage:
            found.append(f"ranges were fitted on {self.fitted_on}, which chose the model: no coverage is claimed")
        return found

    def as_json(self) -> dict[str, Any]:
        """For model.json."""
        return {
            "half_width": self.half_width,
            "error": self.error,
            "num_patients": self.num_patients,
            "fitted_on": self.fitted_on,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> RangeRule:
        """Back from model.json."""
        return cls(
            float(found["half_width"]), float(found["error"]), int(found["num_patients"]), str(found["fitted_on"])
        )


def fit_range(
    predicted: Floats,
    truth: Floats,
    *,
    error: float,
    fitted_on: str,
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
) -> RangeRule | None:
    """predicted, truth (n,) of held-out cases, finite; None where there is no case.

    Of a patient with several cases one is drawn, since only one row per patient is exchangeable.
    """
    if not 0 < error < 1:
        raise ValueError(f"ranges: error must lie above 0 and below 1, got {error}")
    errors = np.abs(np.asarray(predicted, np.float64) - np.asarray(truth, np.float64))
    if not len(errors):
        return None
    order = np.random.default_rng(seed).permutation(len(errors))
    _, first = np.unique(group_patients(patient, len(errors)).of_case[order], return_index=True)
    drawn = errors[order[first]]
    wanted = quantile(drawn, error)
    return RangeRule(float(wanted if np.isfinite(wanted) else drawn.max()), error, len(drawn), fitted_on)
