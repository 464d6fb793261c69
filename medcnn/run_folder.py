"""The folder of one run: runs/<task>/<time>_<hex>, private, locked while somebody works in it."""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from medcnn.errors import NoSpaceError, TrainingError, UserError

log = logging.getLogger("medcnn")


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps everything; medcnn owns it."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    def is_finished(self) -> bool:
        """Its report is the last thing that a training writes."""
        return (self.path / "metrics.json").is_file() and (self.model / "model.json").is_file()

    def write_json(self, name: str, content: dict[str, Any]) -> Path:
        """A readable JSON file in the folder."""
        path = self.path / name
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
        return path


def new_run(output: Path, task: str) -> RunFolder:
    """A fresh folder, and `latest` beside it. Raises NoSpaceError where nothing can be written."""
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    path = output / task / f"{stamp}_{secrets.token_hex(2)}"
    with writing(output):
        path.mkdir(mode=0o700, parents=True)
        for folder in (output, output / task):
            folder.chmod(0o700)
    _point_latest(path)
    return RunFolder(path)


def _point_latest(path: Path) -> None:
    aside = path.parent / f".latest-{path.name}"
    try:
        aside.symlink_to(path.name)
        aside.replace(path.parent / "latest")
    except OSError:  # Windows without the right to make links: a convenience is missing, nothing else
        aside.unlink(missing_ok=True)


def unfinished_runs(output: Path, task: str) -> list[RunFolder]:
    """Newest first; those that began and did not end."""
    folders = sorted((output / task).glob("????-??-??_*"), reverse=True)
    return [run for run in map(RunFolder, folders) if run.config.is_file() and not run.is_finished()]


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """A full disk or a read-only folder becomes one clear sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise NoSpaceError(
                f"the disk of {folder} is full. Free space, or set output=<folder on another disk>"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise UserError(
                f"{folder} cannot be written ({error.strerror}). Set output=<folder you may write to>"
            ) from error
        raise


@contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """One trainer per folder; a second one is refused."""
    from filelock import FileLock, Timeout

    lock = FileLock(run.path / ".lock", mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise TrainingError(f"another process is working in {run.path}. Wait for it, or stop it first") from None
    try:
        yield
    finally:
        lock.release()


class _Plain(logging.Formatter):
    """The message alone; warnings say that they are."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        return f"warning: {text}" if record.levelno >= logging.WARNING else text


class _Terminal(logging.Handler):
    """Writes to whatever standard output is at the moment: it may be replaced under a long-lived process."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stdout, flush=True)  # noqa: T201  this is how the program speaks


def log_to_terminal() -> None:
    """medcnn's own messages to standard output, once per process."""
    logger = logging.getLogger("medcnn")
    if not logger.handlers:
        handler = _Terminal()
        handler.setFormatter(_Plain())
        logger.addHandler(handler)
        handler.setLevel(logging.INFO)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """And to log.txt, with times."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    stream = os.fdopen(handle, "a", encoding="utf-8")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("medcnn")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        stream.close()
