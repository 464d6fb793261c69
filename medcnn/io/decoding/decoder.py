"""Compressed pictures are decoded in disposable processes, so that a codec can crash, hang or eat memory in peace.

Each of our processes starts its own decoder processes when it first needs one, as many as it decodes at once (up to
four), and keeps them. They import numpy and the codecs only, are killed when a picture takes too long, and leave by
themselves when their parent is gone. Windows lacks what this is made of: there, pictures are decoded in this process,
without protection; macOS has it, but for the limit on memory.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import medcnn
from medcnn.io.decoding.answer import MOST_TEXT_BYTES, died, nonsense, parsed, rejected, room, timeout
from medcnn.io.decoding.codecs import FrameJob, Job, Stored, decode
from medcnn.io.decoding.process import ANSWER, READY, REQUEST, FaultJob, packed
from medcnn.scan import Reason, ScanRejected

GUARDED = os.name == "posix" and hasattr(socket, "socketpair") and bool(sys.executable)
MAX_WORKERS = min(4, os.cpu_count() or 1)
MEMORY_BYTES = 6 * 2**30  # the largest frame allowed, in a codec's planes of 32 bits, with copies of its result
FRAME_SECONDS = 60.0
PIXELS_A_SECOND = 10**6  # the slowest codec does ten times as many on a slow machine
_START_SECONDS = 120.0  # imports over a network drive that sleeps
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**25),  # glibc gives the memory of every picture back and takes it anew, page by
    "MALLOC_TRIM_THRESHOLD_": str(2**26),  # page, which costs as much as decoding it: here up to 64 MiB are kept
}
# medcnn from where the parent has it, everything else from the interpreter's own places, nothing from the user's folder
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); import medcnn; del sys.path[0]; "
    "from medcnn.io.decoding.process import main; main(int(sys.argv[2]), int(sys.argv[3]), faults=sys.argv[4] == '1')"
)


def decode_guarded(job: Job, payload: bytes) -> Stored:
    """Decode in a process that may die; ScanRejected where it does, or where the picture cannot be decoded.

    Returns stored values (rows, columns) or (rows, columns, 3) for a FrameJob, pixels (H, W) or (H, W, 3) uint8,
    uint16 or float32 for a PictureJob.
    """
    return _shared().decode(job, payload) if GUARDED else decode(job, payload)


class _Death(Exception):  # noqa: N818  an event
    """The process or its connection is gone."""


class _Worker:
    """One decoder process and our end of the socket to it."""

    def __init__(self, memory_bytes: int, *, faults: bool) -> None:
        with _STARTING:
            self.link, theirs = socket.socketpair()
            for end in (self.link, theirs):  # fewer turns between the processes for a picture of usual size
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**22)
            with theirs:
                root = str(Path(medcnn.__file__).resolve().parents[1])
                arguments = [root, str(theirs.fileno()), str(memory_bytes), str(int(faults))]
                try:
                    self.process = subprocess.Popen(
                        [sys.executable, "-P", *_same_flags(), "-c", _START, *arguments],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        pass_fds=[theirs.fileno()],
                        env=os.environ | _ENVIRONMENT,
                    )
                except BaseException:
                    self.link.close()
                    raise
        try:
            if self.receive(bytearray(1), time.monotonic() + _START_SECONDS) != READY:
                raise _Death
        except BaseException:
            self.kill()
            raise

    def receive(self, buffer: Any, deadline: float) -> Any:
        """Fill the buffer; TimeoutError past the deadline (of time.monotonic), _Death where the process is gone."""
        view = memoryview(buffer).cast("B")
        while view:
            self.link.settimeout(max(deadline - time.monotonic(), 1e-3))
            count = self.link.recv_into(view)
            if not count:
                raise _Death
            view = view[count:]
        return buffer

    def kill(self) -> int:
        """How the process ended: minus the signal's number, or its exit status; killed where it did not end itself."""
        self.link.close()
        try:
            return self.process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def forget(self) -> None:
        """After a fork the process and the connection are the parent's alone."""
        self.link.close()
        self.process.returncode = 0


class Decoders:
    """A pool of decoder processes for the threads of one process.

    limit         how many at once; further threads wait
    timeout_s     for one picture, and more for a huge one
    memory_bytes  address space of each process
    faults        obey FaultJobs; for tests
    """

    def __init__(
        self,
        limit: int = MAX_WORKERS,
        *,
        timeout_s: float = FRAME_SECONDS,
        memory_bytes: int = MEMORY_BYTES,
        faults: bool = False,
    ) -> None:
        self._limit, self._timeout_s, self._memory_bytes, self._faults = limit, timeout_s, memory_bytes, faults
        self._empty()
        _POOLS.add(self)

    def _empty(self) -> None:
        self._idle: list[_Worker] = []
        self._places = threading.BoundedSemaphore(self._limit)

    def forget(self) -> None:
        """In a forked child: begin anew. Whatever thread held a place or a process is not here."""
        for worker in self._idle:
            worker.forget()
        self._empty()

    def close(self) -> None:
        """End the processes that wait for work."""
        while self._idle:
            self._idle.pop().kill()

    def decode(self, job: Job | FaultJob, payload: bytes) -> Stored:
        """As decode_guarded."""
        with self._places:
            worker = self._taken()
            deadline = time.monotonic() + self._seconds(job)
            try:
                answer = self._asked(worker, job, payload, deadline)
            except TimeoutError:
                worker.process.kill()
                worker.kill()
                raise timeout() from None
            except (_Death, OSError):
                raise died(worker.kill()) from None
            except BaseException:  # an interrupt, or nonsense: what the process would say next is not known
                worker.process.kill()
                worker.kill()
                raise
            self._idle.append(worker)
        if isinstance(answer, ScanRejected):
            raise answer
        return answer

    def _taken(self) -> _Worker:
        """The process that waited least: those that are not needed stay cold."""
        with suppress(IndexError):
            while True:
                worker = self._idle.pop()
                if worker.process.poll() is None:
                    return worker
                worker.kill()  # it died while it waited, which is nobody's picture's fault
        try:
            return _Worker(self._memory_bytes, faults=self._faults)
        except (_Death, OSError) as error:
            raise ScanRejected(
                Reason.WORKER_SIGNAL,
                f"no decoder process could be started ({type(error).__name__})",
                "Check that this machine has memory and processes left",
            ) from None

    def _seconds(self, job: Job | FaultJob) -> float:
        pixels = job.rows * job.columns if isinstance(job, FrameJob) else 0
        return self._timeout_s + pixels / PIXELS_A_SECOND

    def _asked(self, worker: _Worker, job: Job | FaultJob, payload: bytes, deadline: float) -> Stored | ScanRejected:
        text = packed(job)
        seconds = deadline - time.monotonic()
        worker.link.settimeout(seconds)
        # its own alarm comes a little later than ours, for the case that we are no more
        worker.link.sendall(REQUEST.pack(len(text), len(payload), seconds + 1) + text)
        worker.link.sendall(payload)
        text_bytes, array_bytes = ANSWER.unpack(worker.receive(bytearray(ANSWER.size), deadline))
        if text_bytes > MOST_TEXT_BYTES:
            raise nonsense()
        facts = parsed(worker.receive(bytearray(text_bytes), deadline))
        if "code" in facts:
            return rejected(facts)
        array = room(facts, array_bytes, job)
        worker.receive(array, deadline)
        return array


def _same_flags() -> list[str]:
    """The parent's isolation, as far as it decides which packages are found."""
    return ["-E"] * sys.flags.ignore_environment + ["-s"] * sys.flags.no_user_site


_STARTING = threading.Lock()  # no fork while a socket's far end is open here: a child would keep it open
_POOLS: weakref.WeakSet[Decoders] = weakref.WeakSet()
_pool: Decoders | None = None


def _shared() -> Decoders:
    global _pool
    if _pool is None:
        with _STARTING:
            _pool = _pool or Decoders()
    return _pool


def _after_fork() -> None:
    _STARTING.release()
    for pool in list(_POOLS):
        pool.forget()


def _close_all() -> None:
    for pool in list(_POOLS):
        pool.close()


if GUARDED:
    os.register_at_fork(before=_STARTING.acquire, after_in_parent=_STARTING.release, after_in_child=_after_fork)
    atexit.register(_close_all)
