"""The textbook's CNN, for pictures and volumes. B cases, C channels, HW pixels (or IJK voxels)."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log2
from typing import Any

from torch import Tensor, nn

from medcnn.networks.attention import ATTENTION

_ByDims = dict[int, Any]  # a layer for pictures (2) and one for volumes (3)

_CONV: _ByDims = {2: nn.Conv2d, 3: nn.Conv3d}
_NORM: dict[str, _ByDims] = {
    "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "instance": {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d},
}
_POOL: dict[str, _ByDims] = {"max": {2: nn.MaxPool2d, 3: nn.MaxPool3d}, "average": {2: nn.AvgPool2d, 3: nn.AvgPool3d}}
_WHOLE: dict[str, _ByDims] = {
    "max": {2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d},
    "average": {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d},
}
_ACTIVATION = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
_STEM_TARGET_PX = 96  # a picture this small or smaller needs no reduction before the first stage


def stem_stride(size_px: Sequence[int]) -> int:
    """How much a large input is reduced before the first stage: 1 up to 191 px, 2 up to 383, 4 up to 767 ..."""
    return int(max(1, 2 ** floor(log2(max(1, min(size_px)) / _STEM_TARGET_PX))))


def stage_widths(size_px: Sequence[int]) -> list[int]:
    """Channels per stage: as many halvings as leave 4 to 6 pixels (28 px: 3, 96 px: 4), each twice as wide.

    Small inputs start with 32 channels, larger ones with 16, which costs about the same.
    """
    side = min(size_px) / stem_stride(size_px)
    stages = max(1, ceil(log2(side / 6))) if side > 6 else 1
    first = 32 if side < 64 else 16
    return [min(256, first * 2**stage) for stage in range(stages)]


class PlainCNN(nn.Module):
    """Stages of convolutions and pooling, flattened into fully connected layers with dropout.

    widths     one entry per stage; empty: see stage_widths
    attention  at the end of each stage: none, se or cbam

    image (B, in_channels, *any size from 8) -> logits (B, num_outputs). The size only chooses the stem: any other
    size can be asked later, since the map is averaged to a fixed grid before it is flattened.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        num_outputs: int,
        size_px: Sequence[int],
        widths: Sequence[int],
        convolutions: int,
        kernel_px: int,
        activation: str,
        norm: str,
        pooling: str,
        head: str,
        head_grid: int,
        hidden: Sequence[int],
        dropout: float,
        attention: str = "none",
    ) -> None:
        super().__init__()
        widths = widths or stage_widths(size_px)
        block = _Block(spatial_dims, kernel_px, activation, norm)
        layers: list[nn.Module] = []
        channels = in_channels
        if (stride := stem_stride(size_px)) > 1:
            layers += block.convolution(channels, widths[0], stride=stride)
            channels = widths[0]
        for width in widths:
            for index in range(convolutions):
                last = index == convolutions - 1
                layers += block.convolution(channels, width, stride=2 if last and pooling == "stride" else 1)
                channels = width
            if attention != "none":
                layers.append(ATTENTION[attention](spatial_dims, width))
            if pooling != "stride":
                layers.append(_POOL[pooling][spatial_dims](2, ceil_mode=True))  # ceil: one pixel stays one pixel
        self.features = nn.Sequential(*layers)
        grid = head_grid if head == "flatten" else 1
        self.to_grid = _WHOLE["max" if head == "max" else "average"][spatial_dims](grid)
        self.head = _fully_connected(channels * grid**spatial_dims, hidden, num_outputs, activation, dropout)

    def forward(self, image: Tensor) -> Tensor:
        """Logits, (B, num_outputs)."""
        features: Tensor = self.to_grid(self.features(image))
        logits: Tensor = self.head(features.flatten(1))
        return logits


class _Block:
    """Convolution, norm, activation, as this network has them throughout."""

    def __init__(self, spatial_dims: int, kernel_px: int, activation: str, norm: str) -> None:
        self.dims, self.kernel, self.activation, self.norm = spatial_dims, kernel_px, activation, norm

    def convolution(self, channels: int, width: int, *, stride: int) -> list[nn.Module]:
        kernel = max(self.kernel, 2 * stride - 1)  # a stride never skips pixels
        convolution = _CONV[self.dims](
            channels, width, kernel, stride=stride, padding=kernel // 2, bias=self.norm == "none"
        )
        return [convolution, *self._normalised(width), _ACTIVATION[self.activation]()]

    def _normalised(self, width: int) -> list[nn.Module]:
        if self.norm == "none":
            return []
        if self.norm == "group":
            return [nn.GroupNorm(next(groups for groups in (8, 4, 2, 1) if width % groups == 0), width)]
        return [_NORM[self.norm][self.dims](width)]


def _fully_connected(
    inputs: int, hidden: Sequence[int], outputs: int, activation: str, dropout: float
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Dropout(dropout), nn.Linear(inputs, width), _ACTIVATION[activation]()]
        inputs = width
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(inputs, outputs))
