"""From a classifier's settings to its network: of pictures, of volumes, or of pictures and inflated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from medcnn.config.errors import ConfigError
from medcnn.config.model import ClassifierConf, FamilyConf, PlainCNNConf, ResNetConf

_ELSEWHERE = ("name", "pretrained", "weights_folder", "new_head", "volumes")  # what the networks themselves do not take


def classifier(conf: ClassifierConf, in_channels: int, num_outputs: int, size_px: Sequence[int]) -> nn.Module:
    """image (B, in_channels, *size_px) -> logits (B, num_outputs), weights at random; the size is not looked at.

    Raises ConfigError where the family has no such network of volumes.
    """
    if len(size_px) == 3 and is_inflated(conf):
        from medcnn.networks.inflate import inflate

        return inflate(classifier(conf, in_channels, num_outputs, size_px[:2]))
    if isinstance(conf, FamilyConf):
        from medcnn.networks.families import picture_network, volume_network

        return (picture_network if len(size_px) == 2 else volume_network)(conf, in_channels, num_outputs)
    given: dict[str, Any] = {
        "spatial_dims": len(size_px),
        "in_channels": in_channels,
        "num_outputs": num_outputs,
        "size_px": tuple(size_px),
    }
    settings = {key: value for key, value in asdict(conf).items() if key not in _ELSEWHERE}
    if isinstance(conf, ResNetConf):
        from medcnn.networks.resnet import ResNet

        if conf.stem == "auto" and conf.pretrained == "imagenet":
            settings["stem"] = "large"  # the one that these weights have
        return ResNet(**given, **settings)
    if isinstance(conf, PlainCNNConf):
        from medcnn.networks.plain_cnn import PlainCNN

        return PlainCNN(**given, **settings)
    raise ConfigError([f"model: no network is built from {type(conf).__name__}"])


def is_inflated(conf: ClassifierConf) -> bool:
    """Whether volumes are classified by the network of pictures, inflated."""
    from medcnn.networks.families import has_volumes, variant_name

    own = has_volumes(conf)
    if conf.volumes == "native" and not own:
        raise ConfigError(
            [f"model.volumes: {variant_name(conf)} has no volumes of its own. Set model.volumes=inflated"]
        )
    return conf.volumes == "inflated" or (conf.volumes == "auto" and (not own or conf.pretrained == "imagenet"))
