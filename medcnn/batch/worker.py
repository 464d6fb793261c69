"""The process that answers: it opens the model once, asks for one case after another, and may die of any of them.

It says            about (the model is open), next (a case, please), outcome, log; refused (the model cannot be opened)
                   or stopped (nothing can be written) before it ends
It is told         errand, once; then a case, or rest (finish those in hand, then ask again)
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medcnn.batch.messages import Gone, Link
from medcnn.batch.outcome import Answering, Asked

_PARENT_IS_GONE = 1  # prctl's PR_SET_PDEATHSIG


def main(descriptor: int, parent: int) -> None:
    """Answer until the other end closes."""
    _be_quiet(parent)
    link = Link(socket.socket(fileno=descriptor))
    logger = logging.getLogger("medcnn")
    logger.setLevel(logging.INFO)
    logger.addHandler(_Told(link))
    logger.propagate = False
    with suppress(Gone):
        answering = _opened(link)
        while answering is not None:
            _one_stream(link, answering)
    logging.shutdown()
    os._exit(0)  # threads may be in the middle of a case that nobody waits for any more


def _be_quiet(parent: int) -> None:
    """Deaf to the terminal's signals, gone with the parent, first to go where memory runs out, no core dump."""
    import resource

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when to stop
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_IS_GONE, signal.SIGKILL)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")
    if os.getppid() != parent:  # it died before we could ask to be told
        os._exit(0)


def _opened(link: Link) -> Answering | None:
    from medcnn.batch.opening import open_answering
    from medcnn.config.errors import ConfigError
    from medcnn.config.saved import predict_conf
    from medcnn.errors import UserError

    errand = link.receive()["errand"]
    conf = predict_conf(errand["conf"])
    try:
        _bound(conf.memory_mb, conf.workers)
        answering = open_answering(conf, Path(errand["root"]), Path(errand["results"]))
    except ConfigError as error:
        link.send(refused={"config": list(error.problems)})
        return None
    except UserError as error:
        link.send(refused={"text": str(error)})
        return None
    link.send(about=answering.about.as_json())
    return answering


def _bound(memory_mb: int, workers: int) -> None:
    """What the process may take, and its share of the cores."""
    import resource

    import torch

    if memory_mb:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * 2**20, memory_mb * 2**20))
    if workers > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))


def _one_stream(link: Link, answering: Answering) -> None:
    """Until we are told to rest. Raises Gone."""
    try:
        for outcome in answering.outcomes(_cases(link)):
            row = None if outcome.row is None else asdict(outcome.row)
            link.send(outcome={"case_id": outcome.case.case_id, "row": row})
    except OSError as error:
        link.send(stopped={"errno": error.errno, "text": error.strerror or type(error).__name__})


def _cases(link: Link) -> Iterator[Asked]:
    while True:
        link.send(next=True)
        told = link.receive()
        if "case" not in told:
            return
        yield Asked.from_json(told["case"])


class _Told(logging.Handler):
    """medcnn's own messages are the parent's to say."""

    def __init__(self, link: Link) -> None:
        super().__init__(logging.INFO)
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Gone):
            told: dict[str, Any] = {"level": record.levelno, "name": record.name, "text": record.getMessage()}
            self._link.send(log=told)
