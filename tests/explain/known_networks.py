"""Networks and images whose reasons are known, for the tests of explanations."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def convolution(dims: int, *settings: int, **more: object) -> nn.Module:
    """In two or three dimensions."""
    return (nn.Conv2d if dims == 2 else nn.Conv3d)(*settings, **more)


class LooksAtOneCorner(nn.Module):
    """Class 1 is the brightness of the first corner, class 0 that of the last; nothing else is looked at."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.conv = convolution(dims, 1, 2, 1, bias=False)
        self.conv.weight.data.fill_(1.0)
        self.dims = dims

    def forward(self, image: Tensor) -> Tensor:
        maps = self.conv(image).relu()
        quarter = [side // 4 for side in image.shape[2:]]
        first = (slice(None), 0, *[slice(0, q) for q in quarter])
        last = (slice(None), 1, *[slice(-q, None) for q in quarter])
        return torch.stack([maps[last].flatten(1).sum(1), maps[first].flatten(1).sum(1)], dim=1)


class Linear(nn.Module):
    """Each class is a weighted sum of all pixels, and some more."""

    def __init__(self, channels: int, size: tuple[int, ...]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(2, channels, *size, generator=generator))
        self.bias = nn.Parameter(torch.tensor([1.0, -2.0]))

    def forward(self, image: Tensor) -> Tensor:
        return torch.einsum("bp,kp->bk", image.flatten(1), self.weight.flatten(1)) + self.bias


def pooled(dims: int, *, channels: int = 1, maps: int = 6, seed: int = 0) -> nn.Sequential:
    """Convolution, ReLU, mean, linear: as Zhou et al. 2016 have it."""
    torch.manual_seed(seed)
    pool = (nn.AdaptiveAvgPool2d if dims == 2 else nn.AdaptiveAvgPool3d)(1)
    layers = [convolution(dims, channels, maps, 3, stride=2, padding=1), nn.ReLU(), pool, nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(maps, 2)).eval()


def two_stages(dims: int, *, channels: int = 1, outputs: int = 2, seed: int = 0) -> nn.Sequential:
    """Two convolutions with norms, an activation in place, pooling to a grid of 2, a hidden layer."""
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d
    pool = (nn.AdaptiveAvgPool2d if dims == 2 else nn.AdaptiveAvgPool3d)(2)
    layers: list[nn.Module] = []
    for inputs, width in ((channels, 4), (4, 8)):
        layers += [convolution(dims, inputs, width, 3, stride=2, padding=1), norm(width), nn.ReLU(inplace=True)]
    head = [nn.Flatten(), nn.Linear(8 * 2**dims, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, outputs)]
    return nn.Sequential(*layers, pool, *head).eval()


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
