"""Weights that others have trained, matched with a network: by the names of its layers, or by their order.

The last layer is the task's own and stays as it is; the first is adapted to the number of channels, kernels of pictures
to volumes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from medcnn.networks.encoders import for_channels
from medcnn.networks.inflate import inflated_kernel

_PREFIXES = ("state_dict.", "module.", "model.", "network.", "body.", "_orig_mod.")  # put before a layer's name
# What stands behind the body of the networks that are met here: the last layer, auxiliary ones, a VGG's two wide ones.
_HEADS = re.compile(r"^(_?fc|classifier|head\.fc|last_linear|classif|pre_logits|aux\w*|AuxLogits|class_layers\.out)\b")
_ENOUGH = 0.9  # share of the kernels that makes weights those of another network that is known


@dataclass(frozen=True)
class Match:
    """Own tensors with what they are given; `fresh` are those of attention, which the weights do not have."""

    pairs: list[tuple[Tensor, Tensor]]
    missing: list[str]
    unused: list[str]
    differing: list[str]
    fresh: list[str]

    @property
    def fits(self) -> bool:
        """Whether all is given and nothing is left over."""
        return bool(self.pairs) and not (self.missing or self.unused or self.differing)


def head_of(network: nn.Module) -> str:
    """The name of the last layer, which the task decides; "" where a network has no matrix."""
    return next((name for name, m in reversed(list(network.named_modules())) if isinstance(m, nn.Linear)), "")


def head_pairs(network: nn.Module, given: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The last layer's own tensors with those given; [] where the given ones lack one, or have other shapes."""
    head = head_of(network)
    found = {_without_dropout(name): tensor for name, tensor in given.items()}
    pairs = []
    for part, own in network.get_submodule(head).state_dict().items():
        theirs = found.get(_without_dropout(f"{head}.{part}"))
        if theirs is None or theirs.shape != own.shape:
            return []
        pairs.append((own, theirs))
    return pairs


def _without_dropout(name: str) -> str:
    """A head's weight is called alike whether dropout stands before it or not: fc.1.weight is fc.weight."""
    layer, _, part = canonical(name).rpartition(".")
    return f"{layer.removesuffix('.1')}.{part}"


def canonical(name: str) -> str:
    """A weight's name without what wrappers, dropout, attention and inflation put around it."""
    while (prefix := next((word for word in _PREFIXES if name.startswith(word)), None)) is not None:
        name = name.removeprefix(prefix)
    name = re.sub(r"\.(bn\d)\.norm\.", r".\1.", name)
    name = re.sub(r"\.bn\d\.attention\.", ".se.", name)
    name = name.replace(".drop_path.0.gamma", ".gamma")
    return re.sub(r"\.(norm|conv|relu)\.(\d)\.", r".\1\2.", name)  # as torchvision's first DenseNets were written


def match(network: nn.Module, given: dict[str, Tensor]) -> Match:
    """By name; by order where the names are others but the kinds and shapes are the same throughout."""
    head = head_of(network)
    own = {name: tensor for name, tensor in network.state_dict().items() if not _is_counter(name)}
    body = {name: tensor for name, tensor in own.items() if not name.startswith(f"{head}.")}
    first = next((name for name, tensor in body.items() if tensor.ndim > 2), "")
    found = {canonical(name): tensor for name, tensor in given.items() if not _is_counter(name)}
    named = sum(canonical(name) in found for name in body)
    if named < len(body) / 2 and (ordered := _by_order(list(own.items()), list(found.items()), first)):
        found = ordered
    return _by_name(body, found, first, canonical(head))


def _by_name(body: dict[str, Tensor], found: dict[str, Tensor], first: str, head: str) -> Match:
    pairs: list[tuple[Tensor, Tensor]] = []
    missing: list[str] = []
    differing: list[str] = []
    fresh: list[str] = []
    for name, own in body.items():
        layer = canonical(name)
        if layer not in found:
            (fresh if _is_attention(name) else missing).append(layer)
            continue
        tensor = adapted(found[layer], own, is_first=name == first)
        if tensor.shape == own.shape:
            pairs.append((own, tensor))
        else:
            differing.append(f"{layer} is {tuple(found[layer].shape)}, the network has {tuple(own.shape)}")
    known = {canonical(name) for name in body}
    unused = [n for n in found if n not in known and not _HEADS.match(n) and not (head and n.startswith(f"{head}."))]
    return Match(pairs, missing, unused, differing, fresh)


def adapted(given: Tensor, own: Tensor, *, is_first: bool) -> Tensor:
    """A tensor in the shape of the network's own, as far as that keeps its meaning."""
    if is_first and given.ndim > 2 and given.shape[1] != own.shape[1]:
        given = for_channels(given, own.shape[1])
    if given.ndim == 4 and own.ndim == 5:
        given = inflated_kernel(given, own.shape[-1])
    small = own.ndim > given.ndim == 2 or given.ndim > own.ndim == 2
    if small and given.shape[:2] == own.shape[:2] and given.numel() == own.numel():
        given = given.reshape(own.shape)  # a matrix and a convolution of one pixel
    return given


def _by_order(own: list[tuple[str, Tensor]], given: list[tuple[str, Tensor]], first: str) -> dict[str, Tensor]:
    """The given tensors under the network's names, where kinds and shapes agree one by one; {} where they do not.

    A file in the order of the alphabet does not: there a bias comes before its kernel.
    """
    if len(own) != len(given):
        return {}
    for (name, tensor), (other, theirs) in zip(own, given, strict=True):
        if name.rpartition(".")[2] != other.rpartition(".")[2]:
            return {}
        shape = adapted(theirs, tensor, is_first=name == first).shape
        if shape != tensor.shape and not _HEADS.match(canonical(name)):
            return {}
    return {canonical(name): theirs for (name, _), (_, theirs) in zip(own, given, strict=True)}


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _is_attention(name: str) -> bool:
    return ".attention." in name


def likeness(network: nn.Module, given: dict[str, Tensor]) -> float:
    """The share of kernels, by their shapes, that network and weights have in common, heads and first layers aside."""
    own, theirs = Counter(_shapes(network.state_dict())), Counter(_shapes(given))
    return (own & theirs).total() / max(1, (own | theirs).total())


def is_like(network: nn.Module, given: dict[str, Tensor]) -> bool:
    """Whether these could be the network's weights."""
    return likeness(network, given) >= _ENOUGH


def _shapes(tensors: dict[str, Tensor]) -> Iterator[tuple[int, ...]]:
    kernels = [tensor for name, tensor in tensors.items() if tensor.ndim > 2 and not _HEADS.match(canonical(name))]
    yield from (tuple(kernel.shape[:4]) for kernel in kernels[1:])
