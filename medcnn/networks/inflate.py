"""A network of two dimensions becomes one of three (Carreira and Zisserman 2017), weights and all.

Slices lie along the last axis, which is the new one. A kernel is repeated along it and divided by how often, strides
and pooling follow the picture's, and the first and last slice stand for what would be beyond them: a volume of equal
slices gets the answer that the slice had. One slice is enough. B cases, C channels, IJK voxels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from medcnn.config.errors import ConfigError
from medcnn.networks.unet_blocks import Volumes


def inflate(network: nn.Module) -> nn.Module:
    """The network itself, its layers replaced by theirs of three dimensions; the names of its weights stay."""
    for name, child in list(network.named_children()):
        setattr(network, name, inflated(child))
    return network


def inflated(layer: nn.Module) -> nn.Module:
    """The layer of three dimensions for one of two; what knows no dimensions stays, its children inflated."""
    kind = type(layer).__name__
    made = _MADE.get(kind)
    if made is not None:
        answer: nn.Module = made(layer)
        return answer.train(layer.training)
    if kind in _INCEPTION and type(layer).__module__.endswith("inception_v3"):  # the fourth's have the same names
        return _Mixed(inflate(layer), _INCEPTION[kind]).train(layer.training)
    if not list(layer.children()) and kind.endswith("2d"):
        raise ConfigError([f"model.volumes: nothing is known of how {kind} is inflated. Take another variant"])
    if kind == "ConvNeXtBlock":
        _gate_by_channel(layer)
    return inflate(layer)


def inflated_kernel(kernel: Tensor, slices: int) -> Tensor:
    """(width, C, I, J) -> (width, C, I, J, slices), with the same sum."""
    return (kernel / slices).unsqueeze(-1).expand(*kernel.shape, slices)


def _pair(value: Any) -> tuple[int, int]:
    return (int(value[0]), int(value[1])) if isinstance(value, tuple | list) else (int(value), int(value))


def beyond(x: Tensor, slices: int, stride: int) -> Tensor:
    """x with its first and last slice repeated: as many as windows of so many slices need to be K / stride, rounded up.

    The first window is around the first slice whatever its length, so that windows of branches lie on each other.
    """
    front = (slices - 1) // 2
    back = max(0, (-(-x.shape[-1] // stride) - 1) * stride + slices - front - x.shape[-1])
    if not front and not back:
        return x
    first, last = x[..., :1].expand(*x.shape[:-1], front), x[..., -1:].expand(*x.shape[:-1], back)
    return torch.cat([first, x, last], dim=-1)


class InflatedConv(Volumes):
    """A convolution over slices too; in the plane it pads as the picture's did, even where that follows the size."""

    def __init__(self, plane: nn.Conv2d) -> None:
        kernel, stride, dilation = _pair(plane.kernel_size), _pair(plane.stride), _pair(plane.dilation)
        padding = (0, 0) if isinstance(plane.padding, str) else _pair(plane.padding)
        slices = min(kernel)
        super().__init__(
            plane.in_channels, plane.out_channels, (*kernel, slices), stride=(*stride, min(stride)),
            padding=(*padding, 0), dilation=(*dilation, 1), groups=plane.groups, bias=plane.bias is not None,
            device=plane.weight.device, dtype=plane.weight.dtype,
        )  # fmt: skip
        self.follows_size = type(plane).__name__ == "Conv2dSame" or plane.padding == "same"
        with torch.no_grad():
            self.weight.copy_(inflated_kernel(plane.weight, slices))
            if plane.bias is not None and self.bias is not None:
                self.bias.copy_(plane.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, I, J, K) -> (B, width, I / stride, J / stride, K / stride)."""
        if self.follows_size:
            missing = [
                max(0, (-(-side // stride) - 1) * stride + (kernel - 1) * dilation + 1 - side)
                for side, kernel, stride, dilation in zip(
                    x.shape[2:4], self.kernel_size, self.stride, self.dilation, strict=False
                )
            ]
            rows, columns = missing
            x = functional.pad(x, (0, 0, columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return super().forward(beyond(x, self.kernel_size[2], self.stride[2]))


class _Pool(nn.Module):
    """Largest or average of a window over slices too."""

    def __init__(self, plane: Any) -> None:
        super().__init__()
        kernel, stride = _pair(plane.kernel_size), _pair(plane.stride or plane.kernel_size)
        self.slices, self.stride = min(kernel), min(stride)
        self.padding = _pair(plane.padding)
        sides: dict[str, Any] = {"kernel_size": (*kernel, self.slices), "stride": (*stride, self.stride)}
        self.averages = isinstance(plane, nn.AvgPool2d)
        self.counts_padding = self.averages and plane.count_include_pad
        if self.averages:  # padded by hand: torch's refuses a map that is smaller than the kernel before padding
            self.pool: nn.Module = nn.AvgPool3d(**sides, ceil_mode=plane.ceil_mode)
        else:
            self.pool = nn.MaxPool3d(**sides, padding=(*self.padding, 0), ceil_mode=plane.ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        x = beyond(x, self.slices, self.stride)
        if not self.averages or not any(self.padding):
            answer: Tensor = self.pool(x)
            return answer
        averages: Tensor = self.pool(self._padded(x))
        return averages if self.counts_padding else averages / self.pool(self._padded(torch.ones_like(x[:1, :1])))

    def _padded(self, x: Tensor) -> Tensor:
        rows, columns = self.padding
        return functional.pad(x, (0, 0, columns, columns, rows, rows))


class _Excitation(nn.Module):
    """timm's squeeze and excitation; its children are in the order in which they are asked."""

    def __init__(self, plane: nn.Module) -> None:
        super().__init__()
        for name, child in plane.named_children():
            self.add_module(name, inflated(child))

    def forward(self, x: Tensor) -> Tensor:
        gate = x.mean(dim=(2, 3, 4), keepdim=True)
        for child in self.children():
            gate = child(gate)
        return x * gate


class _ChannelNorm(nn.LayerNorm):
    """timm's LayerNorm2d: over the channels of each voxel."""

    def __init__(self, plane: nn.LayerNorm) -> None:
        super().__init__(plane.normalized_shape, eps=plane.eps, elementwise_affine=plane.elementwise_affine)
        self.load_state_dict(plane.state_dict(), assign=True)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class _NormActivation(nn.BatchNorm3d):
    """timm's BatchNormAct2d."""

    def __init__(self, plane: Any) -> None:
        super().__init__(plane.num_features, eps=plane.eps, momentum=plane.momentum)
        self.load_state_dict(plane.state_dict(), assign=True)
        self.drop, self.act = plane.drop, plane.act

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.act(self.drop(super().forward(x)))
        return answer


def _batch_norm(plane: nn.BatchNorm2d) -> nn.Module:
    layer = nn.BatchNorm3d(
        plane.num_features, plane.eps, plane.momentum, affine=plane.affine,
        track_running_stats=plane.track_running_stats,
    )  # fmt: skip
    layer.load_state_dict(plane.state_dict(), assign=True)
    return layer


def _instance_norm(plane: nn.InstanceNorm2d) -> nn.Module:
    layer = nn.InstanceNorm3d(plane.num_features, plane.eps, affine=plane.affine)
    layer.load_state_dict(plane.state_dict(), assign=True)
    return layer


def _whole(plane: Any) -> nn.Module:
    """Pooling to a grid, of one cell along the slices: the layers behind it have as many inputs as before."""
    kind = nn.AdaptiveMaxPool3d if isinstance(plane, nn.AdaptiveMaxPool2d) else nn.AdaptiveAvgPool3d
    return kind((*_pair(plane.output_size), 1))


def _select(plane: Any) -> nn.Module:
    """timm's choice of poolings, of which these networks take the average."""
    flat = bool(getattr(plane.pool, "flatten", False)) or isinstance(plane.flatten, nn.Flatten)
    return nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(1) if flat else nn.Identity())


class _Gate(nn.Module):
    """ConvNeXt's scale of each channel."""

    def __init__(self, gamma: nn.Parameter) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.reshape(-1, 1, 1, 1)


def _gate_by_channel(block: Any) -> None:
    gamma, block.gamma = block.gamma, None
    block.drop_path = nn.Sequential(_Gate(gamma), block.drop_path)


_AVERAGE, _LARGEST = "average", "largest"
# timm's Inception-v3 pools in passing: what is asked one after the other, branch by branch; names in brackets fork.
_DOUBLE = ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
_INCEPTION: dict[str, tuple[tuple[Any, ...], ...]] = {
    "InceptionA": (("branch1x1",), ("branch5x5_1", "branch5x5_2"), _DOUBLE, (_AVERAGE, "branch_pool")),
    "InceptionB": (("branch3x3",), _DOUBLE, (_LARGEST,)),
    "InceptionC": (
        ("branch1x1",),
        tuple(f"branch7x7_{n}" for n in (1, 2, 3)),
        tuple(f"branch7x7dbl_{n}" for n in (1, 2, 3, 4, 5)),
        (_AVERAGE, "branch_pool"),
    ),
    "InceptionD": (
        ("branch3x3_1", "branch3x3_2"),
        tuple(f"branch7x7x3_{n}" for n in (1, 2, 3, 4)),
        (_LARGEST,),
    ),
    "InceptionE": (
        ("branch1x1",),
        ("branch3x3_1", ("branch3x3_2a", "branch3x3_2b")),
        ("branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")),
        (_AVERAGE, "branch_pool"),
    ),
}


class _Mixed(nn.Module):
    """A block of Inception-v3: branches side by side."""

    def __init__(self, block: nn.Module, branches: tuple[tuple[Any, ...], ...]) -> None:
        super().__init__()
        for name, child in block.named_children():
            self.add_module(name, child)
        self.branches = branches
        self.pools = {
            _AVERAGE: _Pool(nn.AvgPool2d(3, stride=1, padding=1)),
            _LARGEST: _Pool(nn.MaxPool2d(3, stride=2)),
        }

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._branch(x, branch) for branch in self.branches], dim=1)

    def _branch(self, x: Tensor, branch: tuple[Any, ...]) -> Tensor:
        for step in branch:
            if isinstance(step, tuple):
                x = torch.cat([self.get_submodule(name)(x) for name in step], dim=1)
            else:
                x = self.pools[step](x) if step in self.pools else self.get_submodule(step)(x)
        return x


_MADE: dict[str, Any] = {
    "Conv2d": InflatedConv,
    "Conv2dSame": InflatedConv,
    "BatchNorm2d": _batch_norm,
    "BatchNormAct2d": _NormActivation,
    "InstanceNorm2d": _instance_norm,
    "LayerNorm2d": _ChannelNorm,
    "MaxPool2d": _Pool,
    "AvgPool2d": _Pool,
    "AdaptiveAvgPool2d": _whole,
    "AdaptiveMaxPool2d": _whole,
    "SelectAdaptivePool2d": _select,
    "SqueezeExcite": _Excitation,
    "SEModule": _Excitation,
    "Dropout2d": lambda plane: nn.Dropout3d(plane.p),
}
