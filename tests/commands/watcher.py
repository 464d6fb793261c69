"""Looks at every file of a results folder in the moment in which it gets its name: it must be whole by then.

Linux tells of each name as it appears (inotify), so nothing that stands there however shortly is missed.
"""

from __future__ import annotations

import csv
import ctypes
import gzip
import io
import json
import os
import select
import struct
import subprocess
import threading
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pydicom

_MODIFY, _MOVED_TO, _CREATE, _FOLDER, _LOST = 0x2, 0x80, 0x100, 0x40000000, 0x4000
_APPENDED = ("ledger.jsonl", "log.txt")  # the two that grow in their place
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def fault(path: Path) -> str:
    """Why a file is no whole one of its kind; '' where it is, or is gone again."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ""
    try:
        return "" if _is_whole(path.name, content) else "is cut"
    except Exception as error:
        return f"cannot be read: {error!r}"


def _is_whole(name: str, content: bytes) -> bool:
    match name.rpartition(".")[2]:
        case "png":
            return content.startswith(b"\x89PNG") and content.endswith(_PNG_END)
        case "gz":
            return bool(gzip.decompress(content))
        case "json":
            return bool(json.loads(content))
        case "dcm":
            data = pydicom.dcmread(io.BytesIO(content))
            return "PixelData" not in data or bool(data.pixel_array.size)
        case "csv":
            rows = list(csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")))
            return content.endswith(b"\n") and {len(row) for row in rows} == {len(rows[0])}
        case "parquet":
            return content.startswith(b"PAR1") and content.endswith(b"PAR1")
        case "webp":
            return content.startswith(b"RIFF") and struct.unpack_from("<I", content, 4)[0] == len(content) - 8
        case "html":
            return content.rstrip().endswith(b"</html>")
    return bool(content)


class Watcher:
    """Watches a folder from when it is made, in a thread, until it is closed.

    expected  path in the folder -> SHA-256 that a case's file must have whenever it is seen
    seen      names that appeared, and how often; rows of the ledger among them as "row"
    faults    what was wrong, in words
    """

    def __init__(self, folder: Path, expected: dict[str, str] | None = None) -> None:
        self.folder, self.expected = folder, expected or {}
        self.seen: Counter[str] = Counter()
        self.faults: list[str] = []
        self._heard = threading.Condition()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._handle < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._folders: dict[int, Path] = {}
        self._ledger_read = 0
        self._ends = threading.Event()
        self._watch(folder)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """After what was heard so far is looked at; again does nothing."""
        if not self._ends.is_set():
            self._ends.set()
            self._thread.join()
            os.close(self._handle)

    def wait_for(self, count: int, process: subprocess.Popen[bytes], *, rows: bool = False) -> None:
        """Until so many names (or rows of the ledger) appeared, counted from now, or the process has ended."""
        begun = self._seen_so_far(rows=rows)
        while process.poll() is None:
            with self._heard:
                if self._heard.wait_for(lambda: self._seen_so_far(rows=rows) >= begun + count, timeout=0.1):
                    return

    def _seen_so_far(self, *, rows: bool) -> int:
        return self.seen["row"] if rows else self.seen.total()

    def _watch(self, folder: Path) -> None:
        number = self._libc.inotify_add_watch(self._handle, os.fsencode(folder), _MODIFY | _MOVED_TO | _CREATE)
        if number < 0:
            return  # gone again
        self._folders[number] = folder
        for path in folder.iterdir():  # what came before the watch
            self._look(path, by_rename=True)

    def _listen(self) -> None:
        while True:
            ends = self._ends.is_set()
            while select.select([self._handle], [], [], 0 if ends else 0.02)[0]:
                self._take(os.read(self._handle, 1 << 16))
            if ends:
                return

    def _take(self, events: bytes) -> None:
        at = 0
        while at < len(events):
            number, mask, _, length = struct.unpack_from("iIII", events, at)
            name = os.fsdecode(events[at + 16 : at + 16 + length].rstrip(b"\0"))
            at += 16 + length
            if mask & _LOST:
                self.faults.append("the watcher could not keep up")
                continue
            path = self._folders[number] / name
            if mask & _FOLDER or name in _APPENDED or not mask & _MODIFY:
                self._look(path, by_rename=bool(mask & _MOVED_TO))
            elif not name.startswith("."):
                self.faults.append(f"{path.relative_to(self.folder)}: written in its place")

    def _look(self, path: Path, *, by_rename: bool) -> None:
        name = path.relative_to(self.folder).as_posix()
        if path.name.startswith("."):  # not yet a name: written aside, the lock, the key
            return
        if path.is_dir():
            if path not in self._folders.values():
                self._watch(path)
            return
        if name in _APPENDED:
            self._read_ledger(path)
            return
        if not by_rename:
            self.faults.append(f"{name}: made in its place")
        if self.expected.get(name, "") != (digest := _digest(path)) and digest:  # alike needs no parsing, which is slow
            if found := fault(path):
                self.faults.append(f"{name}: {found}")
            elif name in self.expected:
                self.faults.append(f"{name}: whole, but not what an uninterrupted run writes ({digest[:8]})")
        self._count(name)

    def _read_ledger(self, path: Path) -> None:
        """A row is there after its files: whatever it names lies on the disk as it says."""
        if path.name != "ledger.jsonl":
            return
        with path.open("rb") as stream:
            stream.seek(self._ledger_read)
            lines = stream.read().splitlines(keepends=True)
        for line in lines:
            if not line.endswith(b"\n"):
                break  # a row that is being written, or was when the run was killed
            self._ledger_read += len(line)
            try:
                row = json.loads(line)
            except ValueError:  # cut by an earlier kill, ended by the next run
                continue
            for name, digest in row["files"].items():
                if _digest(self.folder / name) != digest:
                    self.faults.append(f"{name}: in the ledger before it was whole on the disk")
            self._count("row")

    def _count(self, name: str) -> None:
        with self._heard:
            self.seen[name] += 1
            self._heard.notify_all()


def _digest(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""
