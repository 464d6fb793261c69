"""Whose curves go where: to the run itself, or, in a cross-validation, to a nested run for each fold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from medcnn.config.verbs import TrainConf
from medcnn.run_folder import RunFolder
from medcnn.tracking.tracker import Tracker, open_tracker, status_after

_WAIT_S = 15.0  # for a fold's last curves; what comes later is delivered while the next fold trains


class MemberTrackers:
    """The tracker of each member; a fold's is opened when it begins and closed when the next one does."""

    def __init__(self, run: RunFolder, conf: TrainConf, whole: Tracker) -> None:
        self.run, self.conf, self.whole = run, conf, whole
        self._fold: Tracker | None = None
        self._member = -1

    def of(self, member: int) -> Tracker:
        """Who is told about this member's steps."""
        if not (self.conf.trainer.folds and self.conf.tracking.enabled):
            return self.whole
        if member != self._member:
            self.close("FINISHED")
            self._fold, self._member = self._opened(member), member
        return self._fold or self.whole

    def close(self, status: str) -> None:
        """End the run of the fold in hand."""
        if self._fold is not None:
            self._fold.close(status)
        self._fold = None

    @contextmanager
    def closing(self) -> Iterator[MemberTrackers]:
        """For the length of the training: the last fold ends as the training does."""
        try:
            yield self
        except BaseException as error:
            self.close(status_after(error))
            raise
        self.close("FINISHED")

    def _opened(self, member: int) -> Tracker:
        folder = self.run.path / f"fold_{member}"
        folder.mkdir(mode=0o700, exist_ok=True)
        tracking = replace(self.conf.tracking, wait_s=min(_WAIT_S, self.conf.tracking.wait_s))
        name = self.conf.tracking.run_name or f"{self.conf.model.name}-{self.conf.data.name}-{self.conf.seed}"
        return open_tracker(
            folder,
            tracking,
            run_name=f"{name}-fold-{member}",
            experiment=f"{self.conf.task.name}/{self.conf.data.name}",
            tags={"fold": member, "folds": self.conf.trainer.folds, "seed": self.conf.seed},
            parent=self.run.path,
        )
