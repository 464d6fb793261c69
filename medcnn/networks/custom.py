"""The one door for a user's own network: an nn.Module subclass, from a module that the user names."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import nn

from medcnn.config.errors import ConfigError

_NOT_YOURS = ("monai", "torch", "os", "sys", "builtins", "subprocess", "importlib", "shutil", "medcnn")


def custom_network(
    module: str,
    class_name: str,
    arguments: dict[str, Any],
    given: dict[str, Any],
    *,
    allowed: Collection[str],
    outlines: bool = False,
) -> nn.Module:
    """Import, check, build.

    given    in_channels, num_outputs, spatial_dims, size_px, and num_covariates where there are any: passed where the
             class takes them
    allowed  the modules that the user named in this very command; anything else is refused
    outlines whether it answers for every voxel, (B, num_outputs, *size_px), and not once for each scan
    """
    if module not in allowed or module.split(".")[0] in _NOT_YOURS:
        raise ConfigError([f"model.module: {module!r} was not named by you. Add modules=[{module}] if you trust it"])
    try:
        found = getattr(importlib.import_module(module), class_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError([f"model.module: {module}.{class_name} cannot be imported: {error}"]) from error
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise ConfigError([f"model.class_name: {module}.{class_name} is not a torch.nn.Module"])
    signature = inspect.signature(found)
    known = {name: value for name, value in given.items() if name in signature.parameters}
    try:
        bound = signature.bind(**{**known, **arguments})
    except TypeError as error:
        raise ConfigError([f"model.arguments: {class_name}{signature} refuses them: {error}"]) from error
    network: nn.Module = found(*bound.args, **bound.kwargs)
    size_px, num_outputs = tuple(given["size_px"]), given["num_outputs"]
    inputs = [torch.zeros(2, given["in_channels"], *size_px)]
    if takes_covariates(network):
        if not given.get("num_covariates"):
            raise ConfigError([f"model: {class_name} takes covariates; name the manifest's columns in data.covariates"])
        inputs.append(torch.zeros(2, given["num_covariates"]))
    _check_shape(network, inputs, (2, num_outputs, *size_px) if outlines else (2, num_outputs))
    return network


def takes_covariates(network: nn.Module) -> bool:
    """Whether it has a second input of its own: forward(image, covariates)."""
    return "covariates" in inspect.signature(network.forward).parameters


def _check_shape(network: nn.Module, inputs: Sequence[torch.Tensor], wanted: tuple[int, ...]) -> None:
    training = network.training
    try:
        with torch.no_grad():
            answer = network.eval()(*inputs)
    except (RuntimeError, ValueError, TypeError) as error:
        text, shape = str(error).partition("\n")[0], tuple(inputs[0].shape[1:])
        raise ConfigError([f"model: your network fails on two scans of {shape}: {text}"]) from error
    network.train(training)
    found = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
    if found != wanted:
        raise ConfigError([f"model: for two scans your network answers {found}, expected {wanted}"])
