"""The engine of one machine: processes that hold the model, each of which may die of a case.

A process asks for case after case, a few ahead of those it has answered. Where it dies, or answers nothing for too
long, those it had in hand are suspects: each is asked again alone, and the one that ends a process by itself has
failed. Linux and macOS; Windows lacks what this is made of.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import medcnn
from medcnn.batch.about import About
from medcnn.batch.errand import Errand
from medcnn.batch.ledger import Row
from medcnn.batch.messages import Gone, Link
from medcnn.batch.outcome import Asked, Outcome, begun_row, without_answer
from medcnn.config.errors import ConfigError
from medcnn.errors import UserError
from medcnn.scan import Reason, Rejection

log = logging.getLogger("medcnn.predict")

GUARDED = os.name == "posix" and bool(sys.executable)
_LOOK_EVERY_S = 0.2
_END_S = 5.0  # for a process to be gone once it was killed; one that waits for a dead disk is not
_MOST_DEATHS = 3  # in a row, of processes with nothing in hand: it is no case's fault
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from medcnn.batch.worker import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)


class LocalEngine:
    """Engine (medcnn/batch/engine.py)."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._workers: list[Worker] = [Worker(errand)]  # at once: it imports while the folder is looked through
        self._waiting: deque[Asked] = deque()
        self._suspects: deque[Asked] = deque()
        self._deaths = 0
        self._about: About | None = None

    def open(self) -> About:
        """Wait for the first process."""
        while self._about is None:
            try:
                told = self._workers[0].link.receive()
            except Gone:
                raise _unstartable(self._workers[0].kill()) from None
            self._heard(self._workers[0], told)
        return self._about

    def outcomes(self, asked: Sequence[Asked], stopping: Callable[[], bool]) -> Generator[Outcome]:
        """As they are finished."""
        self._waiting.extend(asked)
        try:
            while not self._is_finished(stopping()):
                self._man(stopping=stopping())
                yield from self._news()
                yield from self._overdue()
        finally:
            self._waiting.clear()
            self._suspects.clear()

    def close(self) -> None:
        """End the processes; none outlives us."""
        while self._workers:
            self._workers.pop().kill()

    def _is_finished(self, stopping: bool) -> bool:  # noqa: FBT001  one of two facts, named at the call
        in_hand = any(worker.in_hand for worker in self._workers)
        return not in_hand and (stopping or not (self._waiting or self._suspects))

    def _man(self, *, stopping: bool) -> None:
        """As many processes as are wanted and of use; those that wait for a case get one."""
        open_cases = len(self._waiting) + len(self._suspects)
        idle = sum(not worker.in_hand for worker in self._workers)
        while not stopping and len(self._workers) < self._errand.conf.workers and open_cases > idle:
            self._workers.append(Worker(self._errand))
            idle += 1
        for worker in self._workers:
            if worker.asks:
                self._answer(worker, stopping=stopping)

    def _answer(self, worker: Worker, *, stopping: bool) -> None:
        """A case, or rest until those in hand are finished; else it waits for us."""
        with suppress(Gone):  # noticed when it is listened to
            if worker.in_hand and (stopping or worker.is_alone or self._suspects or not self._waiting):
                worker.rest()
            elif stopping:
                return
            elif self._suspects:
                worker.give(self._suspects.popleft(), alone=True)
            elif self._waiting:
                worker.give(self._waiting.popleft(), alone=False)

    def _news(self) -> Generator[Outcome]:
        """What the processes say within a short while."""
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select(_LOOK_EVERY_S)]
        for worker in [worker for worker in self._workers if worker in ready]:
            try:
                outcome = self._heard(worker, worker.link.receive())
            except Gone:
                yield from self._bury(worker, worker.kill())
                continue
            if outcome is not None:
                self._deaths = 0
                yield outcome

    def _overdue(self) -> Generator[Outcome]:
        limit_s = self._errand.conf.timeout_s
        for worker in [worker for worker in self._workers if worker.in_hand and worker.silent_s() > limit_s]:
            worker.kill()
            yield from self._bury(worker, None)

    def _heard(self, worker: Worker, told: Mapping[str, Any]) -> Outcome | None:
        """Raises what the process could not do for any case."""
        match told:
            case {"next": _}:
                worker.asks = True
            case {"outcome": found}:
                asked = worker.finished(found["case_id"])
                return Outcome(asked.case, None if found["row"] is None else Row.from_json(found["row"]))
            case {"about": found}:
                self._about = About.from_json(found)
            case {"log": found}:
                logging.getLogger(found["name"]).log(found["level"], "%s", found["text"])
            case {"refused": {"config": problems}}:
                raise ConfigError(problems)
            case {"refused": {"text": text}}:
                raise UserError(text)
            case {"stopped": found}:
                raise OSError(found["errno"], found["text"])
        return None

    def _bury(self, worker: Worker, status: int | None) -> Generator[Outcome]:
        """What a dead process had in hand is asked again alone; what was alone has failed. None: it took too long."""
        self._workers.remove(worker)
        had = list(worker.in_hand.values())
        if len(had) > 1 or (had and not worker.is_alone):
            log.warning("the process that answers %s; its %d cases are asked one by one", _how(status), len(had))
            self._suspects.extend(had)
        elif had:
            assert self._about is not None
            row = without_answer(begun_row(had[0], self._about), self._fault(status))
            yield Outcome(had[0].case, row)
        else:
            self._deaths += 1
            if self._deaths >= _MOST_DEATHS:
                raise _unstartable(status)

    def _fault(self, status: int | None) -> Rejection:
        if status is None:
            seconds = self._errand.conf.timeout_s
            return Rejection(
                Reason.TIMEOUT, f"no answer within {seconds:g} s", "Look at the scan, or give it longer: timeout_s="
            )
        if status == -signal.SIGKILL:
            return Rejection(
                Reason.MEMORY,
                "the process that answers was killed by the system, as happens where memory runs out",
                "Run the command again where more memory is free",
            )
        return Rejection(Reason.WORKER_SIGNAL, f"the process that answers {_how(status)}", "Look at the scan")


class Worker:
    """One process (medcnn/batch/worker.py), and what it has in hand."""

    def __init__(self, errand: Errand) -> None:
        ours, theirs = socket.socketpair()
        self.link = Link(ours)
        self.asks = False
        self.is_alone = False
        self.in_hand: dict[str, Asked] = {}
        self._heard_at = time.monotonic()
        folders = [
            str(Path(medcnn.__file__).resolve().parents[1]),
            *(str(Path(place).absolute()) for place in sys.path),
        ]
        words = [json.dumps(folders), str(theirs.fileno()), str(os.getpid())]
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libraries quote what they stumble over
                pass_fds=[theirs.fileno()],
            )
        with suppress(Gone):  # noticed when it is listened to
            self.link.send(errand=errand.as_json())

    def fileno(self) -> int:
        """To wait for."""
        return self.link.fileno()

    def give(self, asked: Asked, *, alone: bool) -> None:
        """The next case. alone: it gets no other until this one is finished."""
        if not self.in_hand:
            self._heard_at = time.monotonic()
        self.asks, self.is_alone = False, alone
        self.in_hand[asked.case.case_id] = asked
        self.link.send(case=asked.as_json())

    def rest(self) -> None:
        """No further case before those in hand are finished."""
        self.asks = False
        self.link.send(rest=True)

    def finished(self, case_id: str) -> Asked:
        """Of those in hand."""
        self._heard_at = time.monotonic()
        return self.in_hand.pop(case_id)

    def silent_s(self) -> float:
        """Since it finished a case, or was given one after none."""
        return time.monotonic() - self._heard_at

    def kill(self) -> int | None:
        """How it ended: minus the signal's number, or its status; killed where it did not end itself."""
        self.link.close()
        try:
            return self.process.wait(timeout=_LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout=_END_S)
        return None


def _how(status: int | None) -> str:
    if status is None:
        return "took too long"
    if status >= 0:
        return f"ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"


def _unstartable(status: int | None) -> UserError:
    return UserError(
        f"the process that answers {_how(status)} before its first case. Run the command with engine=here to see why"
    )
