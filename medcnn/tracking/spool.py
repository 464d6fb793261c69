"""The run's own record: events.jsonl, one event a line, append-only; and delivered.json, how far MLflow has it.

Standard library only: this is the part of tracking that runs inside the training process.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

FOLDER = "tracking"
BINARY = getattr(os, "O_BINARY", 0)  # Windows would write other line breaks
TAIL_BYTES = 65536  # a closing event is a few hundred bytes


def events_file(run_folder: Path) -> Path:
    return run_folder / FOLDER / "events.jsonl"


def delivered_file(run_folder: Path) -> Path:
    return run_folder / FOLDER / "delivered.json"


def lock_file(run_folder: Path) -> Path:
    """Held by whoever delivers this run, so that two never do at once."""
    return run_folder / FOLDER / "deliver.lock"


@dataclass(frozen=True)
class Event:
    """One line of the spool. start and end are its byte offsets; end counts the line break."""

    kind: str
    time_ms: int
    body: dict[str, Any]
    start: int
    end: int


class Spool:
    """Appends events to a run's file, one write call each: what was written stays, also when we are killed."""

    def __init__(self, run_folder: Path) -> None:
        path = events_file(run_folder)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | BINARY, 0o600)
        size = os.fstat(self._descriptor).st_size
        os.lseek(self._descriptor, max(0, size - 1), os.SEEK_SET)
        self._torn = size > 0 and os.read(self._descriptor, 1) != b"\n"  # a writer died in mid-line

    def append(self, kind: str, **body: Any) -> None:
        """Raises OSError (disk full) or TypeError, ValueError (not JSON)."""
        line = json.dumps({"kind": kind, "time_ms": time.time_ns() // 1_000_000, **body}).encode() + b"\n"
        if self._torn:
            line = b"\n" + line
        self._torn = True
        self._torn = os.write(self._descriptor, line) != len(line)
        if self._torn:
            raise OSError("the event was written in part only")

    def close(self) -> None:
        os.fsync(self._descriptor)
        os.close(self._descriptor)


def read_events(run_folder: Path, offset: int = 0) -> Iterator[Event]:
    """Whole lines from a byte offset on. A torn last line is left for later; one torn in the middle is passed over."""
    try:
        with events_file(run_folder).open("rb") as lines:
            lines.seek(offset)
            for line in lines:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                if (event := _parse(line, offset)) is not None:
                    yield event
    except FileNotFoundError:
        return


def _parse(line: bytes, end: int) -> Event | None:
    try:
        body = json.loads(line)
        return Event(body.pop("kind"), body.pop("time_ms"), body, end - len(line), end)
    except (ValueError, KeyError, AttributeError):
        return None


def last_event(run_folder: Path) -> Event | None:
    """The newest whole event, from the end of the file: cheap also for a long run."""
    start = max(0, size_bytes(run_folder) - TAIL_BYTES)
    last = None
    for last in read_events(run_folder, start):  # noqa: B007  the last one is what is wanted
        pass
    return last


def size_bytes(run_folder: Path) -> int:
    try:
        return events_file(run_folder).stat().st_size
    except FileNotFoundError:
        return 0


@dataclass(frozen=True)
class Delivered:
    """How far a run has reached MLflow.

    offset    bytes of events.jsonl that MLflow has
    closed    the run's last event was a close, and MLflow knows
    refused   byte offsets of events that MLflow would not take; `medcnn sync` tries them again
    """

    offset: int = 0
    closed: bool = False
    uri: str = ""
    experiment_id: str = ""
    run_id: str = ""
    refused: tuple[int, ...] = ()

    @staticmethod
    def load(run_folder: Path) -> Delivered:
        """Nothing delivered where the file is missing or unreadable: delivering again changes nothing in MLflow."""
        known = {field.name for field in fields(Delivered)}
        try:
            content = json.loads(delivered_file(run_folder).read_text())
            state = Delivered(**{key: value for key, value in content.items() if key in known})
            return replace(state, refused=tuple(state.refused))
        except (OSError, ValueError, AttributeError, TypeError):
            return Delivered()

    def save(self, run_folder: Path) -> None:
        path = delivered_file(run_folder)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"format_version": 1, **asdict(self)}, indent=1))
        temporary.replace(path)


def is_delivered(run_folder: Path) -> bool:
    """Everything written is in MLflow, and the run is closed there."""
    state = Delivered.load(run_folder)
    return state.closed and not state.refused and state.offset >= size_bytes(run_folder)
