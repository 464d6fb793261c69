"""The delivering process: reads a run's events as they are written and brings them to MLflow, whatever MLflow does.

python -m medcnn.tracking.deliver '{"folders": ["runs/xray_cls/..."], "follow": true}'
Started by the tracker; it ends when the run is closed and delivered, or when it had no success for a minute after.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from medcnn.tracking.shipping import EventRefused, Shipment
from medcnn.tracking.spool import Event, Spool, last_event, lock_file

log = logging.getLogger(__name__)

TICK_S = 0.2
GATHER_MS = 2000  # metrics wait this long for others to travel with
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
PATIENCE_S = 60.0
LOCK_TIMEOUT_S = 30.0
MOST_ATTEMPTS = 6
#: MLflow's codes for "this request is wrong", as opposed to "I am in trouble".
WRONG_REQUEST = {"INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_ALREADY_EXISTS", "NOT_IMPLEMENTED"}


class Outcome(StrEnum):
    """How delivering one run ended."""

    DELIVERED = "delivered"
    REFUSED = "delivered, but MLflow would not take everything"
    RUNNING = "up to date, still running"
    BUSY = "being delivered by another process"
    WAITING = "kept: MLflow cannot be reached, or does not take it"


def deliver(run_folder: Path, *, follow: bool, patience_s: float = PATIENCE_S) -> Outcome:
    """Bring a run's events to MLflow.

    follow      wait for more until the run is closed; a run whose process is gone is closed as KILLED
    patience_s  how long to go on without success once the run has ended
    """
    from filelock import FileLock, Timeout

    try:
        with FileLock(lock_file(run_folder), timeout=LOCK_TIMEOUT_S if follow else 0):
            return _Delivery(Shipment(run_folder), follow=follow, patience_s=patience_s).run()
    except Timeout:
        return Outcome.BUSY


class _Delivery:
    """The loop and its memory of failures."""

    def __init__(self, shipment: Shipment, *, follow: bool, patience_s: float) -> None:
        self.shipment, self.follow, self.patience_s = shipment, follow, patience_s
        self.pause_s = FIRST_PAUSE_S
        self.failing_since_s: float | None = None
        self.attempts: dict[int, int] = {}

    def run(self) -> Outcome:
        while True:
            gone = self.shipment.owner is None or self.shipment.owner.is_gone()  # asked before reading: its last words
            events = self.shipment.unread()
            if events and (self._is_due(events) or gone or not self.follow):
                if not self._try(lambda events=events: self._send(events)):  # type: ignore[misc]
                    if self._patience_ends(gone=gone):
                        return Outcome.WAITING
                    time.sleep(self.pause_s)
                    self.pause_s = min(2 * self.pause_s, LONGEST_PAUSE_S)
            elif events:
                time.sleep(TICK_S)
            elif self.shipment.is_closed():
                return self._finish()
            elif gone:
                close_as_killed(self.shipment.run_folder)
            elif not self.follow:
                return Outcome.RUNNING
            else:
                time.sleep(TICK_S)

    def _is_due(self, events: list[Event]) -> bool:
        return events[-1].kind != "metrics" or time.time() * 1000 - events[0].time_ms > GATHER_MS

    def _finish(self) -> Outcome:
        if self.shipment.state.refused:
            self.shipment.send_refused()
        return Outcome.REFUSED if self.shipment.state.refused else Outcome.DELIVERED

    def _patience_ends(self, *, gone: bool) -> bool:
        """While the run goes on, so do we."""
        last = last_event(self.shipment.run_folder)
        ended = gone or not self.follow or (last is not None and last.kind == "close")
        if not ended or self.failing_since_s is None:
            return False
        return time.monotonic() - self.failing_since_s > self.patience_s

    def _try(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as error:  # MLflow, its plugins and databases raise anything
            log.warning("not delivered yet (%s: %s); again in %.1f s", type(error).__name__, error, self.pause_s)
            if self.failing_since_s is None:
                self.failing_since_s = time.monotonic()
            return False
        self.failing_since_s, self.pause_s = None, FIRST_PAUSE_S
        return True

    def _send(self, events: list[Event]) -> None:
        """All together; if that fails though the server is well, one by one, to find the event at fault."""
        try:
            self.shipment.send(events)
            return
        except Exception:  # MLflow, its plugins and databases raise anything
            self.shipment.check_run()  # raises if it is the server, or the run
        for event in events:
            if event.end > self.shipment.state.offset:
                self._send_alone(event)

    def _send_alone(self, event: Event) -> None:
        try:
            self.shipment.send([event])
        except Exception as error:
            self.shipment.check_run()
            self.attempts[event.start] = self.attempts.get(event.start, 0) + 1
            if event.kind in {"open", "close"} or not self._is_hopeless(event, error):
                raise
            log.warning("%s event at byte %d: refused (%s: %s)", event.kind, event.start, type(error).__name__, error)
            self.shipment.refuse(event)

    def _is_hopeless(self, event: Event, error: Exception) -> bool:
        code = getattr(error, "error_code", "")
        if isinstance(error, EventRefused) or code in WRONG_REQUEST:
            return True
        return code != "TEMPORARILY_UNAVAILABLE" and self.attempts[event.start] >= MOST_ATTEMPTS


def close_as_killed(run_folder: Path) -> None:
    """The run's process is gone and could not say so itself."""
    spool = Spool(run_folder)
    spool.append("close", status="KILLED", by="another process: the run's own is gone")
    spool.close()


def main(arguments: list[str]) -> int:
    """The process: gentle to the training beside it."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    if hasattr(os, "nice"):
        os.nice(10)
    order = json.loads(arguments[0])
    outcomes = [deliver(Path(folder), follow=order["follow"]) for folder in order["folders"]]
    return 0 if all(outcome in {Outcome.DELIVERED, Outcome.RUNNING} for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
