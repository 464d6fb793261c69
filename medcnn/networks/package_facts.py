"""What a model package of medcnn says of itself, as far as a network that starts from it must know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medcnn.config.errors import ConfigError

SETTING = "model.pretrained"
PACKAGE_FILE, MEMBER = "model.json", "weights_0.safetensors"  # of an ensemble the first member
_PLACES = ("", "model", "latest/model")  # in a package, a run folder, and a folder of runs
_NOT_SETTINGS = ("name", "in_channels", "num_outputs", "size_px", "pretrained", "weights_folder", "num_covariates")


@dataclass(frozen=True)
class PackageFacts:
    """From model.json; what it does not say is empty.

    network         the settings of its network
    kind            of its answer: binary, multiclass ...
    class_names     in the order of its outputs
    scale           of intensities
    data_digest, split_digest  of what it was trained on
    """

    network: Mapping[str, Any]
    kind: str
    class_names: tuple[str, ...]
    scale: str
    data_digest: str
    split_digest: str

    def words(self) -> str:
        """`its network is resnet with depth=18 width=64 ...`."""
        settings = [f"{key}={value}" for key, value in self.network.items() if key not in _NOT_SETTINGS and value != ""]
        return f"The package's network is {self.network.get('name')} with {' '.join(settings)}; set model.* like that"


def package_folder(path: Path) -> Path | None:
    """The model package at a path: itself, a run's, the latest run's, or the one within an MLflow model."""
    places = [path / place for place in _PLACES]
    places += sorted(folder.parent for folder in path.glob(f"artifacts/*/{PACKAGE_FILE}"))
    return next((place for place in places if (place / PACKAGE_FILE).is_file()), None)


def package_facts(folder: Path) -> PackageFacts:
    """Of a package's folder. Raises ConfigError where model.json cannot be read or is of a segmenter."""
    try:
        found = json.loads((folder / PACKAGE_FILE).read_text(encoding="utf-8"))
        output, training = found.get("output", {}), found.get("training", {})
        facts = PackageFacts(
            dict(found["network"]),
            str(output.get("kind", "")),
            tuple(map(str, output.get("class_names", ()))),
            str(found.get("preprocessing", {}).get("scale", "")),
            str(training.get("data_digest", "")),
            str(training.get("split_digest", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            [f"{SETTING}: the package's {PACKAGE_FILE} cannot be read ({type(error).__name__}). Copy it again"]
        ) from error
    if found.get("kind") == "segmentation":
        raise ConfigError([f"{SETTING}: this package segments, and a classifier starts from one that classifies"])
    return facts
