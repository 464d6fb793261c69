"""Time and memory of a command and all that it starts. No benchmark by itself. Linux only.

Memory is the proportional set size (PSS): a page that several processes share counts once in all, so that the sum over
a tree is what the machine holds for it. Read every 50 ms; a peak between two readings is missed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

EVERY_S = 0.05


@dataclass(frozen=True)
class Sample:
    """One look at a tree: seconds from its start, MB of all and of its largest process, open files, processes.

    anonymous_mb  of all, without the pages of files: what a leak grows. Of those pages (libraries, mostly) a process's
                  share falls whenever some stranger on the machine loads the same files
    """

    at_s: float
    pss_mb: float
    anonymous_mb: float
    largest_mb: float
    handles: int
    processes: int


@dataclass(frozen=True)
class Taken:
    """Of one command: seconds by the clock and of all cores, and what was seen meanwhile."""

    wall_s: float
    cores_s: float
    samples: list[Sample] = field(default_factory=list)

    @property
    def peak_mb(self) -> float:
        """Of the whole tree."""
        return max((sample.pss_mb for sample in self.samples), default=0.0)

    @property
    def largest_mb(self) -> float:
        """Of the largest single process."""
        return max((sample.largest_mb for sample in self.samples), default=0.0)


def taken(
    words: list[str], environment: dict[str, str], log: Path, *, ends: tuple[int, ...] = (0,),
    look: Callable[[Sample], None] = lambda sample: None,
) -> Taken:  # fmt: skip
    """Run it to its end; ends: exit codes that are none of an accident; look: called with each sample."""
    samples: list[Sample] = []
    with log.open("w") as stream:
        began = time.perf_counter()
        process = subprocess.Popen(words, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        over = threading.Event()

        def watch() -> None:
            while not over.wait(EVERY_S):
                sample = sample_of(process.pid, time.perf_counter() - began)
                if sample.processes:
                    samples.append(sample)
                    look(sample)

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        over.set()
        watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in ends:
        sys.exit(f"{' '.join(words[:3])} ended with {process.returncode}; see {log}")
    return Taken(wall_s, usage.ru_utime + usage.ru_stime, samples)


def sample_of(root: int, at_s: float) -> Sample:
    """What the tree below this process holds now; what ends while we look counts nothing."""
    sizes, anonymous, handles = [], 0.0, 0
    for number in tree(root):
        folder = Path("/proc") / str(number)
        try:
            rollup = (folder / "smaps_rollup").read_text()
            handles += len(os.listdir(folder / "fd"))  # noqa: PTH208  half the time, in a loop that must not disturb
        except OSError:
            continue
        found = {words[0]: int(words[1]) / 1024 for line in rollup.splitlines()[1:] if (words := line.split())}
        if found:  # a process that ended and was not waited for has none
            sizes.append(found["Pss:"])
            anonymous += found["Pss_Anon:"]
    return Sample(at_s, sum(sizes), anonymous, max(sizes, default=0.0), handles, len(sizes))


def tree(root: int) -> list[int]:
    """It and its children, theirs and so on."""
    found = [root]
    for number in found:  # grows meanwhile
        for listing in Path(f"/proc/{number}/task").glob("*/children"):
            try:
                found += [int(child) for child in listing.read_text().split()]
            except OSError:  # the thread ended
                continue
    return found
