"""Who goes over the cases, and where. What is done with one case is Answering's (medcnn/batch/outcome.py).

A further engine (many machines, say) is one more file: it sends an Errand to each of its processes, which open it with
medcnn.batch.opening.open_answering, hands them cases, and yields what comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from medcnn.batch.about import About
from medcnn.batch.errand import Errand
from medcnn.batch.here import HereEngine
from medcnn.batch.local import GUARDED, LocalEngine
from medcnn.batch.outcome import Asked, Outcome


class Engine(Protocol):
    """Goes over cases."""

    def open(self) -> About:
        """Open the model. Raises UserError and ConfigError where that cannot be done."""

    def outcomes(self, asked: Sequence[Asked], stopping: Callable[[], bool]) -> Generator[Outcome]:
        """One for each case, as they are finished: what a case leaves behind is safe on disk by then.

        Whatever becomes of one case, the others go on. Once stopping() says so no further case is begun, and the
        generator ends with those in hand. Raises OSError where nothing can be written.
        """

    def close(self) -> None:
        """Give back what was taken; cases in hand are dropped."""


def build_engine(errand: Errand) -> Engine:
    """The one that the config names."""
    match errand.conf.engine:
        case "local" if GUARDED:
            return LocalEngine(errand)
        case _:
            return HereEngine(errand)
