"""All that one training is made of, handed over by the verb. Imports Lightning (seconds)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl
from torch import nn
from torch.utils.data import DataLoader

from medcnn.config.trainer import TrainerConf
from medcnn.training.interruption import Interruption
from medcnn.training.state import TrainingState

Measure = Callable[[nn.Module], tuple[float, dict[str, float]]]


class TrainingPlan(Protocol):
    """What the loop must know of a task's plan."""

    @property
    def members(self) -> int: ...
    @property
    def batches_per_epoch(self) -> int: ...
    @property
    def steps_per_epoch(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def epochs_per_validation(self) -> int: ...
    @property
    def warmup_steps(self) -> int: ...
    @property
    def size_px(self) -> list[int]: ...
    @property
    def device(self) -> str: ...
    @property
    def estimated_minutes(self) -> float: ...


class Loaders(Protocol):
    """Training batches, from any place in any epoch."""

    def loader(self, epoch: int, first: int, last: int, *, rank: int = 0, ranks: int = 1) -> DataLoader[Any]:
        """Batches first to last (exclusive) of an epoch. Each has `epoch` and `positions`."""
        ...


class Watcher(Protocol):
    """Who is told how the training goes."""

    def step(self, state: TrainingState, plan: TrainingPlan, loss: float) -> None:
        """After every optimiser step."""
        ...

    def epoch(self, state: TrainingState, plan: TrainingPlan, row: dict[str, float]) -> None:
        """After every epoch."""
        ...


@dataclass(frozen=True)
class Job:
    """All that one training is made of, handed over by the verb.

    batches    member -> its training batches
    measure    member -> how a network does on its validation cases: the value that picks the epoch (larger is
               better), and what else to show
    make_task  seed of a member -> its task: a Lightning module with a fresh `network`
    """

    conf: TrainerConf
    plan: TrainingPlan
    batches: Callable[[int], Loaders]
    measure: Callable[[int], Measure]
    make_task: Callable[[int], pl.LightningModule]
    seed: int
    folder: Path
    interruption: Interruption
    watcher: Watcher
