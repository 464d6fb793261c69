"""A network that starts from given weights, on pictures as medcnn scales them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import nn

from medcnn.config.model import ClassifierConf, ModelConf
from medcnn.networks.cost import check_size, without_memory
from medcnn.networks.pretrained import Pretrained, load_pretrained, require_pretrained

log = logging.getLogger("medcnn")


def require_start(conf: ClassifierConf, size_px: Sequence[int]) -> None:
    """Raise ConfigError where such a network cannot be, or cannot start from what is named; any data will do."""
    check_size(conf, size_px)
    if conf.pretrained:
        require_pretrained(without_memory(conf, 1, 2, size_px), conf)


def start_from(network: nn.Module, conf: ModelConf, *, scale: str, keep_head: bool = False) -> None:
    """What conf.pretrained names, if anything. Raises ConfigError.

    scale      of transforms.intensity. What zscore makes is what weights of normalised pictures know; the others give
               numbers from -1 to 1, which the first convolution is made to expect.
    keep_head  of a package that knows the same classes
    """
    given = load_pretrained(network, conf, keep_head=keep_head)
    if given is None:
        return
    if given.mean and scale != "zscore":
        expect_from_minus_one_to_one(network, given)
    log.info(
        "starts from %s: %d tensors, the last layer %s%s", given.source, given.tensors,
        "among them, as the classes are the same" if given.head else "starts at random",
        f", as do {given.fresh} tensors of attention" if given.fresh else "",
    )  # fmt: skip


@torch.no_grad()
def expect_from_minus_one_to_one(network: nn.Module, given: Pretrained) -> None:
    """The weights want (v - mean) / std of values v from 0 to 1, and get x = 2 v - 1: the first convolution's kernels
    take the scale, its bias or the norm behind it the shift. Exact but for the border, where padding is another grey.
    """
    layers = [layer for layer in network.modules() if not list(layer.children())]
    first = next(place for place, layer in enumerate(layers) if isinstance(layer, nn.Conv2d | nn.Conv3d))
    convolution = layers[first]
    assert isinstance(convolution, nn.Conv2d | nn.Conv3d)
    weight = convolution.weight
    mean, std = (torch.tensor(values, dtype=weight.dtype, device=weight.device) for values in (given.mean, given.std))
    channels = (1, -1, *[1] * (weight.ndim - 2))
    shift = (weight * ((0.5 - mean) / std).reshape(channels)).flatten(1).sum(dim=1)
    weight.mul_((0.5 / std).reshape(channels))
    behind = layers[first + 1] if first + 1 < len(layers) else None
    if convolution.bias is not None:
        convolution.bias += shift
    elif isinstance(behind, nn.BatchNorm2d | nn.BatchNorm3d) and behind.running_mean is not None:
        behind.running_mean -= shift
