"""Settings of the networks: one dataclass per kind, chosen by `model=<name>`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from medcnn.config.fields import MISSING, choice, number, numbers


@dataclass
class ModelConf:
    """What every network has."""

    name: str = MISSING
    dropout: float = number(0.0, at_least=0, below=1)


@dataclass
class PlainCNNConf(ModelConf):
    """The textbook's CNN: stages of convolution, activation, pooling; then fully connected."""

    name: str = "plain_cnn"
    dropout: float = number(0.2, at_least=0, below=1)
    widths: list[int] = numbers([], at_least=1)  # channels, one entry per stage; [] lets the size decide
    convolutions: int = number(2, at_least=1)  # per stage
    kernel_px: int = number(3, at_least=1)
    activation: str = choice("relu", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh")
    norm: str = choice("batch", "batch", "group", "instance", "none")
    pooling: str = choice("max", "max", "average", "stride")
    head: str = choice("average", "flatten", "average", "max")  # how a feature map becomes a vector
    head_grid: int = number(4, at_least=1)  # flatten: the map is averaged to this many cells per side first
    hidden: list[int] = numbers([], at_least=1)  # fully connected layers before the last

    def problems(self) -> Iterator[str]:
        if self.kernel_px % 2 == 0:
            yield f"kernel_px: must be odd, got {self.kernel_px}"


@dataclass
class ResNetConf(ModelConf):
    """He et al. 2016. The stem follows the input's size unless stem says otherwise."""

    name: str = "resnet"
    depth: int = 18
    width: int = number(64, at_least=4)  # channels of the first stage
    stem: str = choice("auto", "auto", "small", "large")  # small: 3x3, no pooling; large: 7x7, stride 2, pooling

    def problems(self) -> Iterator[str]:
        if self.depth not in (18, 34, 50):
            yield f"depth: is 18, 34 or 50, got {self.depth}"


@dataclass
class UNetConf(ModelConf):
    """Ronneberger et al. 2015 as in nnU-Net. Where a list is [], the plan decides from the data and the budget."""

    name: str = "unet"
    widths: list[int] = numbers([], at_least=1)  # channels, one entry per level, finest first
    kernels: list[list[int]] = field(default_factory=list)  # per level, per axis
    strides: list[list[int]] = field(default_factory=list)  # into each level, per axis; the first all 1
    encoder: str = choice("plain", "plain", "residual", "resnet18", "resnet34")  # the ResNets: 2D, for own weights
    encoder_weights: str = ""  # a local .safetensors or .pt file that the encoder starts from; "" starts at random
    encoder_convolutions: list[int] = numbers([2], at_least=1)  # per level, or one for all; residual: blocks of two
    decoder_convolutions: list[int] = numbers([2], at_least=1)
    norm: str = choice("instance", "instance", "group", "batch")
    activation: str = choice("leaky_relu", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh")
    deep_supervision: int = number(2, at_least=0)  # coarser levels that learn too, as far as there are so many
    attention: bool = False  # gates on the skip connections, Oktay et al. 2018

    def problems(self) -> Iterator[str]:
        for name, levels in (("kernels", self.kernels), ("strides", self.strides)):
            if self.widths and levels and len(levels) != len(self.widths):
                yield f"{name}: needs an entry for each of the {len(self.widths)} widths, got {len(levels)}"
            if any(number < 1 for level in levels for number in level):
                yield f"{name}: every number must be 1 or more, got {levels}"
        if any(side % 2 == 0 for kernel in self.kernels for side in kernel):
            yield f"kernels: every side must be odd, got {self.kernels}"
        if self.strides and max(self.strides[0], default=1) != 1:
            yield f"strides: those of the first level must all be 1, got {self.strides[0]}"


@dataclass
class CustomConf(ModelConf):
    """Your own torch.nn.Module, imported from a module that you name."""

    name: str = "custom"
    module: str = MISSING  # importable, for example my_networks
    class_name: str = MISSING
    arguments: dict[str, Any] = field(default_factory=dict)  # besides in_channels, num_outputs, spatial_dims

    def problems(self) -> Iterator[str]:
        if self.module.split(".")[0] in ("monai", "os", "builtins", "subprocess", "torch"):
            yield f"module: {self.module!r} is not yours; name the module that holds your own network"


MODEL_KINDS: dict[str, type[ModelConf]] = {
    kind().name: kind for kind in (PlainCNNConf, ResNetConf, UNetConf, CustomConf)
}
