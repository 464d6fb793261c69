"""What a decoder process answered, or how it ended: an array or a rejection, and nothing taken on trust."""

from __future__ import annotations

import json
import math
import signal
from typing import Any

import numpy as np

from medcnn.io.decoding.codecs import FrameJob, Job, Stored
from medcnn.io.decoding.process import FaultJob
from medcnn.scan import Reason, ScanRejected

MOST_TEXT_BYTES = 2**16
MOST_BYTES = 2**33
_PICTURE_KINDS = ("|u1", "<u2", "<f4")


def parsed(text: bytearray) -> dict[str, Any]:
    """The JSON object of an answer."""
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        raise nonsense() from None
    if not isinstance(facts, dict) or not isinstance(facts.get("shape", []), list):
        raise nonsense()
    return facts


def rejected(facts: dict[str, Any]) -> ScanRejected:
    """The rejection that an answer is."""
    try:
        return ScanRejected(Reason(facts["code"]), str(facts["found"]), str(facts["remedy"]))
    except (KeyError, TypeError, ValueError):
        raise nonsense() from None


def room(facts: dict[str, Any], array_bytes: int, job: Job | FaultJob) -> Stored:
    """An array for what is announced, if that is what the job can give."""
    shape, kind = tuple(facts.get("shape", ())), str(facts.get("type"))
    if isinstance(job, FrameJob):
        fits = shape == job.shape and kind == job.kind.str
    else:
        whole = all(isinstance(side, int) and side > 0 for side in shape)
        fits = whole and (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) and kind in _PICTURE_KINDS
    if not fits or math.prod(shape) * np.dtype(kind).itemsize != array_bytes or array_bytes > MOST_BYTES:
        raise nonsense()
    return np.empty(shape, dtype=kind)


def nonsense() -> ScanRejected:
    return ScanRejected(
        Reason.DECODE_FAILED, "the decoder answered something else than this picture", "Export the file again"
    )


def timeout() -> ScanRejected:
    return ScanRejected(
        Reason.TIMEOUT, "decoding took longer than any intact picture of this size does", "Export the file again"
    )


def died(status: int) -> ScanRejected:
    """By how the process ended: minus the signal's number, or its exit status."""
    if status == -signal.SIGALRM:
        return timeout()
    if status >= 0:
        how = f"ended with status {status}"
    else:
        how = f"was ended by {_signal_name(-status)}"
        if status == -signal.SIGKILL:
            how += ", perhaps for want of memory"
    return ScanRejected(
        Reason.WORKER_SIGNAL, f"the decoder process {how}", "Export the file again, uncompressed if possible"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
