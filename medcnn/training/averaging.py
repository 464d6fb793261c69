"""An exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class AveragedNetwork:
    """The network to be asked while another is trained. Early on the average is short, so that it forgets the start.

    Batch norm's running statistics are averaged too: they belong to the weights that made them.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        self.decay = decay
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
        mine, theirs, whole = self._matched(network)
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(mine, theirs, 1 - decay)
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
