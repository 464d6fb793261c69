"""From a model's settings to a network: the only place that knows both."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from medcnn.config.errors import ConfigError
from medcnn.config.model import MODEL_KINDS, CustomConf, ModelConf, PlainCNNConf, ResNetConf


def build_network(
    conf: ModelConf,
    *,
    in_channels: int,
    num_outputs: int,
    size_px: Sequence[int],
    modules: Collection[str] = (),
) -> nn.Module:
    """A fresh network for inputs (B, in_channels, *size_px).

    modules  those that a custom network may come from, besides none
    """
    given: dict[str, Any] = {
        "spatial_dims": len(size_px),
        "in_channels": in_channels,
        "num_outputs": num_outputs,
        "size_px": tuple(size_px),
    }
    settings = {key: value for key, value in asdict(conf).items() if key != "name"}
    match conf:
        case PlainCNNConf():
            from medcnn.networks.plain_cnn import PlainCNN

            return PlainCNN(**given, **settings)
        case ResNetConf():
            from medcnn.networks.resnet import ResNet

            return ResNet(**given, **settings)
        case CustomConf():
            from medcnn.networks.custom import custom_network

            return custom_network(conf.module, conf.class_name, conf.arguments, given, allowed=modules)
    raise ConfigError([f"model: no network is built from {type(conf).__name__}"])


def model_conf(settings: dict[str, Any]) -> ModelConf:
    """The settings of a model package, as the dataclass they came from."""
    kind = MODEL_KINDS.get(str(settings.get("name")))
    if kind is None:
        raise ConfigError([f"model: this version knows no network {settings.get('name')!r}"])
    return kind(**settings)


def num_parameters(network: nn.Module) -> int:
    """Trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
