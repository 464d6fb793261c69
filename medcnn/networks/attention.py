"""Attention within a convolutional network: what of a map is let through. B cases, C channels, S spatial axes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medcnn.networks.stochastic_depth import StochasticDepth

_CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_REDUCTION = 16  # of both papers
_KERNEL_PX = 7  # of CBAM's spatial gate


def _inner(channels: int) -> int:
    """Channels of the bottleneck: a multiple of eight, as in the networks that others have trained."""
    return max(8, round(channels / _REDUCTION / 8) * 8)


class SqueezeExcitation(nn.Module):
    """Hu et al. 2018: each channel times a gate in 0 to 1 that all channels' averages decide."""

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.fc1 = _CONV[spatial_dims](channels, _inner(channels), 1)
        self.act = nn.ReLU()
        self.fc2 = _CONV[spatial_dims](_inner(channels), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *size), the same size."""
        seen = x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)
        return x * torch.sigmoid(self.fc2(self.act(self.fc1(seen))))


class ConvolutionalAttention(nn.Module):
    """CBAM, Woo et al. 2018: a gate for each channel from averages and maxima, then one for each place."""

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.fc1 = _CONV[spatial_dims](channels, _inner(channels), 1, bias=False)
        self.act = nn.ReLU()
        self.fc2 = _CONV[spatial_dims](_inner(channels), channels, 1, bias=False)
        self.places = _CONV[spatial_dims](2, 1, _KERNEL_PX, padding=_KERNEL_PX // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *size), the same size."""
        whole = tuple(range(2, x.ndim))
        averages, maxima = x.mean(dim=whole, keepdim=True), x.amax(dim=whole, keepdim=True)
        x = x * torch.sigmoid(self._channels(averages) + self._channels(maxima))
        seen = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.places(seen))

    def _channels(self, x: Tensor) -> Tensor:
        answer: Tensor = self.fc2(self.act(self.fc1(x)))
        return answer


ATTENTION: dict[str, type[nn.Module]] = {"se": SqueezeExcitation, "cbam": ConvolutionalAttention}


class BranchEnd(nn.Module):
    """Where a residual branch ends: its last norm, then attention and stochastic depth where they are wanted."""

    def __init__(self, norm: nn.Module, attention: nn.Module, drop_path: float) -> None:
        super().__init__()
        self.norm = norm
        self.attention = attention
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *size), the same size."""
        answer: Tensor = self.drop_path(self.attention(self.norm(x)))
        return answer


def end_branches(blocks: list[nn.Module], spatial_dims: int, attention: str, drop_path: float) -> None:
    """Attention and stochastic depth into residual blocks, which end with bn2, or with bn3 where they have three.

    drop_path grows from 0 in the first block to its value in the last.
    """
    for index, block in enumerate(blocks):
        name = "bn3" if hasattr(block, "bn3") else "bn2"
        norm = block.get_submodule(name)
        channels = int(norm.weight.numel())  # type: ignore[operator]
        gate = ATTENTION[attention](spatial_dims, channels) if attention != "none" else nn.Identity()
        setattr(block, name, BranchEnd(norm, gate, drop_path * index / max(1, len(blocks) - 1)))
