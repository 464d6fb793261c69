"""Operating points: the threshold of each yes-or-no question for a wanted sensitivity or specificity.

How a cut is chosen is in thresholds.py. Here the choice is made for every class of a classifier and repeated on every
resample of the patients: how far the cut itself moves, and what it gives to patients it was not chosen on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from medcnn.evaluation import metrics
from medcnn.evaluation.arrays import ONE_OF_SEVERAL, Bools, Floats, Ints, Kind
from medcnn.evaluation.checks import checked_probability, checked_truth
from medcnn.evaluation.intervals import NUM_RESAMPLES, Estimate, percentile_interval
from medcnn.evaluation.thresholds import (
    Threshold,
    balanced_threshold,
    rechosen,
    threshold_for_sensitivity,
    threshold_for_specificity,
)

Side = Literal["balanced", "sensitivity", "specificity"]


@dataclass(frozen=True)
class Goal:
    """What a cut is chosen for.

    side    balanced: the greatest balanced accuracy; sensitivity, specificity: the wanted share of it, at the best
            of the other
    wanted  share of the positives found, or of the negatives cleared, above 0 and at most 1; balanced has none
    """

    side: Side = "balanced"
    wanted: float | None = None

    def __post_init__(self) -> None:
        if self.side not in get_args(Side):
            raise ValueError(f"operating point: expected one of {', '.join(get_args(Side))}, got {self.side!r}")
        if self.side == "balanced" and self.wanted is not None:
            raise ValueError(f"operating point: balanced takes no wanted share, got {self.wanted}")
        if self.side != "balanced" and not (self.wanted is not None and 0 < self.wanted <= 1):
            raise ValueError(f"operating point: {self.side} needs a share above 0 and at most 1, got {self.wanted}")

    def __str__(self) -> str:
        return self.side if self.wanted is None else f"{self.side} {self.wanted:g}"


@dataclass(frozen=True)
class OperatingPoint:
    """A class's threshold, and what it gives.

    low, high   95 % interval of the threshold over resampled patients; both the threshold itself for a balanced one,
                whose choice is smoothed and not repeated
    estimates   sensitivity, specificity, balanced_accuracy on the cases it was chosen on, which flatter it
    unseen      sensitivity and specificity to expect of new patients: means over the resamples of a cut chosen on the
                patients drawn and measured on those left out. A little too low, if anything, since a resample holds
                only 63 % of the patients; empty for a balanced one
    note        why the goal cannot be told from these cases, or ""
    """

    class_name: str
    goal: Goal
    threshold: float
    low: float
    high: float
    estimates: Mapping[str, Estimate]
    unseen: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, for model.json and metrics.json."""
        return {
            "class": self.class_name,
            "for": self.goal.side,
            "wanted": self.goal.wanted,
            "threshold": self.threshold,
            "threshold_low": self.low,
            "threshold_high": self.high,
            "estimates": {name: one.as_json() for name, one in self.estimates.items()},
            "unseen": {name: value if np.isfinite(value) else None for name, value in self.unseen.items()},
            "note": self.note,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> OperatingPoint:
        """Back from model.json."""
        return cls(
            class_name=found["class"],
            goal=Goal(found["for"], found["wanted"]),
            threshold=float(found["threshold"]),
            low=float(found["threshold_low"]),
            high=float(found["threshold_high"]),
            estimates={name: Estimate.from_json(one) for name, one in found["estimates"].items()},
            unseen={name: float("nan") if value is None else value for name, value in found["unseen"].items()},
            note=found["note"],
        )


def operating_points(
    probability: Floats,
    truth: Floats | Ints,
    goal: Goal,
    *,
    kind: Kind,
    class_names: Sequence[str],
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> list[OperatingPoint]:
    """One per yes-or-no question: the last class of a binary classifier, every class of a multi-label one.

    probability (n, k), truth, patient as for evaluate_classification, of held-out cases. A class that all of its known
    cases have, or none, gets no point: there is nothing to choose by.
    Raises ValueError for multi-class and grades, where the most probable class or the median grade is decided.
    """
    if kind in ONE_OF_SEVERAL:
        raise ValueError("several classes that exclude each other have no threshold")
    probability = checked_probability(probability, kind, class_names)
    answers = checked_truth(truth, kind, probability)
    found = []
    for column in [1] if kind == "binary" else range(len(class_names)):
        positive = answers if kind == "binary" else answers[:, column]
        known = ~np.isnan(np.asarray(positive, dtype=np.float64))
        yes = np.asarray(positive)[known] == 1
        if yes.all() or not yes.any():
            continue
        whose = None if patient is None else [p for p, there in zip(patient, known, strict=True) if there]
        name = str(class_names[column])
        found.append(_point(name, goal, probability[known, column], yes, whose, seed, num_resamples))
    return found


def _point(
    name: str, goal: Goal, score: Floats, positive: Bools, patient: Sequence[str | None] | None, seed: int, num: int
) -> OperatingPoint:
    chosen = _choose(goal, score, positive, patient, seed, num)
    if goal.side == "balanced" or goal.wanted is None:
        return OperatingPoint(name, goal, chosen.threshold, chosen.threshold, chosen.threshold, chosen.estimates)
    cuts, left_out = rechosen(goal.side, goal.wanted, score, positive, patient=patient, seed=seed, num_resamples=num)
    low, high = percentile_interval(cuts)
    unseen = _unseen(cuts, left_out, score, positive)
    note = _too_fine(goal.side, goal.wanted, positive)
    return OperatingPoint(name, goal, chosen.threshold, float(low), float(high), chosen.estimates, unseen, note)


def _choose(
    goal: Goal, score: Floats, positive: Bools, patient: Sequence[str | None] | None, seed: int, num: int
) -> Threshold:
    if goal.side == "balanced" or goal.wanted is None:
        return balanced_threshold(score, positive, patient=patient, seed=seed, num_resamples=num)
    rule = threshold_for_sensitivity if goal.side == "sensitivity" else threshold_for_specificity
    return rule(goal.wanted, score, positive, patient=patient, seed=seed, num_resamples=num)


def _unseen(cuts: Floats, left_out: Bools, score: Floats, positive: Bools) -> dict[str, float]:
    """cuts (r,), left_out (r, n): each cut on the cases of the patients that its resample has not drawn."""
    rows = [
        (
            float(metrics.sensitivity(score[out] >= cut, positive[out])),
            float(metrics.specificity(score[out] >= cut, positive[out])),
        )
        for cut, out in zip(cuts, left_out, strict=True)
        if np.isfinite(cut)
    ]
    table = np.array(rows).reshape(-1, 2)
    means = [float(of[np.isfinite(of)].mean()) if np.isfinite(of).any() else float("nan") for of in table.T]
    return dict(zip(("sensitivity", "specificity"), means, strict=True))


def _too_fine(side: str, wanted: float, positive: Bools) -> str:
    """Of n cases none can show a share above 1 - 1/n but less than 1: the cut then lies beyond all of them."""
    num = int(positive.sum()) if side == "sensitivity" else int((~positive).sum())
    if wanted * num <= num - 1 + 1e-9:
        return ""
    which = "positive" if side == "sensitivity" else "negative"
    return f"{num} {which} cases cannot show a {side} of {wanted:g}: the cut lies beyond every one of them"
