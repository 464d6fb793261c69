"""What a network costs, and the least input that it takes: measured on a copy without memory, without computing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import log2, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from medcnn.config.errors import ConfigError
from medcnn.config.model import ClassifierConf, FamilyConf
from medcnn.networks.classifier import classifier, is_inflated

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)
_LARGE_PX = {2: 256, 3: 128}  # a size at which every family's strides show
_LEAST_PX, _MOST_PX = 8, 512  # less makes no sense, and no network wants more
_ENOUGH_PX = 128  # no family wants more, so that only smaller inputs are tried


@dataclass(frozen=True)
class Cost:
    """Of one input: numbers that are learnt, multiplications with their additions, and how far maps are reduced."""

    parameters: int
    multiply_adds: int
    stride: int


def cost_of(conf: ClassifierConf, *, in_channels: int, num_outputs: int, size_px: Sequence[int]) -> Cost:
    """Convolutions and matrices are counted, as everybody counts; norms, activations and pooling are not."""
    return _measured(without_memory(conf, in_channels, num_outputs, size_px), in_channels, size_px)


def _measured(network: nn.Module, in_channels: int, size_px: Sequence[int]) -> Cost:
    counted: list[int] = []
    maps: list[int] = [min(size_px)]

    def note(module: nn.Module, given: object, output: Any) -> None:
        counted.append(_multiply_adds(module, output))
        if isinstance(module, _CONVOLUTIONS) and max(output.shape[2:]) > 1:
            maps.append(int(min(output.shape[2:4])))

    hooks = [m.register_forward_hook(note) for m in network.modules() if isinstance(m, (*_CONVOLUTIONS, nn.Linear))]
    _pass(network, in_channels, size_px)
    for hook in hooks:
        hook.remove()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(parameters, sum(counted), 2 ** round(log2(min(size_px) / min(maps))))


def _multiply_adds(module: nn.Module, output: Tensor) -> int:
    if isinstance(module, nn.Linear):
        return int(output[0].numel()) * module.in_features
    weight: Any = module.weight
    return int(output[0].numel()) * int(prod(weight.shape[1:]))


def minimum_px(conf: ClassifierConf, spatial_dims: int, *, stride: int = 0) -> int:
    """The least side of an input that the network can answer for with a map of a point that has seen it whole.

    That is the network's whole stride, and more where it does not pad, as Inception.

    stride  where it is known already, from an input that shows it
    """
    large = (_LARGE_PX[spatial_dims],) * spatial_dims
    if not isinstance(conf, FamilyConf):  # its stem follows the size, so each size has a network of its own
        return next(side for side in range(_LEAST_PX, _MOST_PX) if _answers(conf, side, large))
    network = without_memory(conf, 1, 2, large)
    low = (stride or _measured(network, 1, large).stride) - 1  # taken by none
    high = low + 1
    while not _runs(network, high, spatial_dims):
        low, high = high, 2 * high
    while high - low > 1:  # what takes one size takes every larger one
        middle = (low + high) // 2
        low, high = (low, middle) if _runs(network, middle, spatial_dims) else (middle, high)
    return high


def check_size(conf: ClassifierConf, size_px: Sequence[int]) -> None:
    """Raises ConfigError where the input is too small for the family, with the least size."""
    if not isinstance(conf, FamilyConf) or min(size_px) >= _ENOUGH_PX:
        return
    inflated = len(size_px) == 3 and is_inflated(conf)
    sides = size_px[:2] if inflated else size_px  # along the new axis one slice is enough
    least = minimum_px(conf, len(sides))
    thin = len(sides) == 3 and min(size_px[:2]) >= least
    flat = "model.volumes=inflated, for which one slice is enough, " if thin else ""
    larger = [max(side, least) for side in sides] + list(size_px[len(sides) :])
    if min(sides) < least:
        raise ConfigError(
            [
                f"transforms.size_px: {conf.variant} wants at least {least} pixels a side, got {list(size_px)}. "
                f"Set transforms.size_px=[{','.join(map(str, larger))}] "
                f"or {flat}a network for small inputs: model=plain_cnn, model=resnet18"
            ]
        )


def _answers(conf: ClassifierConf, side: int, large: Sequence[int]) -> bool:
    network = without_memory(conf, 1, 2, (side,) * len(large))
    return _measured(network, 1, large).stride <= side and _runs(network, side, len(large))


def _runs(network: nn.Module, side: int, spatial_dims: int) -> bool:
    try:
        _pass(network, 1, (side,) * spatial_dims)
    except (RuntimeError, ValueError):
        return False
    return True


def without_memory(conf: ClassifierConf, in_channels: int, num_outputs: int, size_px: Sequence[int]) -> nn.Module:
    """The network as far as shapes go: weights without numbers, and norms and activations that do nothing."""
    with torch.device("meta"), _silence():
        network = classifier(conf, in_channels, num_outputs, size_px).eval()
    for module in network.modules():
        if isinstance(module, _NORMS) or "activation" in type(module).__module__:
            module.forward = _same  # they keep the shape, and are slow without memory
    return network


def _same(x: Tensor) -> Tensor:
    return x


def _pass(network: nn.Module, in_channels: int, size_px: Sequence[int]) -> None:
    with torch.no_grad(), _silence():
        network(torch.empty(1, in_channels, *size_px, device="meta"))


@contextmanager
def _silence() -> Iterator[None]:
    """Weights that are not there cannot be filled, which torch says once for each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
