"""Everything that is decided before the first step, as readable JSON. Pure functions."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

from medcnn.config.trainer import TrainerConf

_KEPT_FOR_THE_REST = 0.93  # of max_minutes; validation, checkpoints and drift take what is left


@dataclass(frozen=True)
class Speed:
    """What a few steps took before the run."""

    seconds_per_step: float
    seconds_per_validation: float
    memory_mb: float


@dataclass(frozen=True)
class Plan:
    """The training in numbers. Steps are fixed here, once: resuming never measures again.

    steps           optimiser steps of one member, epochs of steps_per_epoch each; the last may be cut short
    budget          what set the number of steps: epochs or max_minutes
    class_counts    training cases per class (or positives per label)
    """

    train_cases: int
    class_counts: list[int]
    in_channels: int
    size_px: list[int]
    parameters: int
    members: int
    batch_cases: int
    batches_per_epoch: int
    steps_per_epoch: int
    steps: int
    warmup_steps: int
    budget: str
    precision: str
    device: str
    seconds_per_step: float
    estimated_minutes: float
    estimated_memory_mb: float

    @property
    def epochs(self) -> int:
        """Epochs begun."""
        return ceil(self.steps / self.steps_per_epoch)

    @property
    def epochs_per_validation(self) -> int:
        """A validation of pictures costs little: one after each epoch."""
        return 1

    def as_json(self) -> dict[str, Any]:
        """For plan.json and the model package."""
        return asdict(self)

    def save(self, path: Path) -> None:
        """Write plan.json."""
        path.write_text(json.dumps(self.as_json(), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read plan.json."""
        return cls(**json.loads(path.read_text()))


def fixed_steps(conf: TrainerConf, steps_per_epoch: int, speed: Speed | None) -> tuple[int, str]:
    """How many optimiser steps, and why: the epochs asked for, unless max_minutes ends them earlier.

    speed  None where nothing was measured; then the epochs decide.
    """
    wanted = conf.epochs * steps_per_epoch
    if conf.max_minutes is None or speed is None:
        return wanted, "epochs"
    seconds = conf.max_minutes * 60 * _KEPT_FOR_THE_REST / conf.members
    per_step = speed.seconds_per_step + speed.seconds_per_validation / steps_per_epoch
    affordable = max(1, int(seconds / max(per_step, 1e-9)))
    return (wanted, "epochs") if affordable >= wanted else (affordable, "max_minutes")
