"""All that one training is made of, handed over by the verb. Imports Lightning with the task (seconds)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import nn

from medcnn.config.trainer import TrainerConf
from medcnn.data.batches import Batches
from medcnn.inference.classifier import Classifier
from medcnn.planning.plan import Plan
from medcnn.tasks.classification import ClassificationTask
from medcnn.training.interruption import Interruption
from medcnn.training.state import TrainingState


class Watcher(Protocol):
    """Who is told how the training goes."""

    def step(self, state: TrainingState, plan: Plan, loss: float) -> None:
        """After every optimiser step."""
        ...

    def epoch(self, state: TrainingState, plan: Plan, row: dict[str, float]) -> None:
        """After every validation."""
        ...


@dataclass(frozen=True)
class Validation:
    """What a validation needs: prepared scans, and the score of logits (larger is better, and what else to show)."""

    images: npt.NDArray[np.float32]
    score: Callable[[npt.NDArray[np.float64]], tuple[float, dict[str, float]]]
    classifier: Callable[[nn.Module], Classifier]


@dataclass(frozen=True)
class Job:
    """All that one training is made of, handed over by the verb.

    make_task  seed of a member -> its task, with a fresh network
    """

    conf: TrainerConf
    plan: Plan
    batches: Batches
    validation: Validation
    make_task: Callable[[int], ClassificationTask]
    seed: int
    folder: Path
    interruption: Interruption
    watcher: Watcher
