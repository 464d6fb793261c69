"""What a classifier starts from: ImageNet's weights, a file of weights, or a model that medcnn has trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from medcnn.config.errors import ConfigError
from medcnn.config.model import FAMILIES, ClassifierConf, ModelConf, PlainCNNConf, ResNetConf, variants
from medcnn.networks.covariates import image_weights
from medcnn.networks.encoders import read_weights
from medcnn.networks.families import Expected, expected
from medcnn.networks.imagenet import file_of, imagenet_weights
from medcnn.networks.package_facts import MEMBER, SETTING, PackageFacts, package_facts, package_folder
from medcnn.networks.weights_fit import Match, head_pairs, is_like, likeness, match

_NAMED = 3  # layers that an error names


@dataclass(frozen=True)
class Pretrained:
    """What a network has been given.

    source   in words, without a path
    tensors  how many of them
    fresh    how many start at random besides the head: those of attention, which the weights do not have
    head     whether the last layer is among them
    mean, std  one for each channel of the input, of intensities that lie in value_range first; () where the weights
               do not say, as those of medcnn's own packages, whose preprocessing stands in model.json
    """

    source: str
    tensors: int
    fresh: int = 0
    head: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    value_range: tuple[float, float] = (0.0, 1.0)


def load_pretrained(network: nn.Module, conf: ModelConf, *, keep_head: bool = False) -> Pretrained | None:
    """Put conf.pretrained into the network; None where nothing is named.

    keep_head  the last layer too, which is another task's unless the classes are the same
    Raises ConfigError where there are no such weights, or they are another network's.
    """
    if not (isinstance(conf, ClassifierConf) and conf.pretrained):
        return None
    given = _given(conf)
    matched = _matched(network, given)
    head = head_pairs(network, given.tensors) if keep_head else []
    with torch.no_grad():
        for own, tensor in [*matched.pairs, *head]:
            own.copy_(tensor)
    channels, pictures = _channels(network), given.expected
    mean, std = (
        (_for_channels(pictures.mean, channels), _for_channels(pictures.std, channels)) if pictures else ((), ())
    )
    return Pretrained(given.source, len(matched.pairs) + len(head), len(matched.fresh), bool(head), mean, std)


def require_pretrained(network: nn.Module, conf: ClassifierConf) -> None:
    """Raise ConfigError where load_pretrained would; the network may be one without memory."""
    if conf.pretrained:
        _matched(network, _given(conf))


@dataclass(frozen=True)
class _Given:
    """Tensors, where they come from in words; the pictures and the package that they know, where that can be said."""

    tensors: dict[str, Tensor]
    source: str
    expected: Expected | None = None
    package: PackageFacts | None = None


def _matched(network: nn.Module, given: _Given) -> Match:
    matched = match(network, given.tensors)
    if not matched.fits:
        raise ConfigError([_misfit(given, matched)])
    return matched


def _given(conf: ClassifierConf) -> _Given:
    if conf.pretrained == "imagenet":
        found = imagenet_weights(conf)
        return _Given(found.tensors, f"ImageNet, {found.source}", found.expected)
    path = Path(conf.pretrained).expanduser()
    if (package := package_folder(path)) is not None:
        facts, tensors = package_facts(package), image_weights(read_weights(package / MEMBER, SETTING))
        return _Given(tensors, "a model of medcnn's own", package=facts)
    if path.is_dir():
        file = file_of(path, conf)
        if file is None:
            raise ConfigError([f"{SETTING}: this folder holds neither a model package nor weights of {conf.name}"])
        path = file
    if not path.exists():
        raise ConfigError(
            [f"{SETTING}: there is no such file or folder. Give imagenet, weights, a model package or a run folder"]
        )
    tensors = read_weights(path, SETTING)
    imagenet = conf.name != PlainCNNConf.name  # files of the published families are nearly always ImageNet's
    return _Given(tensors, "a file of weights", expected(conf) if imagenet else None)


def _channels(network: nn.Module) -> int:
    kernel = next(parameter for parameter in network.parameters() if parameter.ndim > 2)
    return int(kernel.shape[1])


def _for_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Colours' values as they are for three channels, their average for any other number."""
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _misfit(given: _Given, matched: Match) -> str:
    """What does not fit, and what would."""
    stem = " Set model.stem=large." if matched.differing and "conv1.weight" in matched.differing[0] else ""
    if stem and len(matched.differing) == 1 and given.package is None:
        return f"{SETTING}: these weights are of a network for large inputs.{stem}"
    if not matched.pairs and not given.tensors:
        return f"{SETTING}: the file holds no tensors"
    what = (
        [f"{len(matched.differing)} layers have other shapes ({_some(matched.differing)})"] * bool(matched.differing)
        + [f"{len(matched.missing)} are not in the file ({_some(matched.missing)})"] * bool(matched.missing)
        + [f"{len(matched.unused)} of the file are not in the network ({_some(matched.unused)})"] * bool(matched.unused)
    )
    if given.package is not None:
        return f"{SETTING}: this is a package of another network: {'; '.join(what)}. {given.package.words()}"
    near = nearest_network(given.tensors)
    hint = f"They fit {near}" if near else "They fit no network that medcnn knows; see medcnn models"
    return f"{SETTING}: these are weights of another network: {'; '.join(what)}. {hint}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def nearest_network(given: dict[str, Tensor]) -> str:
    """`model=densenet model.variant=densenet121`: what these weights are most alike, or "". Builds all (seconds)."""
    from medcnn.networks.cost import without_memory

    best, words = 0.0, ""
    for conf, said in _known():
        network = without_memory(conf, 3, 2, (224, 224))
        if is_like(network, given) and (share := likeness(network, given)) > best:
            best, words = share, said
    return words


def _known() -> Iterator[tuple[ClassifierConf, str]]:
    for depth in (18, 34, 50):
        yield ResNetConf(depth=depth, stem="large"), f"model=resnet{depth}"
        yield ResNetConf(depth=depth, stem="large", attention="se"), f"model=seresnet model.depth={depth}"
    for kind in FAMILIES:
        for name in dict.fromkeys(variants(kind)):
            conf = replace(kind(), variant=name)
            yield conf, f"model={conf.name} model.variant={name}"
