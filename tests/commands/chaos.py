"""Runs of the real predict command that are killed, stopped and started again, and what two results must agree on."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from watcher import Watcher

_MARK = "MEDCNN_TEST_RUN"
_TAKEN_ANEW = ("seconds", "peak")  # how columns, and entries of rows, begin that hold a run's own times and memory


@dataclass
class Command:
    """One run of the command; it and all that it starts carry a mark in their environment."""

    words: list[str]
    log: Path
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def start(self) -> subprocess.Popen[bytes]:
        """In a session of its own, so that its group can be signalled as a terminal does."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", _MARK: self.mark}
        with self.log.open("ab") as stream:
            return subprocess.Popen(
                [sys.executable, "-m", "medcnn.predict", *self.words],
                stdout=stream, stderr=stream, env=environment, start_new_session=True,
            )  # fmt: skip

    def run(self, timeout_s: float = 600) -> int:
        """To its end; the exit code."""
        return self.start().wait(timeout=timeout_s)

    def alive(self) -> list[int]:
        """Every process of it that is left, also those whose parent is gone."""
        wanted = f"{_MARK}={self.mark}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and folder.name != str(os.getpid()):
                try:
                    marked = wanted in (folder / "environ").read_bytes().split(b"\0")
                except OSError:  # ended meanwhile, or somebody else's
                    continue
                if marked:  # of a dead process that nobody waited for, the environment is empty
                    found.append(int(folder.name))
        return found

    def kill(self, process: subprocess.Popen[bytes], patience_s: float = 5.0) -> list[int]:
        """As `kill -9` of the command's process alone; which of its processes outlive it by more than that."""
        process.send_signal(signal.SIGKILL)
        process.wait()
        until = time.monotonic() + patience_s
        while (left := self.alive()) and time.monotonic() < until:
            time.sleep(0.02)
        for number in left:  # a fault, but no reason to leave them about
            os.kill(number, signal.SIGKILL)
        return left


def results(output: Path) -> dict[str, Any]:
    """Path -> what two runs must agree on: the bytes' SHA-256; of tables and of the ledger all but times and memory."""
    found: dict[str, Any] = {}
    for path in sorted(output.rglob("*")):
        name = path.relative_to(output).as_posix()
        if path.is_dir() or name.startswith((".medcnn/", ".lock")) or name == "log.txt":
            continue
        match name:
            case "ledger.jsonl":
                found[name] = _last_rows(path.read_bytes())
            case "predictions.csv":
                found[name] = _lasting(list(csv.DictReader(io.StringIO(path.read_text(), newline=""))))
            case "predictions.parquet":
                import pandas as pd

                found[name] = _lasting(json.loads(pd.read_parquet(path).to_json(orient="records")))
            case "index.html":
                found[name] = "there"  # says how long the run took
            case _:
                found[name] = sha256(path.read_bytes()).hexdigest()
    return found


def _lasting(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if not key.startswith(_TAKEN_ANEW)} for row in rows]


def _last_rows(content: bytes) -> dict[str, dict[str, Any]]:
    """By case: the last row counts. Lines that a kill cut are passed over, as the command does."""
    rows = {}
    for line in content.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows[row["case_id"]] = _lasting([row])[0]
    return rows


def differences(output: Path, expected: dict[str, Any]) -> list[str]:
    """Names in which a results folder differs from what an uninterrupted run left, and how."""
    found = results(output)
    words = [f"{name}: only here" for name in found.keys() - expected.keys()]
    words += [f"{name}: missing" for name in expected.keys() - found.keys()]
    return sorted(
        words + [f"{name}: differs" for name in found.keys() & expected.keys() if found[name] != expected[name]]
    )


def killed_until_done(command: Command, watcher: Watcher, kills: int, seconds: float, dice: random.Random) -> int:
    """Start, kill at a random moment, see that all of it is gone, so many times. How many kills hit a running one.

    seconds  what a whole run takes: a third of the kills come at any time of the start and of what is left
    """
    hit = 0
    for number in range(kills):
        process = command.start()
        if number % 3 == 2:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=dice.uniform(0, 0.8 * seconds))
        else:  # while it writes: soon after its n-th file or row
            watcher.wait_for(dice.randint(1, 9), process)
            time.sleep(dice.uniform(0, 0.02))
        hit += process.poll() is None
        if left := command.kill(process):
            watcher.faults.append(f"{len(left)} processes outlive the kill of their parent by 5 s")
    return hit
