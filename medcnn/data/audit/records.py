"""Records of cases that were measured before, so that a changed folder costs only what changed in it.

One line per case: its checksum, its key, its record. Lines are only ever added; a line that a crash cut off or a disk
damaged does not count, and its case is measured again. The file holds no paths and is the owner's alone (0600 in 0700).
"""

from __future__ import annotations

import json
import logging
import os
import time
import zlib
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

from medcnn.data.audit.record import Record
from medcnn.data.manifest import Case
from medcnn.io.options import Reading
from medcnn.io.read import source_files
from medcnn.scan import Reason, Rejection, ScanRejected

VERSION = 1  # raised whenever a record holds something else, or the same measured otherwise
NAME = "audit-records.jsonl"
_SETTLED_NS = 2_000_000_000  # a file that changed a moment ago can change again within one tick of its clock
_PASSING = frozenset({Reason.MEMORY, Reason.TIMEOUT, Reason.READ_ERROR, Reason.INPUT_CHANGED, Reason.INTERNAL,
                      Reason.NO_DECODER, Reason.WORKER_SIGNAL})  # fmt: skip  # may be gone the next time

log = logging.getLogger(__name__)


class Records:
    """What is known in one folder. damaged_lines: how many did not count; hits: cases that were known."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.damaged_lines = 0
        self.hits = 0
        self._lines: dict[str, bytes] = {}
        self._num_lines = 0
        self._used: set[str] = set()
        self._lock = Lock()
        self._can_write = True
        self._load()

    def key(self, case: Case, root: Path, reading: Reading) -> str:
        """Of everything that decides a record, file contents by size, times and place; "" where it cannot be kept."""
        images = [reference for reference in case.images.values() if reference]
        masks = {name: reference for name, reference in case.masks.items() if reference}
        try:
            files = [path for reference in (*images, *masks.values()) for path in source_files(root, reference)]
            marks = [_mark(path) for path in files]
        except (ScanRejected, OSError):
            return ""
        if any(time.time_ns() - mark[1] < _SETTLED_NS for mark in marks):
            return ""
        recipe = [VERSION, _version(), images, masks, case.boxes, asdict(reading), marks]
        return sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]

    def known(self, key: str) -> Record | Rejection | None:
        """What was measured then."""
        line = self._lines.get(key)
        if line is None:
            return None
        try:
            found = _decoded(line)[1]
        except (ValueError, KeyError, TypeError):
            with self._lock:
                self.damaged_lines += 1
                del self._lines[key]
            return None
        with self._lock:
            self._used.add(key)
            self.hits += 1
        return found

    def keep(self, key: str, found: Record | Rejection) -> None:
        """On disk before this returns, where that can be."""
        if isinstance(found, Rejection) and found.code in _PASSING:
            return
        line = _encoded(key, found)
        with self._lock:
            self._lines[key] = line
            self._used.add(key)
            self._num_lines += 1
            self._append(line)

    def tidy(self) -> None:
        """Write the file anew where less than half of it still counts."""
        with self._lock:
            current = [line for key, line in self._lines.items() if key in self._used]
            if not self._can_write or self._num_lines < 100 or 2 * len(current) >= self._num_lines:
                return
            aside = self.path.with_suffix(f".{os.getpid()}.part")
            try:
                descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(descriptor, "wb") as stream:
                    stream.writelines(current)
                aside.replace(self.path)
                self._num_lines = len(current)
            except OSError:
                aside.unlink(missing_ok=True)

    def _append(self, line: bytes) -> None:
        """One write of a whole line: what others append at the same time comes before or after."""
        if not self._can_write:
            return
        try:
            if not self.path.parent.is_dir():
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._can_write = False
            log.warning(
                "measurements cannot be kept (%s): the scans will be read again next time", type(error).__name__
            )

    def _load(self) -> None:
        try:
            content = self.path.read_bytes()
        except OSError:
            return
        for line in content.splitlines(keepends=True):
            self._num_lines += 1
            text = line.strip()
            if not text:
                continue
            if zlib.crc32(text[9:]) != _number(text[:8]) or text[8:9] != b" ":
                self.damaged_lines += 1
                continue
            self._lines[text[9:41].decode("ascii", "replace")] = text + b"\n"
        if content and not content.endswith(b"\n"):
            self._append(b"\n")


def _mark(path: Path) -> tuple[int, int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _version() -> str:
    from medcnn import __version__

    return __version__


def _number(text: bytes) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return -1


def _encoded(key: str, found: Record | Rejection) -> bytes:
    kind = "rejection" if isinstance(found, Rejection) else "record"
    content = asdict(found) if isinstance(found, Rejection) else found.as_json()
    body = f"{key} {json.dumps({kind: content}, separators=(',', ':'))}".encode()
    return f"{zlib.crc32(body):08x} ".encode() + body + b"\n"


def _decoded(line: bytes) -> tuple[str, Record | Rejection]:
    key, _, text = line[9:].decode().partition(" ")
    found: dict[str, Any] = json.loads(text)
    if "record" in found:
        return key, Record.from_json(found["record"])
    rejection = found["rejection"]
    return key, Rejection(Reason(rejection["code"]), rejection["found"], rejection["remedy"])
