"""Opening a model package: its description is checked, its weights are checked against their SHA-256."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import nn

from medcnn.config.errors import ConfigError
from medcnn.errors import PackageError
from medcnn.inference.classifier import Classifier, choose_device
from medcnn.model_package.classifier import ClassifierDescription, ClassifierPackage
from medcnn.model_package.description import DESCRIPTION, Description, package_digest, package_folder
from medcnn.networks.build import build_network, model_conf
from medcnn.networks.memory_format import network_channels_last
from medcnn.transforms.preprocessing import STEPS_VERSION

ModelPackage = ClassifierPackage


def read_description(folder: Path) -> ClassifierDescription:
    """model.json, checked. Raises PackageError. Reads no weights."""
    found = _read_json(folder)
    kinds = {kind.kind: kind for kind in (ClassifierDescription,)}
    kind, version = kinds.get(str(found.get("kind"))), int(found["format_version"])
    newest = kind.format_version if kind else max(known.format_version for known in kinds.values())
    if version > newest:
        raise PackageError(f"this package has format {version}, this medcnn reads up to {newest}. Update medcnn")
    if kind is None:
        raise PackageError(f"{DESCRIPTION} is of no kind that is known. Copy the package again")
    try:
        description = kind.from_json(found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PackageError(f"{DESCRIPTION} is not complete ({error}). Copy the package again") from error
    if description.preprocessing.version > STEPS_VERSION:
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
    device = choose_device(accelerator)
    dims = len(description.preprocessing.size_px)
    networks = [network_channels_last(weights.network(name), dims).to(device).eval() for name in description.weights]
    classifier = Classifier(networks, description.rule, device, batch_cases, description.shifts)
    return ClassifierPackage(description, classifier, package_digest(folder))


@dataclass(frozen=True)
class Weights:
    """The members of a package, each checked before it is used."""

    folder: Path
    description: Description
    modules: Collection[str]

    def network(self, name: str) -> nn.Module:
        """The member whose weights lie in this file."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        content = self._content(name)
        settings = dict(self.description.network)
        try:
            shape = {key: settings.pop(key) for key in ("in_channels", "size_px", "num_outputs")}
            network = build_network(model_conf(settings), **shape, modules=self.modules)
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
