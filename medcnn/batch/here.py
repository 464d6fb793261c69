"""The engine without processes of its own: cases one after the other in this process, for debugging and for Windows."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import takewhile

from medcnn.batch.about import About
from medcnn.batch.errand import Errand
from medcnn.batch.outcome import Answering, Asked, Outcome


class HereEngine:
    """Engine (medcnn/batch/engine.py). A codec has its own process all the same; whatever else crashes ends the run."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._answering: Answering | None = None

    def open(self) -> About:
        """Import what answers, and the model."""
        from medcnn.batch.opening import open_answering

        self._answering = open_answering(self._errand.conf, self._errand.root, self._errand.results)
        return self._answering.about

    def outcomes(self, asked: Sequence[Asked], stopping: Callable[[], bool]) -> Generator[Outcome]:
        """In the order asked."""
        assert self._answering is not None
        yield from self._answering.outcomes(takewhile(lambda one: not stopping(), asked))

    def close(self) -> None:
        """Let the model go."""
        self._answering = None
