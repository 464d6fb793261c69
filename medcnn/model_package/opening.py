"""Opening a model package: its description is checked, its weights are checked against their SHA-256."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medcnn.config.errors import ConfigError
from medcnn.errors import PackageError
from medcnn.inference.classifier import Classifier, choose_device
from medcnn.inference.regressor import Regressor
from medcnn.inference.segmenter import Segmenter
from medcnn.model_package.classifier import ClassifierDescription, ClassifierPackage
from medcnn.model_package.description import DESCRIPTION, Description, package_digest, package_folder
from medcnn.model_package.regressor import RegressorDescription, RegressorPackage
from medcnn.model_package.segmenter import SegmenterDescription, SegmenterPackage
from medcnn.networks.build import build_network, model_conf
from medcnn.networks.memory_format import network_channels_last
from medcnn.transforms.preprocessing import STEPS_VERSION
from medcnn.transforms.whole_grid import GRID_VERSION

ModelPackage = ClassifierPackage | SegmenterPackage | RegressorPackage
AnyDescription = ClassifierDescription | SegmenterDescription | RegressorDescription
_KINDS: dict[str, type[AnyDescription]] = {
    kind.kind: kind for kind in (ClassifierDescription, SegmenterDescription, RegressorDescription)
}
_DOES = {"classification": "classifies", "segmentation": "segments", "regression": "predicts a number"}


def read_description(folder: Path) -> AnyDescription:
    """model.json, checked. Raises PackageError. Reads no weights."""
    found = _read_json(folder)
    kind, version = _KINDS.get(str(found.get("kind"))), int(found["format_version"])
    newest = kind.format_version if kind else max(known.format_version for known in _KINDS.values())
    if version > newest:
        raise PackageError(f"this package has format {version}, this medcnn reads up to {newest}. Update medcnn")
    if kind is None:
        raise PackageError(f"{DESCRIPTION} is of no kind that is known. Copy the package again")
    try:
        description = kind.from_json(found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PackageError(f"{DESCRIPTION} is not complete ({error}). Copy the package again") from error
    newest = GRID_VERSION if isinstance(description, SegmenterDescription) else STEPS_VERSION
    if description.preprocessing.version > newest:
        raise PackageError("this package was made by a newer medcnn with other preprocessing. Update medcnn")
    return description


def _read_json(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / DESCRIPTION).read_text())
        version = int(found["format_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PackageError(f"{DESCRIPTION} cannot be read ({type(error).__name__}). Copy the package again") from error
    if version < 1:
        raise PackageError(f"{DESCRIPTION} cannot be read (format {version}). Copy the package again")
    return dict(found)


def load_package(
    path: Path, *, accelerator: str = "auto", batch_cases: int = 64, modules: Collection[str] = ()
) -> ModelPackage:
    """Open a package, or the one of a run folder; every weight file is checked against its SHA-256.

    modules  that a user's own network may be imported from. Raises PackageError.
    """
    folder = package_folder(path)
    description = read_description(folder)
    if not description.weights:
        raise PackageError(f"{DESCRIPTION} names no weights. Copy the package again")
    weights = Weights(folder, description, modules)
    device, digest = choose_device(accelerator), package_digest(folder)
    if isinstance(description, SegmenterDescription):
        networks = weights.all(len(description.settings.patch), device)
        return SegmenterPackage(description, _segmenter(description, networks, device), digest)
    networks = weights.all(len(description.preprocessing.size_px), device)
    if isinstance(description, RegressorDescription):
        regressor = Regressor(networks, description.rule, device, batch_cases, description.shifts)
        return RegressorPackage(description, regressor, digest)
    classifier = Classifier(networks, description.rule, device, batch_cases, description.shifts)
    return ClassifierPackage(description, classifier, digest)


def load_classifier(
    path: Path, *, accelerator: str = "auto", batch_cases: int = 64, modules: Collection[str] = ()
) -> ClassifierPackage:
    """The same, where only a classifier will do."""
    package = load_package(path, accelerator=accelerator, batch_cases=batch_cases, modules=modules)
    if not isinstance(package, ClassifierPackage):
        raise PackageError(
            f"this model {_DOES[package.description.kind]}; a classifier is asked for here. Give another package"
        )
    return package


def load_regressor(
    path: Path, *, accelerator: str = "auto", batch_cases: int = 64, modules: Collection[str] = ()
) -> RegressorPackage:
    """The same, where only a regression will do."""
    package = load_package(path, accelerator=accelerator, batch_cases=batch_cases, modules=modules)
    if not isinstance(package, RegressorPackage):
        raise PackageError(
            f"this model {_DOES[package.description.kind]}; a regression is asked for here. Give another package"
        )
    return package


def load_segmenter(path: Path, *, accelerator: str = "auto", modules: Collection[str] = ()) -> SegmenterPackage:
    """The same, where only a segmenter will do."""
    package = load_package(path, accelerator=accelerator, modules=modules)
    if not isinstance(package, SegmenterPackage):
        raise PackageError(
            f"this model {_DOES[package.description.kind]}; a segmenter is asked for here. Give another package"
        )
    return package


def _segmenter(description: SegmenterDescription, networks: Sequence[nn.Module], device: torch.device) -> Segmenter:
    try:
        return Segmenter(
            networks,
            description.rule,
            description.settings,
            device,
            description.postprocessing,
            description.quality,
        )
    except ValueError as error:
        raise PackageError(f"{DESCRIPTION} contradicts itself ({error}). Copy the package again") from error


@dataclass(frozen=True)
class Weights:
    """The members of a package, each checked before it is used."""

    folder: Path
    description: Description
    modules: Collection[str]

    def all(self, spatial_dims: int, device: torch.device) -> list[nn.Module]:
        """Every member, ready to answer."""
        return [
            network_channels_last(self.network(name), spatial_dims).to(device).eval()
            for name in self.description.weights
        ]

    def network(self, name: str) -> nn.Module:
        """The member whose weights lie in this file."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        content = self._content(name)
        settings = dict(self.description.network)
        try:
            shape = {key: settings.pop(key) for key in ("in_channels", "size_px", "num_outputs")}
            shape["num_covariates"] = settings.pop("num_covariates", 0)
            shape["grades"] = bool(settings.pop("grades", False))
            network = build_network(
                model_conf(settings), **shape, modules=self.modules, outlines=self.description.kind == "segmentation"
            )
            network.load_state_dict(load(content))
        except ConfigError:  # a network of the user's own that this command did not name, or one of a newer medcnn
            raise
        except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            what = str(error).partition("\n")[0]
            raise PackageError(f"{name} and the network in {DESCRIPTION} do not fit: {what}. Copy it again") from error
        return network

    def _content(self, name: str) -> bytes:
        path = self.folder / Path(name).name  # a package names files beside itself, never elsewhere
        try:
            content = path.read_bytes()
        except OSError as error:
            raise PackageError(f"{path.name} is missing from the package. Copy it again") from error
        if sha256(content).hexdigest() != self.description.weights[name]:
            raise PackageError(f"{path.name} is damaged: its SHA-256 is not the one in {DESCRIPTION}. Copy it again")
        return content
