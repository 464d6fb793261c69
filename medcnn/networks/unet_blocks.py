"""The parts of a U-Net: convolutions with norm and activation, stages, upsampling, attention gates.

B cases, C channels, S spatial axes (two or three).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from medcnn.networks.instance_norm import InstanceNormActivation

_CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_UP: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_BATCH: dict[int, Any] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_DROP: dict[int, Any] = {2: nn.Dropout2d, 3: nn.Dropout3d}
_POOL: dict[int, Any] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
_ACTIVATION: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
_SLOPE = {"leaky_relu": 0.01, "relu": 0.0, "none": 1.0}  # the activations that the instance norm takes along


@dataclass(frozen=True)
class Style:
    """What all convolutions of one network have in common."""

    spatial_dims: int
    norm: str
    activation: str
    dropout: float = 0.0

    def normalised(self, channels: int, *, activation: str | None = None) -> nn.Module:
        """Norm and activation behind a convolution; activation="none" leaves the latter out."""
        name = self.activation if activation is None else activation
        if self.norm == "instance":
            norm: nn.Module = InstanceNormActivation(channels, slope=_SLOPE.get(name, 1.0))
            return norm if name in _SLOPE else nn.Sequential(norm, _ACTIVATION[name]())
        if self.norm == "group":
            norm = nn.GroupNorm(next(groups for groups in (8, 4, 2, 1) if channels % groups == 0), channels)
        else:
            norm = _BATCH[self.spatial_dims](channels)
        return norm if name == "none" else nn.Sequential(norm, _ACTIVATION[name]())

    def convolution(self, channels: int, width: int, kernel: Sequence[int], stride: Sequence[int]) -> nn.Module:
        """Without a bias, which the norm behind it would take away again; the size is kept but for the stride."""
        padding = [side // 2 for side in kernel]
        kind: Any = {2: nn.Conv2d, 3: Volumes}[self.spatial_dims]
        sides = {"kernel_size": tuple(kernel), "stride": tuple(stride), "padding": tuple(padding)}
        layer: nn.Module = kind(channels, width, **sides, bias=False)
        return layer

    def unit(self, channels: int, width: int, kernel: Sequence[int], stride: Sequence[int]) -> nn.Sequential:
        """Convolution, norm, activation."""
        return nn.Sequential(self.convolution(channels, width, kernel, stride), self.normalised(width))

    def dropped(self) -> list[nn.Module]:
        """Whole channels at random, where the network has dropout."""
        return [_DROP[self.spatial_dims](self.dropout)] if self.dropout else []


class Volumes(nn.Conv3d):
    """torch's Conv3d, but for a single volume on a CPU without gradients.

    There torch takes its unvectorised fallback for all but the largest maps, an order of magnitude slower than oneDNN,
    which it does take for two volumes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, I, J, K) -> (B, width, *size / stride)."""
        if not self._falls_back(x):
            return super().forward(x)
        padding = [int(side) for side in self.padding]
        return torch.mkldnn_convolution(x, self.weight, self.bias, padding, self.stride, self.dilation, self.groups)

    def _falls_back(self, x: Tensor) -> bool:
        single = len(x) == 1 and x.device.type == "cpu" and x.dtype == self.weight.dtype == torch.float32
        own_way = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
        return single and not own_way and bool(torch._C._has_mkldnn and torch.backends.mkldnn.enabled)


def plain_stage(
    style: Style, channels: int, width: int, kernel: Sequence[int], stride: Sequence[int], convolutions: int
) -> nn.Sequential:
    """Convolutions one after another, the first with the stride."""
    whole = [1] * style.spatial_dims
    units = [style.unit(channels, width, kernel, stride)]
    units += [style.unit(width, width, kernel, whole) for _ in range(convolutions - 1)]
    return nn.Sequential(*units, *style.dropped())


def residual_stage(
    style: Style, channels: int, width: int, kernel: Sequence[int], stride: Sequence[int], blocks: int
) -> nn.Sequential:
    """Residual blocks one after another, the first with the stride."""
    whole = [1] * style.spatial_dims
    parts = [ResidualBlock(style, channels, width, kernel, stride)]
    parts += [ResidualBlock(style, width, width, kernel, whole) for _ in range(blocks - 1)]
    return nn.Sequential(*parts, *style.dropped())


class ResidualBlock(nn.Module):
    """Two convolutions around a shortcut (He et al. 2016); a shortcut with a stride averages first (ResNet-D)."""

    def __init__(self, style: Style, channels: int, width: int, kernel: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        whole = [1] * style.spatial_dims
        self.body = nn.Sequential(
            style.unit(channels, width, kernel, stride),
            style.convolution(width, width, kernel, whole),
            style.normalised(width, activation="none"),
        )
        shortcut: list[nn.Module] = []
        if max(stride) > 1:
            shortcut.append(_POOL[style.spatial_dims](tuple(stride), tuple(stride)))
        if channels != width:
            shortcut.append(VoxelwiseLinear(channels, width, bias=False))
            shortcut.append(style.normalised(width, activation="none"))
        self.shortcut = nn.Sequential(*shortcut)
        in_place = {"inplace": True} if style.activation in _SLOPE else {}  # on a sum that nobody else sees
        self.activation = _ACTIVATION[style.activation](**in_place)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, *size) -> (B, width, *size / stride)."""
        answer: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return answer


def upsampling(spatial_dims: int, channels: int, width: int, stride: Sequence[int]) -> nn.Module:
    """A transposed convolution whose kernel is its stride: every coarse voxel paints its own block.

    Without a bias, as for convolutions: a norm follows the next convolution.
    """
    layer: nn.Module = _UP[spatial_dims](channels, width, tuple(stride), stride=tuple(stride), bias=False)
    return layer


class VoxelwiseLinear(nn.Module):
    """A convolution of one voxel: (B, C, *S) -> (B, outputs, *S).

    As a matrix product, since torch's slow fallback is what runs such a convolution on one thread of a CPU.
    """

    def __init__(self, channels: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """The channels are innermost in what comes out."""
        answer: Tensor = self.linear(x.movedim(1, -1)).movedim(-1, 1)
        return answer


class AttentionGate(nn.Module):
    """What of a skip connection is let through, as the coarser level sees it (Oktay et al. 2018)."""

    def __init__(self, spatial_dims: int, channels: int, coarse: int, stride: Sequence[int]) -> None:
        super().__init__()
        convolution, inner = _CONV[spatial_dims], max(1, channels // 2)
        self.of_skip = convolution(channels, inner, tuple(stride), stride=tuple(stride), bias=False)
        self.of_coarse = convolution(coarse, inner, 1)
        self.gate = convolution(inner, 1, 1)

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """skip (B, C, *size), coarse (B, C', *size / stride) -> (B, C, *size), each voxel times its gate in 0 to 1."""
        seen = functional.relu(self.of_skip(skip) + self.of_coarse(coarse))
        gate = torch.sigmoid(self.gate(seen))
        for axis, side in enumerate(skip.shape[2:], start=2):
            gate = (gate.movedim(axis, -1) @ _linear(gate.shape[axis], side, gate)).movedim(-1, axis)
        return skip * gate


def _linear(coarse: int, fine: int, like: Tensor) -> Tensor:
    """(coarse, fine) weights of linear interpolation: as a product its gradient is the same every time on a GPU too."""
    corners = torch.eye(coarse, dtype=like.dtype, device=like.device)[None]
    return functional.interpolate(corners, size=fine, mode="linear")[0]
