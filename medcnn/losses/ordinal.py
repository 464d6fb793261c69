"""Ordered grades: CORAL (Cao, Mirjalili and Raschka 2020). B cases, K grades.

K grades are K - 1 questions, "is it above grade j?". A network's last layer (medcnn/networks/grades.py) answers all of
them from one score, so that the answers never contradict each other: P(above 0) >= P(above 1) >= ...
"""

from __future__ import annotations

import torch
from torch import Tensor


def above(target: Tensor) -> Tensor:
    """Grades as probabilities (B, K) -> (B, K - 1), the probability of being above each grade but the last.

    Hard, smoothed and mixed targets alike: [0, 0, 1] -> [1, 1].
    """
    return 1 - target.cumsum(dim=1)[:, :-1]


def coral_loss(logits: Tensor, target: Tensor, class_weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of "above grade j", mean over cases and grades.

    logits (B, K) of the grades, as softmax takes them; target (B, K), rows sum to 1; class_weight (K,) of the grades,
    or None: then a mean weighted by each case's grade
    """
    yes, no = answers(logits)
    share = above(target)
    each = -(share * yes + (1 - share) * no).mean(dim=1)
    if class_weight is None:
        return each.mean()
    weight = (target * class_weight).sum(dim=1)
    return (each * weight).sum() / weight.sum()


def answers(logits: Tensor) -> tuple[Tensor, Tensor]:
    """(B, K) logits -> log P(above grade j) and log P(not above it), (B, K - 1) each, summed where nothing is lost."""
    log_probability = torch.log_softmax(logits.float(), dim=1)
    cuts = range(1, log_probability.shape[1])
    yes = [torch.logsumexp(log_probability[:, cut:], dim=1) for cut in cuts]
    no = [torch.logsumexp(log_probability[:, :cut], dim=1) for cut in cuts]
    return torch.stack(yes, dim=1), torch.stack(no, dim=1)
