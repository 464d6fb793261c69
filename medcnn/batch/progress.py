"""How far a folder is: a bar where somebody watches, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

log = logging.getLogger("medcnn.predict")

_LINE_EVERY_S = 15.0


class BatchProgress:
    """Counts cases; the time left is reckoned from those that were computed, not from those found done."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self._computed = 0
        self._began = self._said = time.monotonic()
        self._bar: Progress | None = None
        if sys.stdout.isatty() and total:
            columns = (TextColumn("predicting"), BarColumn(), TextColumn("{task.completed}/{task.total} cases"),
                       TimeElapsedColumn(), TextColumn("{task.fields[left]}"))  # fmt: skip
            self._bar = Progress(*columns, console=Console(file=sys.stdout), transient=True, refresh_per_second=4)
            self._task = self._bar.add_task("predicting", total=total, left="")
            self._bar.start()

    def case(self, *, computed: bool) -> None:
        """One more is finished."""
        self.done += 1
        self._computed += computed
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, left=self.left())
        elif time.monotonic() - self._said > _LINE_EVERY_S:
            self._said = time.monotonic()
            log.info("%d of %d cases, %s", self.done, self.total, self.left())

    def left(self) -> str:
        """'3 min left'; '' before the first is computed."""
        if not self._computed:
            return ""
        seconds = (time.monotonic() - self._began) / self._computed * (self.total - self.done)
        return f"{in_words(seconds)} left"

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def in_words(seconds: float) -> str:
    """'40 s', '12 min', '3.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
