"""Run many inputs, each outcome attributed to the input that caused it, however a reader dies."""

from __future__ import annotations

import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import IO

from benchmarks.robustness.catalogue import Format, make_input
from benchmarks.robustness.judge import Judge, Outcome, Verdict, verdict_of

PATIENCE_S = 30.0  # of wall time for one input, before the process is ended; the judge counts 5 s of processor time
COMMAND = (sys.executable, "-m", "benchmarks.robustness")
ADDRESS_SPACE_BYTES = 4 * 2**30  # beyond what the process holds when it begins


@dataclass(frozen=True)
class Task:
    """Inputs [start, stop) of one run for one reader."""

    kind: Format
    reader: str
    run_seed: int
    numbers: Sequence[int]


def work(task: Task, out: int) -> None:
    """In a process of its own: judge one input after the other, a line each into the descriptor out."""
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as scratch, os.fdopen(out, "w") as answers:
        heard, spoken = _Heard(Path(scratch) / "heard"), os.dup(2)
        os.dup2(heard.descriptor, 1)
        os.dup2(heard.descriptor, 2)
        try:
            _judge_all(task, Judge(task.kind, task.reader, Path(scratch), heard.new), answers)
        except BaseException:  # a fault of the harness: say it where a person hears it
            os.dup2(spoken, 2)
            raise


def _judge_all(task: Task, judge: Judge, answers: IO[str]) -> None:
    limited = False
    for number in task.numbers:
        given = make_input(task.kind, task.run_seed, number)
        if not limited:
            judge.warm_up(given)  # imports everything, before the limit is set
            _limit_memory()
            limited = True
        answers.write(json.dumps({"began": number}) + "\n")
        answers.flush()
        answers.write(json.dumps(judge.judge(given).as_dict()) + "\n")
        answers.flush()


def _fast_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    most = pages * resource.getpagesize() + ADDRESS_SPACE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


class _Heard:
    """What the process said on stdout and stderr."""

    def __init__(self, path: Path) -> None:
        self.path, self.read_bytes = path, 0
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def new(self) -> str:
        sys.stdout.flush()
        sys.stderr.flush()
        size = os.fstat(self.descriptor).st_size
        if size == self.read_bytes:
            return ""
        said = os.pread(self.descriptor, size - self.read_bytes, self.read_bytes).decode("latin1")
        self.read_bytes = size
        return said


def verdicts_of_many(task: Task, jobs: int) -> Iterator[Verdict]:
    """The same from several processes at once, in no order."""
    shares = [Task(task.kind, task.reader, task.run_seed, task.numbers[k::jobs]) for k in range(jobs)]
    found: Queue[Verdict | BaseException | None] = Queue()

    def share(part: Task) -> None:
        try:
            for verdict in verdicts(part):
                found.put(verdict)
            found.put(None)
        except BaseException as error:
            found.put(error)

    for part in shares:
        Thread(target=share, args=(part,), daemon=True).start()
    open_shares = jobs
    while open_shares:
        verdict = found.get()
        if isinstance(verdict, BaseException):
            raise verdict
        if verdict is None:
            open_shares -= 1
        else:
            yield verdict


def verdicts(task: Task) -> Iterator[Verdict]:
    """All of them, in order; a process that dies or hangs is replaced and its input judged by that."""
    left = list(task.numbers)
    while left:
        for verdict in _one_process(Task(task.kind, task.reader, task.run_seed, left)):
            left = left[left.index(verdict.number) + 1 :]
            yield verdict


def _one_process(task: Task) -> Iterator[Verdict]:
    into, out = os.pipe()
    words = [task.kind, "--reader", task.reader, "--seed", str(task.run_seed), "--worker", str(out)]
    process = subprocess.Popen(
        [*COMMAND, *words],
        pass_fds=[out],
        stdin=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    os.close(out)
    assert process.stdin is not None
    process.stdin.write(json.dumps(list(task.numbers)).encode())
    process.stdin.close()
    began: int | None = None
    with os.fdopen(into, "rb", buffering=0) as answers:
        for line in _lines(answers):
            found = json.loads(line)
            if "began" in found:
                began = found["began"]
            else:
                began = None
                yield Verdict(**found)
    ended = _ended(process)
    if began is not None:
        given = make_input(task.kind, task.run_seed, began)
        hung = ended is None
        yield verdict_of(given, Outcome.HUNG if hung else Outcome.KILLED, "" if hung else f"exit {ended}")
    elif ended != 0:
        raise RuntimeError(f"the worker ended with {ended} between two inputs")


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    """Its exit status; None where it had to be ended, because it answered no more."""
    try:
        return process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def _lines(answers: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, until the end or until nothing comes any more."""
    rest, patience = b"", time.monotonic() + 4 * PATIENCE_S  # the first answer waits for the imports
    while select.select([answers], [], [], max(patience - time.monotonic(), 0))[0]:
        piece = answers.read(2**16)
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        patience = time.monotonic() + PATIENCE_S
