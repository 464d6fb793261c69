"""The process that codecs run in: it takes one compressed picture after another, and may die of any of them.

What travels over the socket, both ways: a head of fixed size, a JSON object, then raw bytes.

    request   length of the JSON (u32), of the bytes (u64), seconds allowed (f64); the job; the compressed picture
    answer    length of the JSON (u32), of the bytes (u64); {"shape", "type"} or {"code", "found", "remedy"}; pixels

No pickle: whoever takes a decoder over with a crafted picture shall not get further by what it answers.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medcnn.io.decoding.codecs import FrameJob, Job, PictureJob, Stored, decode, out_of_memory
from medcnn.scan import ScanRejected

READY = b"\x06"
REQUEST, ANSWER = struct.Struct("<IQd"), struct.Struct("<IQ")


@dataclass(frozen=True)
class FaultJob:
    """What a broken codec would do; only a process that was started for a test obeys."""

    what: Literal["abort", "segv", "hang", "memory", "garbage", "exit"]


def packed(job: Job | FaultJob) -> bytes:
    """A job as JSON."""
    return json.dumps({"job": type(job).__name__, **asdict(job)}).encode()


def unpacked(text: bytes, *, faults: bool) -> Job | FaultJob:
    """The job that a JSON object names, one of a closed set."""
    fields: dict[str, Any] = json.loads(text)
    kinds: dict[str, type[Job | FaultJob]] = {"FrameJob": FrameJob, "PictureJob": PictureJob}
    if faults:
        kinds["FaultJob"] = FaultJob
    return kinds[fields.pop("job")](**fields)


def receive(link: socket.socket, size: int) -> bytearray | None:
    """So many bytes, or None where the other end is gone."""
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        count = link.recv_into(view)
        if not count:
            return None
        view = view[count:]
    return buffer


def main(descriptor: int, memory_bytes: int, *, faults: bool = False) -> None:
    """Serve until the other end closes."""
    _confine(memory_bytes)
    with socket.socket(fileno=descriptor) as link:
        link.sendall(READY)
        while _serve(link, faults=faults):
            signal.setitimer(signal.ITIMER_REAL, 0)


def _confine(memory_bytes: int) -> None:
    """No core dump, bounded memory, deaf to the terminal's signals; the first to go where memory runs out."""
    import resource

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when to stop; the socket's end tells
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process inside a codec, too, where no handler would run
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, ValueError):  # macOS, or a lower limit is set already
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _serve(link: socket.socket, *, faults: bool) -> bool:
    """One request; False where there is none any more."""
    head = receive(link, REQUEST.size)
    if head is None:
        return False
    job_bytes, payload_bytes, seconds = REQUEST.unpack(head)
    text = receive(link, job_bytes)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        payload = receive(link, payload_bytes)
        if text is None or payload is None:
            return False
        job = unpacked(bytes(text), faults=faults)
        if isinstance(job, FaultJob):
            _break(job, link)
        array = np.ascontiguousarray(decode(job, bytes(payload)) if not isinstance(job, FaultJob) else _one_pixel())
    except MemoryError:
        _answer(link, _words(out_of_memory()))
    except ScanRejected as rejected:
        _answer(link, _words(rejected))
    else:
        _answer(link, {"shape": array.shape, "type": array.dtype.str}, array)
    return True


def _words(rejected: ScanRejected) -> dict[str, Any]:
    return asdict(rejected.rejection)


def _answer(link: socket.socket, facts: dict[str, Any], array: Stored | None = None) -> None:
    text = json.dumps(facts).encode()
    link.sendall(ANSWER.pack(len(text), 0 if array is None else array.nbytes) + text)
    if array is not None:
        link.sendall(array.data.cast("B"))


def _break(job: FaultJob, link: socket.socket) -> None:
    match job.what:
        case "abort":
            os.abort()
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(3600)
        case "memory":
            hoard = [bytearray(2**28) for _ in range(2**20)]
            hoard.clear()
        case "garbage":
            link.sendall(b"\xff" * 4096)
        case "exit":
            os._exit(3)


def _one_pixel() -> Stored:
    return np.zeros((1, 1), np.uint8)
