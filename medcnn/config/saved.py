"""The resolved config as YAML, and what differs between a run's own and the one just given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from medcnn.config.model import MODEL_KINDS
from medcnn.config.predict import PredictConf
from medcnn.config.verbs import TrainConf

# What may change between a run and its resumption without changing what is trained.
_FREE = ("resume", "output", "tracking", "debug", "trainer.checkpoint_minutes", "trainer.threads", "data.memory_gb")
_PRIVATE = (
    *("data.root", "output", "privacy.key_file", "cache.folder", "resume", "tracking.uri"),
    *("model.pretrained", "model.weights_folder", "model.encoder_weights"),
)


def flat(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """`trainer.epochs`, 30 for every setting."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def save_config(conf: Any, path: Path) -> None:
    """Every setting with its value, in the private zone."""
    path.write_text(yaml.safe_dump(asdict(conf), sort_keys=False))


def load_config(path: Path) -> TrainConf:
    """A run's own settings, as dataclasses: how the further processes of a distributed training start."""
    from omegaconf import OmegaConf

    found = yaml.safe_load(path.read_text())
    model = MODEL_KINDS[found["model"]["name"]]()
    conf = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainConf(model=model)), found))
    assert isinstance(conf, TrainConf)
    return conf


def predict_conf(found: dict[str, Any]) -> PredictConf:
    """What asdict made of it: how another process learns what it is asked."""
    from omegaconf import OmegaConf

    conf = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(PredictConf), found))
    assert isinstance(conf, PredictConf)
    return conf


def shareable_yaml(conf: Any) -> str:
    """The same without anything that holds a path."""
    return yaml.safe_dump({key: value for key, value in flat(asdict(conf)) if key not in _PRIVATE}, sort_keys=False)


def differences(conf: Any, path: Path) -> list[str]:
    """`trainer.epochs: was 30, is 40` for settings that decide what is trained."""
    before = dict(flat(yaml.safe_load(path.read_text())))
    now = dict(flat(asdict(conf)))
    keys = [key for key in {**before, **now} if not key.startswith(_FREE)]
    return [f"{key}: was {before.get(key)}, is {now.get(key)}" for key in keys if before.get(key) != now.get(key)]
