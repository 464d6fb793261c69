"""What a classifier starts from: ImageNet's weights, a file of weights, or a model that medcnn has trained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from medcnn.config.errors import ConfigError
from medcnn.config.model import FAMILIES, ClassifierConf, ModelConf, PlainCNNConf, ResNetConf, variants
from medcnn.networks.encoders import read_weights
from medcnn.networks.families import Expected, expected
from medcnn.networks.imagenet import SETTING, file_of, imagenet_weights
from medcnn.networks.weights_fit import Match, is_like, likeness, match

_PACKAGE_FILE, _MEMBER = "model.json", "weights_0.safetensors"  # of a package, the first member
_PACKAGE_PLACES = ("", "model", "latest/model")  # in a package, a run folder, and a folder of runs
_NAMED = 3  # layers that an error names


@dataclass(frozen=True)
class Pretrained:
    """What a network has been given.

    source   in words, without a path
    tensors  how many of them
    fresh    how many start at random besides the head: those of attention, which the weights do not have
    mean, std  one for each channel of the input, of intensities that lie in value_range first; () where the weights
               do not say, as those of medcnn's own packages, whose preprocessing stands in model.json
    """

    source: str
    tensors: int
    fresh: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    value_range: tuple[float, float] = (0.0, 1.0)


def load_pretrained(network: nn.Module, conf: ModelConf) -> Pretrained | None:
    """Put conf.pretrained into the network, all but its last layer; None where nothing is named.

    Raises ConfigError where there are no such weights, or they are another network's.
    """
    if not (isinstance(conf, ClassifierConf) and conf.pretrained):
        return None
    given, source, pictures = _given(conf)
    matched = match(network, given)
    if not matched.fits:
        raise ConfigError([_misfit(given, matched)])
    with torch.no_grad():
        for own, tensor in matched.pairs:
            own.copy_(tensor)
    channels = _channels(network)
    mean, std = (
        (_for_channels(pictures.mean, channels), _for_channels(pictures.std, channels)) if pictures else ((), ())
    )
    return Pretrained(source, len(matched.pairs), len(matched.fresh), mean, std)


def _given(conf: ClassifierConf) -> tuple[dict[str, Tensor], str, Expected | None]:
    """Tensors, where they come from in words, and the pictures they know where that can be said."""
    if conf.pretrained == "imagenet":
        found = imagenet_weights(conf)
        return found.tensors, f"ImageNet, {found.source}", found.expected
    path = Path(conf.pretrained).expanduser()
    if (package := package_folder(path)) is not None:
        return read_weights(package / _MEMBER, SETTING), "a model of medcnn's own", None
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
    return tensors, "a file of weights", expected(conf) if imagenet else None


def package_folder(path: Path) -> Path | None:
    """The model package at a path: itself, a run's, the latest run's, or the one within an MLflow model."""
    places = [path / place for place in _PACKAGE_PLACES]
    places += sorted(folder.parent for folder in path.glob(f"artifacts/*/{_PACKAGE_FILE}"))
    return next((place for place in places if (place / _PACKAGE_FILE).is_file()), None)


def package_network(path: Path) -> dict[str, object]:
    """The settings of a package's network, as its model.json has them."""
    found = json.loads((path / _PACKAGE_FILE).read_text(encoding="utf-8"))
    network = found.get("network", {}) if isinstance(found, dict) else {}
    return dict(network)


def _channels(network: nn.Module) -> int:
    kernel = next(parameter for parameter in network.parameters() if parameter.ndim > 2)
    return int(kernel.shape[1])


def _for_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Colours' values as they are for three channels, their average for any other number."""
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _misfit(given: dict[str, Tensor], matched: Match) -> str:
    """What does not fit, and what would."""
    stem = " Set model.stem=large." if matched.differing and "conv1.weight" in matched.differing[0] else ""
    if stem and len(matched.differing) == 1:
        return f"{SETTING}: these weights are of a network for large inputs.{stem}"
    if not matched.pairs and not given:
        return f"{SETTING}: the file holds no tensors"
    what = (
        [f"{len(matched.differing)} layers have other shapes ({_some(matched.differing)})"] * bool(matched.differing)
        + [f"{len(matched.missing)} are not in the file ({_some(matched.missing)})"] * bool(matched.missing)
        + [f"{len(matched.unused)} of the file are not in the network ({_some(matched.unused)})"] * bool(matched.unused)
    )
    near = nearest_network(given)
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
