"""Who writes a run's events, and whether that process is certainly gone."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Owner:
    """One process on one boot of one machine.

    boot      changes with each start of the machine
    space     the process-id name space: containers on one machine count from 1 each
    started   when the process started, in its system's own unit: a process id that was given again is told apart
    """

    host: str
    boot: str
    space: str
    pid: int
    started: str

    @staticmethod
    def current() -> Owner:
        pid = os.getpid()
        return Owner(socket.gethostname(), _boot(), _space(), pid, _started(pid))

    @staticmethod
    def of(body: dict[str, Any]) -> Owner:
        """From an event; raises KeyError, TypeError or ValueError where it is none."""
        return Owner(body["host"], body["boot"], body["space"], int(body["pid"]), body["started"])

    def is_gone(self) -> bool:
        """True only if certain: another host or container cannot be judged from here."""
        if self.host != socket.gethostname():
            return False
        if self.boot != _boot():
            return True  # this machine was restarted since
        if self.space != _space():
            return False
        return _started(self.pid) != self.started


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return str(round(psutil.boot_time() / 60))


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115  no path: "pid:[4026531836]"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Empty for a process that is no more; one that has ended but was not yet collected by its parent is no more."""
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():
        return _started_elsewhere(pid)
    try:
        after_name = stat.read_text(errors="replace").rpartition(")")[2].split()  # a name may hold spaces and brackets
    except OSError:
        return ""
    state, ticks = after_name[0], after_name[19]
    return "" if state in "ZX" else ticks


def _started_elsewhere(pid: int) -> str:
    """MacOS and Windows."""
    import psutil

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.1f}"
    except psutil.Error:
        return ""
