"""How a training tells where it is: a bar where somebody watches, plain lines elsewhere, numbers to the tracker."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from medcnn.tracking.tracker import Tracker
from medcnn.training.job import TrainingPlan
from medcnn.training.state import TrainingState

log = logging.getLogger("medcnn.progress")

_LINE_EVERY_S = 60.0
_SHOWN = (
    "train/loss",
    "val/loss",
    "val/auroc",
    "val/balanced_accuracy",
    "val/dice",
)  # MLflow and the report have the rest


class TrainingProgress:
    """A Watcher: one line an epoch, a bar on a terminal, and in epochs of many minutes a line a minute."""

    def __init__(self, tracker_of: Callable[[int], Tracker]) -> None:
        """tracker_of: member -> who keeps its curves."""
        self.tracker_of = tracker_of
        self.first_step_after_s: float | None = None
        self._began = self._said = time.monotonic()
        self._first: tuple[int, float] | None = None
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def step(self, state: TrainingState, plan: TrainingPlan, loss: float) -> None:
        now = time.monotonic()
        done = state.member * plan.steps + state.step
        if self._first is None:
            self._first = (done, now)
        if sys.stdout.isatty():
            self._move_bar(done, plan, loss)
        elif now - self._said > _LINE_EVERY_S:
            self._said = now
            log.info(
                "  step %d of %d, loss %.4f, %s left", done, plan.steps * plan.members, loss, self._left(done, plan)
            )

    def epoch(self, state: TrainingState, plan: TrainingPlan, row: dict[str, float]) -> None:
        self._said = time.monotonic()
        step = state.member * plan.steps + state.step
        shown = {key: value for key, value in row.items() if "/" in key or key == "lr"}
        self.tracker_of(state.member).metrics(shown, step=step)
        member = f"member {state.member + 1}/{plan.members} " if plan.members > 1 else ""
        best = "  best so far" if state.best_epoch == state.epoch - 1 else ""
        numbers = "  ".join(f"{key} {row[key]:.4f}" for key in _SHOWN if key in row)
        log.info(
            "%sepoch %d/%d  %s  %s left%s", member, state.epoch, plan.epochs, numbers, self._left(step, plan), best
        )

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def _left(self, done: int, plan: TrainingPlan) -> str:
        if self._first is None or done <= self._first[0]:
            return "?"
        seconds = (time.monotonic() - self._first[1]) / (done - self._first[0])
        return in_minutes(seconds * (plan.steps * plan.members - done))

    def _move_bar(self, done: int, plan: TrainingPlan, loss: float) -> None:
        if self._bar is None:
            steps = TextColumn("{task.completed}/{task.total} steps, loss {task.fields[loss]:.4f}")
            columns = (TextColumn("training"), BarColumn(), steps, TimeElapsedColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(file=sys.stdout), transient=True, refresh_per_second=4)
            self._task = self._bar.add_task("training", total=plan.steps * plan.members, loss=loss)
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, completed=done, loss=loss)


def in_minutes(seconds: float) -> str:
    """'40 s', '12 min', '3.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
