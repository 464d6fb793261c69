"""An average of the weights that a network had in its training."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn


def exponential(decay: float) -> Callable[[int], float]:
    """The share of the newest weights in a moving average. Early on it is short, so that it forgets the start."""
    return lambda step: 1 - min(decay, (1 + step) / (10 + step))


class AveragedNetwork:
    """The network to be asked while another is trained.

    Batch norm's running statistics are averaged too: they belong to the weights that made them.
    share_of_newest  step, from 1 -> how much of the average the weights after it are; 0 leaves the average as it is
    """

    def __init__(self, network: nn.Module, share_of_newest: Callable[[int], float]) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        self.share_of_newest = share_of_newest
        self._pairs: tuple[list[torch.Tensor], list[torch.Tensor], list[tuple[torch.Tensor, torch.Tensor]]] | None = (
            None
        )

    def to(self, device: torch.device) -> None:
        """Where the trained network is."""
        self.network.to(device)
        self._pairs = None

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """After optimiser step number `step` (from 1)."""
        share = self.share_of_newest(step)
        if share == 0:
            return
        mine, theirs, whole = self._matched(network)
        torch._foreach_lerp_(mine, theirs, share)
        for own, other in whole:
            own.copy_(other)

    def _matched(
        self, network: nn.Module
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], list[tuple[torch.Tensor, torch.Tensor]]]:
        if self._pairs is None:
            own, other = self.network.state_dict(keep_vars=True), network.state_dict(keep_vars=True)
            both = [(own[name].detach(), other[name].detach()) for name in own]
            floating = [pair for pair in both if pair[0].is_floating_point()]
            whole = [pair for pair in both if not pair[0].is_floating_point()]
            self._pairs = [a for a, _ in floating], [b for _, b in floating], whole
        return self._pairs
