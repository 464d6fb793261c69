"""The published families by name: timm's and torchvision's networks for pictures, MONAI's for volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from medcnn.config.model import ClassifierConf, FamilyConf, PlainCNNConf, ResNetConf

_NAMES_IN_TIMM = {"efficientnet_lite0": "tf_efficientnet_lite0"}  # of the two that timm has, the authors' own weights'
_TORCHVISION = "googlenet"
_DENSENETS: dict[str, dict[str, Any]] = {
    "densenet121": {"init_features": 64, "growth_rate": 32, "block_config": (6, 12, 24, 16)},
    "densenet161": {"init_features": 96, "growth_rate": 48, "block_config": (6, 12, 36, 24)},
    "densenet169": {"init_features": 64, "growth_rate": 32, "block_config": (6, 12, 32, 32)},
    "densenet201": {"init_features": 64, "growth_rate": 32, "block_config": (6, 12, 48, 32)},
}


@dataclass(frozen=True)
class Expected:
    """What the authors' weights of a variant were trained on: pictures (3, side_px, side_px) from 0 to 1."""

    side_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    hub: str  # the repository of the weights at huggingface.co; "" where there is none


def timm_name(conf: ClassifierConf) -> str:
    """What timm calls this network; "" where it has none like it."""
    if isinstance(conf, ResNetConf):
        own = conf.width == 64 and conf.attention != "cbam" and (conf.attention == "none" or conf.depth == 50)
        return f"{'se' if conf.attention == 'se' else ''}resnet{conf.depth}" if own else ""
    if isinstance(conf, FamilyConf) and conf.variant != _TORCHVISION:
        return _NAMES_IN_TIMM.get(conf.variant, conf.variant)
    return ""


def variant_name(conf: ClassifierConf) -> str:
    """densenet121, resnet18 ...: what a file of its weights is called."""
    if isinstance(conf, FamilyConf):
        return conf.variant
    return timm_name(conf) or conf.name


def expected(conf: ClassifierConf) -> Expected:
    """Imports timm (seconds)."""
    if name := timm_name(conf):
        from timm.models import get_pretrained_cfg

        own = f"{name}.tv_in1k" if name.startswith("resnet") else name  # torchvision's, for which others have files
        known = get_pretrained_cfg(own) or get_pretrained_cfg(name)
        if known is not None:
            return Expected(int(known.input_size[-1]), tuple(known.mean), tuple(known.std), str(known.hf_hub_id or ""))
    if isinstance(conf, PlainCNNConf):
        return Expected(96, (0.5,) * 3, (0.5,) * 3, "")
    return Expected(224, (0.5,) * 3, (0.5,) * 3, "")  # GoogLeNet's: Google scaled pictures to -1 to 1


def has_volumes(conf: ClassifierConf) -> bool:
    """Whether there is a network of three dimensions that is no inflated one."""
    if isinstance(conf, PlainCNNConf | ResNetConf):
        return True
    return isinstance(conf, FamilyConf) and (conf.variant in _DENSENETS or conf.variant.startswith("efficientnet_b"))


def picture_network(conf: FamilyConf, in_channels: int, num_outputs: int) -> nn.Module:
    """image (B, in_channels, H, W) -> logits (B, num_outputs); weights at random."""
    if conf.variant == _TORCHVISION:
        return _googlenet(conf, in_channels, num_outputs)
    from timm import create_model

    settings: dict[str, Any] = {"drop_rate": conf.dropout}
    if hasattr(conf, "drop_path"):
        settings["drop_path_rate"] = conf.drop_path
    if conf.name == "convnext":
        settings["conv_mlp"] = True  # convolutions of one pixel, which can be inflated, instead of matrices
    network: nn.Module = create_model(timm_name(conf), in_chans=in_channels, num_classes=num_outputs, **settings)
    if conf.name == "vgg":
        _average_before_head(network, num_outputs)
    return network


def _average_before_head(network: Any, num_outputs: int) -> None:
    """Without the two layers of 4096, nine tenths of a VGG's weights, whose kernel of 7 wants pictures of 224 px."""
    network.pre_logits = nn.Identity()
    network.head.fc = nn.Linear(network.num_features, num_outputs)
    nn.init.normal_(network.head.fc.weight, 0, 0.01)
    nn.init.zeros_(network.head.fc.bias)


def _googlenet(conf: FamilyConf, in_channels: int, num_outputs: int) -> nn.Module:
    from torchvision.models import googlenet

    network: Any = googlenet(
        weights=None, num_classes=num_outputs, aux_logits=False, init_weights=True, dropout=conf.dropout
    )
    first = network.conv1.conv
    if in_channels != first.in_channels:
        network.conv1.conv = nn.Conv2d(in_channels, first.out_channels, 7, stride=2, padding=3, bias=False)
        nn.init.trunc_normal_(network.conv1.conv.weight, std=0.01)
    body: nn.Module = network
    return body


def volume_network(conf: FamilyConf, in_channels: int, num_outputs: int) -> nn.Module:
    """image (B, in_channels, I, J, K) -> logits (B, num_outputs): MONAI's. Imports monai (seconds)."""
    network: Any
    if conf.variant in _DENSENETS:
        from monai.networks.nets.densenet import DenseNet

        network = DenseNet(3, in_channels, num_outputs, **_DENSENETS[conf.variant])
        network.class_layers.out = nn.Sequential(nn.Dropout(conf.dropout), network.class_layers.out)
        return network  # type: ignore[no-any-return]
    from monai.networks.nets.efficientnet import EfficientNetBN

    network = EfficientNetBN(
        conf.variant.replace("_", "-"), pretrained=False, spatial_dims=3, in_channels=in_channels,
        num_classes=num_outputs,
    )  # fmt: skip
    network._dropout = nn.Dropout(conf.dropout)
    blocks = [block for stage in network._blocks for block in stage]
    for index, block in enumerate(blocks):
        block.drop_connect_rate = getattr(conf, "drop_path", 0.0) * index / len(blocks)
    network.set_swish(memory_efficient=False)  # plain torch: it can be compiled, and its gradient taken twice
    return network  # type: ignore[no-any-return]
