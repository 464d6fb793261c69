"""From a model's settings to a network: the only place that knows both."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medcnn.config.errors import ConfigError
from medcnn.config.model import MODEL_KINDS, ClassifierConf, CustomConf, ModelConf, UNetConf


def build_network(
    conf: ModelConf,
    *,
    in_channels: int,
    num_outputs: int,
    size_px: Sequence[int],
    modules: Collection[str] = (),
    outlines: bool = False,
    num_covariates: int = 0,
    grades: bool = False,
) -> nn.Module:
    """A fresh network for inputs (B, in_channels, *size_px).

    modules   those that a custom network may come from, besides none
    outlines  whether a custom network answers for every voxel
    num_covariates  numbers beside the image; with any, a second input (B, num_covariates)
    grades    whether the outputs are ordered grades, answered from one score (medcnn/networks/grades.py)
    """
    given: dict[str, Any] = {
        "spatial_dims": len(size_px),
        "in_channels": in_channels,
        "num_outputs": num_outputs,
        "size_px": tuple(size_px),
    }
    match conf:
        case ClassifierConf():
            from medcnn.networks.classifier import classifier
            from medcnn.networks.cost import check_size

            check_size(conf, size_px)
            network = classifier(conf, in_channels, num_outputs, size_px)
            return _joined(_graded(network, num_outputs) if grades else network, num_covariates)
        case UNetConf():
            return _unet(conf, **given)
        case CustomConf():
            from medcnn.networks.custom import custom_network, takes_covariates

            if num_covariates:
                given["num_covariates"] = num_covariates
            network = custom_network(
                conf.module, conf.class_name, conf.arguments, given, allowed=modules, outlines=outlines
            )
            own = takes_covariates(network)
            example = torch.zeros(2, in_channels, *size_px)
            if grades:
                beside = [torch.zeros(2, num_covariates)] if own else []
                network = _graded(network, num_outputs, example, *beside)
            return network if own else _joined(network, num_covariates, example)
    raise ConfigError([f"model: no network is built from {type(conf).__name__}"])


def _graded(network: nn.Module, num_grades: int, *example: torch.Tensor) -> nn.Module:
    from medcnn.networks.grades import with_grades

    return with_grades(network, num_grades, *example)


def _joined(network: nn.Module, num_covariates: int, example: torch.Tensor | None = None) -> nn.Module:
    from medcnn.networks.covariates import with_covariates

    return with_covariates(network, num_covariates, example) if num_covariates else network


def _unet(
    conf: UNetConf, *, spatial_dims: int, in_channels: int, num_outputs: int, size_px: Sequence[int]
) -> nn.Module:
    from medcnn.networks.unet import UNet

    if not (conf.widths and conf.kernels and conf.strides):
        raise ConfigError(["model: a U-Net needs widths, kernels and strides; the plan decides those that are []"])
    settings = {key: value for key, value in asdict(conf).items() if key not in ("name", "encoder_weights")}
    try:
        network = UNet(spatial_dims=spatial_dims, in_channels=in_channels, num_outputs=num_outputs, **settings)
        network.check_size(size_px)
    except ValueError as error:
        raise ConfigError([f"model.{error}"]) from error
    return network


def load_encoder_weights(network: nn.Module, conf: ModelConf) -> int:
    """Before a training from its start: what conf.encoder_weights names goes into a U-Net's encoder.

    How many tensors were found; 0 where nothing is named. A package keeps the trained weights and needs no such file.
    """
    from medcnn.networks.encoders import load_encoder
    from medcnn.networks.unet import UNet

    if not (isinstance(conf, UNetConf) and conf.encoder_weights and isinstance(network, UNet)):
        return 0
    return load_encoder(network.encoder, Path(conf.encoder_weights))


def model_conf(settings: dict[str, Any]) -> ModelConf:
    """The settings of a model package, as the dataclass they came from."""
    kind = MODEL_KINDS.get(str(settings.get("name")))
    if kind is None:
        raise ConfigError([f"model: this version knows no network {settings.get('name')!r}"])
    return kind(**settings)


def carried_settings(conf: ModelConf) -> dict[str, Any]:
    """A network's settings as a model package carries them: without paths of the machine that trained it.

    `imagenet` stays, as a stem and the choice of volumes may follow from it.
    """
    settings = asdict(conf)
    for name in ("weights_folder", "encoder_weights"):
        if name in settings:
            settings[name] = ""
    settings.pop("new_head", None)  # of the start, which is over
    if settings.get("pretrained") not in (None, "imagenet"):
        settings["pretrained"] = ""
    return settings


def num_parameters(network: nn.Module) -> int:
    """Trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
