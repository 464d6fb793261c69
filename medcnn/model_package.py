"""The folder a trained model lives in: model.json and safetensors. It predicts by itself, without any config."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from medcnn import __version__
from medcnn.config.errors import ConfigError
from medcnn.data.cache import Facts
from medcnn.data.prepared import prepared_entry
from medcnn.errors import PackageError
from medcnn.inference.classifier import Classifier, OutputRule, choose_device
from medcnn.inference.expectation import Expectation
from medcnn.inference.prediction import Prediction
from medcnn.networks.build import build_network, model_conf
from medcnn.scan import Scan
from medcnn.transforms.preprocessing import STEPS_VERSION, Preprocessing

Image = npt.NDArray[np.float32]

FORMAT_VERSION = 1
DESCRIPTION = "model.json"
NOT_A_NUMBER = "NOT_A_NUMBER: the network's answer is not a finite number"


@dataclass(frozen=True)
class Description:
    """model.json.

    network       its settings, with in_channels, size_px and num_outputs
    thresholds    how they were fitted stands in `fitted_on`
    training      plan, data digest, library versions: where the model comes from
    weights       file -> SHA-256, one per ensemble member
    """

    task: str
    intended_use: str
    rule: OutputRule
    class_codes: dict[str, str]
    fitted_on: str
    network: dict[str, Any]
    preprocessing: Preprocessing
    expects: Expectation
    shifts: int = 0
    training: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "format_version": FORMAT_VERSION,
            "medcnn_version": __version__,
            "task": self.task,
            "kind": "classification",
            "intended_use": self.intended_use,
            "output": {
                "kind": self.rule.kind,
                "class_names": list(self.rule.class_names),
                "class_codes_snomed_ct": self.class_codes,
                "temperature": self.rule.temperature,
                "thresholds": self.rule.thresholds,
                "fitted_on": self.fitted_on,
            },
            "network": self.network,
            "preprocessing": self.preprocessing.as_json(),
            "inference": {"shifts": self.shifts},
            "expects": self.expects.as_json(),
            "training": self.training,
            "weights": self.weights,
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Description:
        """As it was written."""
        output = found["output"]
        rule = OutputRule(
            output["kind"], tuple(output["class_names"]), float(output["temperature"]), dict(output["thresholds"])
        )
        return cls(
            task=found["task"],
            intended_use=found["intended_use"],
            rule=rule,
            class_codes=output["class_codes_snomed_ct"],
            fitted_on=output["fitted_on"],
            network=dict(found["network"]),
            preprocessing=Preprocessing.from_json(found["preprocessing"]),
            expects=Expectation.from_json(found["expects"]),
            shifts=int(found["inference"]["shifts"]),
            training=dict(found["training"]),
            weights=dict(found["weights"]),
        )


@dataclass(frozen=True, eq=False)
class ModelPackage:
    """A description and its networks, ready to answer."""

    description: Description
    classifier: Classifier
    digest: str

    def predict_scan(self, scan: Scan) -> Prediction:
        """One scan, by itself. Raises DataError where it is a picture and the model takes volumes, or the like."""
        entry = prepared_entry(scan, self.description.preprocessing)
        return self.predict_images(entry.image[None], [entry.facts])[0]

    def predict_image(self, image: Image, *, modality: str, body_part: str, low: float, high: float) -> Prediction:
        """One prepared scan (C, *size) and what its file says of itself."""
        facts = Facts(pixels="", constant=False, low=low, high=high, modality=modality, body_part=body_part)
        return self.predict_images(image[None], [facts])[0]

    def predict_images(self, images: Image, facts: Sequence[Facts]) -> list[Prediction]:
        """Prepared scans (n, C, *size) and what their files say of themselves; no answer depends on its neighbours.

        An answer that is not a number has neither decision nor confidence, and says so.
        """
        rule = self.classifier.rule
        probability = rule.probability(self.classifier.logits(images))
        sound = np.asarray(np.isfinite(probability).all(axis=1))
        readable = np.where(sound[:, None], probability, 0.0)
        answers = zip(probability, rule.decisions(readable), rule.confidence(readable), sound, strict=True)
        return [
            self._prediction(answer, decision, confidence, image, known, is_number=bool(fine))
            for (answer, decision, confidence, fine), image, known in zip(answers, images, facts, strict=True)
        ]

    def _prediction(
        self,
        probability: npt.NDArray[np.float64],
        decision: str,
        confidence: float,
        image: Image,
        facts: Facts,
        *,
        is_number: bool,
    ) -> Prediction:
        """The answer as it is given out: withheld where the scan is of another kind than the model knows."""
        names, expects = self.classifier.rule.class_names, self.description.expects
        reasons = list(expects.misfits(facts.modality, facts.body_part))
        if not is_number:
            reasons.append(NOT_A_NUMBER)
        return Prediction(
            dict(zip(names, (float(p) for p in probability), strict=True)),
            "" if reasons else decision,
            0.0 if reasons else confidence,
            (*reasons, *expects.oddities(facts.low, facts.high, image)),
            "; ".join(reasons),
        )


def save_package(folder: Path, description: Description, weights: Sequence[bytes]) -> Description:
    """Write weights_<n>.safetensors and, last, model.json, which names their SHA-256."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    digests = {}
    for number, content in enumerate(weights):
        name = f"weights_{number}.safetensors"
        (folder / name).write_bytes(content)
        digests[name] = sha256(content).hexdigest()
    whole = Description(**{**vars(description), "weights": digests})
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


def read_description(folder: Path) -> Description:
    """model.json, checked. Raises PackageError. Reads no weights."""
    try:
        found = json.loads((folder / DESCRIPTION).read_text())
        version = int(found["format_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PackageError(f"{DESCRIPTION} cannot be read ({type(error).__name__}). Copy the package again") from error
    if version < 1:
        raise PackageError(f"{DESCRIPTION} cannot be read (format {version}). Copy the package again")
    if version > FORMAT_VERSION:
        raise PackageError(
            f"this package has format {version}, this medcnn reads up to {FORMAT_VERSION}. Update medcnn"
        )
    try:
        description = Description.from_json(found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PackageError(f"{DESCRIPTION} is not complete ({error}). Copy the package again") from error
    if description.preprocessing.version > STEPS_VERSION:
        raise PackageError("this package was made by a newer medcnn with other preprocessing. Update medcnn")
    return description


def load_package(
    path: Path, *, accelerator: str = "auto", batch_cases: int = 64, modules: Collection[str] = ()
) -> ModelPackage:
    """Open a package, or the one of a run folder; every weight file is checked against its SHA-256.

    modules  that a user's own network may be imported from. Raises PackageError.
    """
    folder = package_folder(path)
    description = read_description(folder)
    device = choose_device(accelerator)
    networks = [_network(folder, name, digest, description, modules) for name, digest in description.weights.items()]
    if not networks:
        raise PackageError(f"{DESCRIPTION} names no weights. Copy the package again")
    dims = len(description.preprocessing.size_px)
    ready = [_ready(network, dims).to(device) for network in networks]
    classifier = Classifier(ready, description.rule, device, batch_cases, description.shifts)
    return ModelPackage(description, classifier, package_digest(folder))


def package_digest(folder: Path) -> str:
    """Names the model: model.json holds the digests of everything else."""
    return sha256((folder / DESCRIPTION).read_bytes()).hexdigest()[:16]


def _network(folder: Path, name: str, digest: str, description: Description, modules: Collection[str]) -> nn.Module:
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / Path(name).name  # a package names files beside itself, never elsewhere
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PackageError(f"{path.name} is missing from the package. Copy it again") from error
    if sha256(content).hexdigest() != digest:
        raise PackageError(f"{path.name} is damaged: its SHA-256 is not the one in {DESCRIPTION}. Copy it again")
    settings = dict(description.network)
    try:
        shape = {key: settings.pop(key) for key in ("in_channels", "size_px", "num_outputs")}
        network = build_network(model_conf(settings), **shape, modules=modules)
        network.load_state_dict(load(content))
    except ConfigError:  # a network of the user's own that this command did not name, or one of a newer medcnn
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        what = str(error).partition("\n")[0]
        raise PackageError(f"{name} and the network in {DESCRIPTION} do not fit: {what}. Copy it again") from error
    return network.eval()


def _ready(network: nn.Module, spatial_dims: int) -> nn.Module:
    import torch

    memory = torch.channels_last_3d if spatial_dims == 3 else torch.channels_last
    network.to(memory_format=memory)
    return network
