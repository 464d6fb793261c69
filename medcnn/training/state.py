"""Where a training stands: everything that a resumed run needs besides the weights."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

Row = dict[str, float]


@dataclass
class TrainingState:
    """Of one member in training; those before it are finished.

    member, epoch, batch   the next batch to be trained on
    step                   optimiser steps done
    loss_sum, loss_count   of the epoch so far
    smoothed, best         the chosen metric, smoothed over epochs, and its best value; larger is better
    skipped, in_a_row      steps left out because a gradient was not finite
    """

    member: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    smoothed: float = math.nan
    best: float = -math.inf
    best_epoch: int = -1
    stopped_early: bool = False
    skipped: int = 0
    in_a_row: int = 0
    seconds: float = 0.0
    history: list[Row] = field(default_factory=list)

    def next_member(self) -> TrainingState:
        """The state in which the following member starts."""
        return TrainingState(self.member + 1, skipped=self.skipped, seconds=self.seconds, history=self.history)

    def smooth(self, value: float, weight_of_past: float) -> float:
        """The running metric after this epoch's value."""
        past = value if math.isnan(self.smoothed) else self.smoothed
        self.smoothed = value if math.isnan(value) else weight_of_past * past + (1 - weight_of_past) * value
        return self.smoothed

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self)
