"""Integrated gradients (Sundararajan et al. 2017): how much each pixel adds to a class's logit on the way from a blank
scan to the scan. All pixels together add what the logit grows by, and whether the sum comes out is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medcnn.explain.heat import Heat, Image, blank, relative
from medcnn.inference.questions import questions, together

BASELINE = "darkest"  # the blank scan, as in heat.blank: black everywhere
TOLERANCE = 0.05
MOST_INTERVALS = 240
_FIRST_INTERVALS = 15  # doubled until the sum comes out
_LEAST_GROWTH = 0.1  # of all that pixels add and take: below, the logit hardly changes and no share of it is exact


@dataclass(frozen=True)
class Completeness:
    """Whether the pixels of one scan add up.

    intervals  of the way, at whose ends slopes were taken
    growth     the logit of the scan less that of the blank scan
    gap        between growth and what the pixels add together, as a share of growth
    """

    intervals: int
    growth: float
    gap: float

    def holds(self, tolerance: float = TOLERANCE) -> bool:
        """Within the tolerance."""
        return self.gap <= tolerance

    def words(self) -> str:
        """For a caption or a flag."""
        share = f"the pixels' shares differ from the answer's growth by {self.gap:.1%} after {self.intervals} steps"
        return share if self.holds() else f"{share}, more than {TOLERANCE:.0%}: the map is not exact"


def integrated_gradients(
    network: nn.Module, images: Image, class_indices: Sequence[int]
) -> tuple[Heat, list[Completeness]]:
    """images (n, C, *size) and the class to explain of each -> (n, *size), 0 to 1: what adds to the logit, its channels
    summed; and whether each scan's pixels add up.
    """
    heats, checks = [], []
    for image, index in zip(images, class_indices, strict=True):
        added, check = attributions(network, image, index)
        heats.append(added.sum(axis=0))
        checks.append(check)
    return relative(np.stack(heats)), checks


def attributions(
    network: nn.Module,
    image: Image,
    class_index: int,
    *,
    baseline: str = BASELINE,
    tolerance: float = TOLERANCE,
    most_intervals: int = MOST_INTERVALS,
) -> tuple[npt.NDArray[np.float64], Completeness]:
    """image (C, *size) -> what each pixel adds to the logit (C, *size), and whether that adds up.

    The trapezium rule, its intervals halved until the sum comes out: earlier slopes are kept.
    """
    way = _Way(network, image, blank(image[None], baseline)[0], class_index)
    (start, at_start), (end, at_end) = way.slopes([0.0])[:2], way.slopes([1.0])[:2]
    intervals, growth = _FIRST_INTERVALS, at_end - at_start
    total = (start + end) / 2 + way.slopes([n / intervals for n in range(1, intervals)])[0]
    while True:
        added = (total / intervals) * way.difference
        check = _check(added, intervals, growth)
        if check.holds(tolerance) or 2 * intervals > most_intervals:
            return added, check
        total += way.slopes([(n + 0.5) / intervals for n in range(intervals)])[0]
        intervals *= 2


def _check(added: npt.NDArray[np.float64], intervals: int, growth: float) -> Completeness:
    scale = max(abs(growth), _LEAST_GROWTH * float(np.abs(added).sum()))
    gap = abs(float(added.sum()) - growth)
    return Completeness(intervals, growth, gap / scale if scale > 0 else 0.0)


class _Way:
    """From the blank scan to the scan, in a straight line."""

    def __init__(self, network: nn.Module, image: Image, empty: Image, class_index: int) -> None:
        self.network, self.empty, self.class_index = network, empty.astype(np.float64), class_index
        self.device = next(network.parameters()).device
        self.difference = image.astype(np.float64) - self.empty

    def slopes(self, places: Sequence[float]) -> tuple[npt.NDArray[np.float64], float]:
        """The sum of the logit's slopes at these places from 0 to 1, (C, *size), and the logit at the last."""
        total, logit = np.zeros(self.difference.shape), 0.0
        most = together(self.difference.shape[1:], self.device)
        for start in range(0, len(places), most):
            points = [self.empty + place * self.difference for place in places[start : start + most]]
            ((question, count),) = questions(np.stack(points).astype(np.float32), self.device)
            batch = torch.from_numpy(question).to(self.device).requires_grad_()
            with torch.enable_grad():
                logits = self.network(batch)[:, self.class_index]
                (slope,) = torch.autograd.grad(logits.sum(), batch)
            total += slope[:count].double().sum(dim=0).cpu().numpy()
            logit = float(logits[count - 1].detach())
        return total, logit
