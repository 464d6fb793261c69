"""Ctrl-C and SIGTERM: end at the next safe place, with everything kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from medcnn.errors import Interrupted

_ASKED = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Hears the signals of a whole command. During a training they wait for the step in hand; a second one does not."""

    def __init__(self) -> None:
        self.signal_number = 0
        self._patient = False

    @contextmanager
    def listening(self) -> Iterator[Interruption]:
        """For the length of the command; only the main thread may set handlers."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.getsignal(number) for number in _ASKED}
        self.take_signals()
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def take_signals(self) -> None:
        """Become the handler (again: Lightning sets its own when a fit begins)."""
        if threading.current_thread() is threading.main_thread():
            for number in _ASKED:
                signal.signal(number, self._hear)

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Within, the first signal is only noted."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False

    def _hear(self, number: int, frame: FrameType | None) -> None:
        again, self.signal_number = self.signal_number != 0, number
        if again or not self._patient:
            raise Interrupted(number, f"stopped by {signal.Signals(number).name}")
