"""Which cases to look at: the best, the middle and the worst by mean Dice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medcnn.evaluation.segmentation.scores import CaseScores


def worst_cases(cases: Sequence[CaseScores], most: int) -> list[int]:
    """Indices of the cases of lowest mean Dice, the worst first; equals keep their order, undefined ones stay out."""
    return _ascending(cases)[:most]


def best_median_worst(cases: Sequence[CaseScores], *, each: int = 1) -> dict[str, list[int]]:
    """`best`, `median`, `worst` -> indices of cases, `each` at most; no case twice, so few cases fill the ends first.

    The worst begins with the worst, the best with the best.
    """
    order = _ascending(cases)
    worst = order[: min(each, len(order))]
    left = order[len(worst) :]
    best = left[::-1][:each]
    left = left[: len(left) - len(best)]
    middle = (len(order) - 1) / 2 - len(worst)  # where the median of all lies among those left
    near = sorted(range(len(left)), key=lambda place: (abs(place - middle), place))[:each]
    return {"best": best, "median": [left[place] for place in sorted(near)], "worst": worst}


def _ascending(cases: Sequence[CaseScores]) -> list[int]:
    score = np.array([case.mean_dice for case in cases], dtype=np.float64)
    order = np.argsort(score, kind="stable")
    return [int(index) for index in order if np.isfinite(score[index])]
