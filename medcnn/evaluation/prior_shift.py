"""Another prevalence than the model's: probabilities corrected in closed form (Saerens et al. 2002, equation 4).

Right where classes look the same at both places and are only more or less frequent there (label shift). A site where
the disease looks otherwise, or a scanner does, is not helped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medcnn.evaluation.arrays import ONE_OF_SEVERAL, Floats, Ints, Kind, ratio
from medcnn.evaluation.decisions import checked_thresholds

#: same_decisions: the thresholds move with the probabilities, so that every decision, and with it sensitivity and
#:                 specificity, stays as it was fitted; only what a probability says changes.
#: same_thresholds: the thresholds stay, so that fewer cases are decided positive where the disease is rarer: right
#:                 where a threshold was set as a probability worth acting on.
Follow = Literal["same_decisions", "same_thresholds"]


@dataclass(frozen=True)
class PriorShift:
    """From the prevalence that the probabilities were fitted at to the one the user states for the site.

    fitted, stated   (k,) shares of the classes, summing to 1 but for multi-label, where each is that of one class
    """

    kind: Kind
    fitted: tuple[float, ...]
    stated: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, shares in (("fitted", self.fitted), ("stated", self.stated)):
            if len(shares) != len(self.fitted) or not all(0 < share < 1 for share in shares):
                raise ValueError(
                    f"prevalence ({name}): expected {len(self.fitted)} shares above 0 and below 1, got {list(shares)}"
                )
            if self.kind != "multilabel" and abs(sum(shares) - 1) > 1e-3:
                raise ValueError(f"prevalence ({name}): the classes' shares must sum to 1, got {sum(shares):.4g}")

    def probability(self, probability: Floats) -> Floats:
        """(n, k) -> (n, k): weighted by stated / fitted and normalised; multi-label each class against its absence."""
        given, weight = np.asarray(probability, dtype=np.float64), np.array(self.stated) / np.array(self.fitted)
        if self.kind != "multilabel":
            weighted = given * weight
            return np.asarray(weighted / weighted.sum(axis=1, keepdims=True))
        absent = (1 - np.array(self.stated)) / (1 - np.array(self.fitted))
        return np.asarray(given * weight / (given * weight + (1 - given) * absent))

    def thresholds(self, thresholds: Sequence[float] | float | None, follow: Follow) -> list[float]:
        """The thresholds for shifted probabilities, one per yes-or-no question; [] for multi-class and grades.

        These decide the most probable class or the median grade, and so always follow the shifted probabilities.
        """
        if self.kind in ONE_OF_SEVERAL:
            return []
        given = checked_thresholds(thresholds, 1 if self.kind == "binary" else len(self.fitted))
        if follow == "same_thresholds":
            return [float(cut) for cut in given]
        if self.kind == "binary":
            moved = self.probability(np.stack([1 - given, given], axis=1))[:, 1]
        else:
            moved = self.probability(given[None])[0]
        return [float(cut) for cut in moved]


def stated_shares(stated: Sequence[float], *, kind: Kind, num_classes: int) -> tuple[float, ...]:
    """What a user writes as shares (k,): binary may state the positive class's alone. Raises ValueError."""
    given = tuple(float(share) for share in stated)
    if kind == "binary" and len(given) == 1:
        given = (1 - given[0], given[0])
    if len(given) != num_classes:
        more = ", or one, of the positive class" if kind == "binary" else ""
        raise ValueError(
            f"prevalence: expected {num_classes} shares in the order of the classes{more}, got {len(given)}"
        )
    return given


def observed_shares(truth: Floats | Ints, *, kind: Kind, num_classes: int) -> tuple[float, ...]:
    """Shares of the classes among labelled cases, (k,); multi-label each among its known labels, nan where none is.

    Of the cases that calibration was fitted on, these are the prevalence that the probabilities mean.
    """
    if kind == "multilabel":
        known = ~np.isnan(truth)
        return tuple(float(share) for share in ratio((truth == 1).sum(axis=0), known.sum(axis=0)))
    counts = np.bincount(np.asarray(truth, dtype=np.int64), minlength=num_classes)
    return tuple(float(share) for share in ratio(counts, counts.sum()))


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> tuple[float, float]:
    """Of those decided positive the share that is, and of those decided negative the share that is not (Bayes)."""
    positives = sensitivity * prevalence + (1 - specificity) * (1 - prevalence)
    hits, clears = sensitivity * prevalence, specificity * (1 - prevalence)
    return float(ratio(hits, positives)), float(ratio(clears, 1 - positives))
