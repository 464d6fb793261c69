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
class ClassifierConf(ModelConf):
    """What every network that answers once for each scan has, and can start from."""

    pretrained: str = ""  # imagenet, or where weights, a model package or a run lie; "" starts at random
    weights_folder: str = ""  # where ImageNet's are looked for first; without it the environment's MEDCNN_WEIGHTS
    new_head: bool = False  # the last layer starts at random even where a package knows the same classes
    volumes: str = choice("auto", "auto", "native", "inflated")  # in 3D; auto: inflated for imagenet, else the family's


@dataclass
class PlainCNNConf(ClassifierConf):
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
    attention: str = choice("none", "none", "se", "cbam")  # at the end of each stage

    def problems(self) -> Iterator[str]:
        if self.kernel_px % 2 == 0:
            yield f"kernel_px: must be odd, got {self.kernel_px}"


@dataclass
class ResNetConf(ClassifierConf):
    """He et al. 2016. The stem follows the input's size unless stem says otherwise; for imagenet it is large."""

    name: str = "resnet"
    depth: int = 18
    width: int = number(64, at_least=4)  # channels of the first stage
    stem: str = choice("auto", "auto", "small", "large")  # small: 3x3, no pooling; large: 7x7, stride 2, pooling
    attention: str = choice("none", "none", "se", "cbam")  # in each block: Hu et al. 2018, or Woo et al. 2018
    drop_path: float = number(0.0, at_least=0, below=1)  # stochastic depth, growing up to this in the last block

    def problems(self) -> Iterator[str]:
        if self.depth not in (18, 34, 50):
            yield f"depth: is 18, 34 or 50, got {self.depth}"


@dataclass
class FamilyConf(ClassifierConf):
    """A published family of networks for pictures; volumes take the same, inflated, or one of their own."""

    variant: str = MISSING


@dataclass
class VGGConf(FamilyConf):
    """Simonyan and Zisserman 2015; the map is averaged before one last layer, as its two wide ones overfit."""

    name: str = "vgg"
    variant: str = choice("vgg11_bn", "vgg11", "vgg11_bn", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19_bn")


@dataclass
class ResNeXtConf(FamilyConf):
    """Xie et al. 2017; those that begin with se have squeeze and excitation."""

    name: str = "resnext"
    variant: str = choice(
        "resnext50_32x4d", "resnext50_32x4d", "resnext101_32x8d", "seresnext26d_32x4d", "seresnext50_32x4d"
    )
    drop_path: float = number(0.0, at_least=0, below=1)  # stochastic depth, growing up to this in the last block


@dataclass
class InceptionConf(FamilyConf):
    """Szegedy et al. 2015 (GoogLeNet), 2016 and 2017."""

    name: str = "inception"
    variant: str = choice("inception_v3", "googlenet", "inception_v3", "inception_v4", "inception_resnet_v2")


@dataclass
class DenseNetConf(FamilyConf):
    """Huang et al. 2017; for volumes MONAI's."""

    name: str = "densenet"
    variant: str = choice("densenet121", "densenet121", "densenet161", "densenet169", "densenet201")


@dataclass
class MobileNetConf(FamilyConf):
    """Sandler et al. 2018, Howard et al. 2019, Qin et al. 2024."""

    name: str = "mobilenet"
    variant: str = choice(
        "mobilenetv3_large_100",
        "mobilenetv2_050",
        "mobilenetv2_100",
        "mobilenetv3_small_100",
        "mobilenetv3_large_100",
        "mobilenetv4_conv_small",
    )
    drop_path: float = number(0.0, at_least=0, below=1)  # stochastic depth, growing up to this in the last block


@dataclass
class EfficientNetConf(FamilyConf):
    """Tan and Le 2019 and 2021; for volumes MONAI's, where it has the variant."""

    name: str = "efficientnet"
    variant: str = choice(
        "efficientnet_b0",
        "efficientnet_lite0",
        "efficientnet_b0",
        "efficientnet_b1",
        "efficientnet_b2",
        "efficientnet_b3",
        "efficientnet_b4",
        "efficientnetv2_rw_t",
    )
    drop_path: float = number(0.0, at_least=0, below=1)  # stochastic depth, growing up to this in the last block


@dataclass
class ConvNeXtConf(FamilyConf):
    """Liu et al. 2022."""

    name: str = "convnext"
    variant: str = choice(
        "convnext_tiny", "convnext_atto", "convnext_femto", "convnext_pico", "convnext_nano", "convnext_tiny"
    )
    drop_path: float = number(0.0, at_least=0, below=1)  # stochastic depth, growing up to this in the last block


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


FAMILIES: tuple[type[FamilyConf], ...] = (
    VGGConf,
    ResNeXtConf,
    InceptionConf,
    DenseNetConf,
    MobileNetConf,
    EfficientNetConf,
    ConvNeXtConf,
)
MODEL_KINDS: dict[str, type[ModelConf]] = {
    kind().name: kind for kind in (PlainCNNConf, ResNetConf, *FAMILIES, UNetConf, CustomConf)
}


def variants(kind: type[FamilyConf]) -> tuple[str, ...]:
    """The names that model.variant takes in a family."""
    names: tuple[str, ...] = kind.__dataclass_fields__["variant"].metadata["choices"]
    return names
