"""Run folders whose run did not end as it should: found, marked, delivered."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from medcnn.tracking.deliver import close_as_killed
from medcnn.tracking.owner import Owner
from medcnn.tracking.spool import FOLDER, events_file, is_delivered, last_event, lock_file, read_events
from medcnn.tracking.tracker import start_delivering

log = logging.getLogger(__name__)

DEPTHS = ("", "*/", "*/*/", "*/*/*/")  # a run folder itself; task/run; a fold or a trial within a run


def run_folders(run_root: Path) -> list[Path]:
    """Every run folder that was tracked, each once ("latest" is one of the others), oldest name first."""
    found = {
        events.resolve().parent.parent for depth in DEPTHS for events in run_root.glob(f"{depth}{FOLDER}/events.jsonl")
    }
    return sorted(found)


def undelivered(run_root: Path) -> list[Path]:
    return [folder for folder in run_folders(run_root) if not is_delivered(folder)]


def sweep_dead(run_root: Path) -> list[Path]:
    """Mark runs KILLED whose process is certainly gone, and start telling MLflow; returns their folders at once."""
    dead = [folder for folder in undelivered(run_root) if _mark(folder)]
    if dead:
        try:
            start_delivering(dead, follow=False)
        except OSError as error:
            log.warning("tracking: the delivering process could not be started (%s)", error.strerror)
    return dead


def _mark(run_folder: Path) -> bool:
    """Unless it is closed already, or its own delivering process is still at it."""
    from filelock import FileLock, Timeout

    if not is_dead(run_folder):
        return False
    try:
        with FileLock(lock_file(run_folder), timeout=0):
            if not is_dead(run_folder):
                return False
            close_as_killed(run_folder)
            return True
    except (Timeout, OSError):
        return False


def is_dead(run_folder: Path) -> bool:
    """Neither closed nor alive."""
    last = last_event(run_folder)
    if last is not None and last.kind == "close":
        return False
    return any(owner.is_gone() for owner in _newest_owner(run_folder))


def _newest_owner(run_folder: Path) -> Iterator[Owner]:
    newest = None
    for event in read_events(run_folder):
        if event.kind == "open":
            newest = event
    if newest is not None:
        try:
            yield Owner.of(newest.body["owner"])
        except (KeyError, TypeError, ValueError):
            log.warning("tracking: %s does not say which process it belongs to", events_file(run_folder))
