"""Ordered grades: CORAL (Cao, Mirjalili and Raschka 2020). B cases, K grades.

K grades are K - 1 questions, "is it above grade j?". One score answers all of them, each from its own threshold, so
that the answers never contradict each other: P(above 0) >= P(above 1) >= ...
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class GradeThresholds(nn.Module):
    """From one score per case to the logits of "above grade j": score (B, 1) -> (B, K - 1), falling along the row.

    Cao et al. let the thresholds find their order by themselves; here it is built in, so it holds at every step.
    """

    def __init__(self, num_grades: int) -> None:
        super().__init__()
        if num_grades < 2:
            raise ValueError(f"ordered grades: at least 2 are needed, got {num_grades}")
        self.first = nn.Parameter(torch.tensor((num_grades - 2) / 2))
        self.step = nn.Parameter(torch.full((num_grades - 2,), 0.5413))  # softplus of it is 1: even steps around 0

    def forward(self, score: Tensor) -> Tensor:
        """(B, 1) -> (B, K - 1)."""
        steps = functional.softplus(self.step)
        thresholds = torch.cat([self.first[None], self.first - torch.cumsum(steps, dim=0)])
        return score + thresholds


def above(target: Tensor) -> Tensor:
    """Grades as probabilities (B, K) -> (B, K - 1), the probability of being above each grade but the last.

    Hard, smoothed and mixed targets alike: [0, 0, 1] -> [1, 1].
    """
    return 1 - target.cumsum(dim=1)[:, :-1]


def coral_loss(logits: Tensor, target: Tensor, class_weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of "above grade j", mean over cases and grades.

    logits (B, K - 1) of GradeThresholds; target (B, K), rows sum to 1; class_weight (K,) of the grades, or None: then
    a mean weighted by each case's grade
    """
    each = functional.binary_cross_entropy_with_logits(logits.float(), above(target), reduction="none").mean(dim=1)
    if class_weight is None:
        return each.mean()
    weight = (target * class_weight).sum(dim=1)
    return (each * weight).sum() / weight.sum()


def grade_log_probability(logits: Tensor) -> Tensor:
    """(B, K - 1) logits of "above grade j" -> (B, K) log-probabilities of the grades: logits that softmax leaves alone.

    The probability of a grade is the difference of two neighbouring answers; kept above 0 where rounding closes it.
    """
    answers = torch.sigmoid(logits.double())
    ends = answers.new_ones(len(answers), 1)
    padded = torch.cat([ends, answers, 0 * ends], dim=1)
    return (padded[:, :-1] - padded[:, 1:]).clamp(min=1e-12).log().float()
