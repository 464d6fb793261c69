"""model.json: what a model is, in words and numbers that need no code to be read."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from medcnn import __version__
from medcnn.errors import PackageError
from medcnn.inference.expectation import Expectation

DESCRIPTION = "model.json"


@dataclass(frozen=True, kw_only=True)
class Description(ABC):
    """What every model says of itself.

    class_codes   class or structure -> SNOMED CT code
    network       its settings, with what a fresh one is built from
    expects       the kind of scans that it knows
    training      plan, data digest, library versions: where the model comes from
    weights       file -> SHA-256, one per ensemble member
    """

    kind: ClassVar[str]
    format_version: ClassVar[int]

    task: str
    intended_use: str
    class_codes: dict[str, str]
    network: dict[str, Any]
    expects: Expectation
    training: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "format_version": self.format_version,
            "medcnn_version": __version__,
            "task": self.task,
            "kind": self.kind,
            "intended_use": self.intended_use,
            **self.body(),
            "network": self.network,
            "expects": self.expects.as_json(),
            "training": self.training,
            "weights": self.weights,
        }

    @abstractmethod
    def body(self) -> dict[str, Any]:
        """What only a model of this kind says."""

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """As it was written."""
        return cls(
            task=found["task"],
            intended_use=found["intended_use"],
            network=dict(found["network"]),
            expects=Expectation.from_json(found["expects"]),
            training=dict(found["training"]),
            weights=dict(found["weights"]),
            **cls.parts(found),
        )

    @classmethod
    @abstractmethod
    def parts(cls, found: dict[str, Any]) -> dict[str, Any]:
        """The fields that only a model of this kind has, and class_codes."""


AnyDescription = TypeVar("AnyDescription", bound=Description)


def save_package(folder: Path, description: AnyDescription, weights: Sequence[bytes]) -> AnyDescription:
    """Write weights_<n>.safetensors and, last, model.json, which names their SHA-256."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    digests = {}
    for number, content in enumerate(weights):
        name = f"weights_{number}.safetensors"
        (folder / name).write_bytes(content)
        digests[name] = sha256(content).hexdigest()
    whole = replace(description, weights=digests)
    (folder / DESCRIPTION).write_text(json.dumps(whole.as_json(), indent=2) + "\n")
    return whole


def package_folder(path: Path) -> Path:
    """A model package, or the one in a run folder. Raises PackageError."""
    for folder in (path, path / "model"):
        if (folder / DESCRIPTION).is_file():
            return folder
    if (path / "checkpoints").is_dir():
        raise PackageError(f"the run {path.name} has no model yet. Finish its training with resume={path}")
    raise PackageError(f"{path} is no model package and no run folder: it has no {DESCRIPTION}")


def package_digest(folder: Path) -> str:
    """Names the model: model.json holds the digests of everything else."""
    return sha256((folder / DESCRIPTION).read_bytes()).hexdigest()[:16]
