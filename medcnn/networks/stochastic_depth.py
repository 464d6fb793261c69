"""Stochastic depth (Huang et al. 2016): a residual branch is left out for some cases while training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StochasticDepth(nn.Module):
    """Leaves the branch out with this probability, for each case by itself; what stays is scaled up in return."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """(B, C, *size), the same size."""
        if not (self.training and self.probability):
            return branch
        keep = 1 - self.probability
        kept = torch.rand(len(branch), *[1] * (branch.ndim - 1), device=branch.device) < keep
        return branch * (kept.to(branch.dtype) / keep)
