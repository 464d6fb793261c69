"""The decoder processes: a codec may crash, hang or eat memory, and only its own picture is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from medcnn.io.decoding import codecs, decoder
from medcnn.io.decoding.codecs import FrameJob, PictureJob
from medcnn.io.decoding.decoder import Decoders, decode_guarded
from medcnn.io.decoding.process import FaultJob
from medcnn.scan import Reason, ScanRejected

pytestmark = pytest.mark.skipif(not decoder.GUARDED, reason="this system decodes in process")

GREY = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
HOGGING_BYTES = 2**30


def png() -> bytes:
    import io

    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(autouse=True)
def _no_other_pool() -> None:
    """What other tests' reading has started is not counted here."""
    decoder._close_all()


@pytest.fixture
def pool() -> Iterator[Decoders]:
    pool = Decoders(8, timeout_s=20, memory_bytes=HOGGING_BYTES, faults=True)
    yield pool
    pool.close()


def workers() -> set[int]:
    """The decoder processes of this one."""
    return {child.pid for child in psutil.Process().children() if "decoding.process" in " ".join(child.cmdline())}


def failure(pool: Decoders, what: str) -> ScanRejected:
    with pytest.raises(ScanRejected) as caught:
        pool.decode(FaultJob(what), b"")  # type: ignore[arg-type]
    assert np.array_equal(pool.decode(PictureJob(), png()), GREY)  # the next picture is read
    return caught.value


@pytest.mark.case("I10")
@pytest.mark.parametrize(("what", "name"), [("abort", "SIGABRT"), ("segv", "SIGSEGV")])
def test_a_codec_that_crashes_costs_its_own_picture_only(pool: Decoders, what: str, name: str) -> None:
    rejection = failure(pool, what).rejection
    assert rejection.code is Reason.WORKER_SIGNAL
    assert name in rejection.found


def test_a_codec_that_ends_its_process(pool: Decoders) -> None:
    assert failure(pool, "exit").rejection.code is Reason.WORKER_SIGNAL


@pytest.mark.case("I11")
def test_a_codec_that_hangs_is_killed_in_time() -> None:
    pool = Decoders(1, timeout_s=0.5, faults=True)
    started = time.monotonic()
    with pytest.raises(ScanRejected) as caught:
        pool.decode(FaultJob("hang"), b"")
    assert caught.value.rejection.code is Reason.TIMEOUT
    assert time.monotonic() - started < 5
    pool.close()


def test_a_codec_that_eats_memory_is_stopped(pool: Decoders) -> None:
    assert failure(pool, "memory").rejection.code is Reason.MEMORY


def test_a_codec_that_answers_nonsense_is_not_believed(pool: Decoders) -> None:
    before = workers()
    assert failure(pool, "garbage").rejection.code is Reason.DECODE_FAILED
    assert len(workers()) <= len(before) + 1


def test_a_killed_process_may_have_wanted_memory(pool: Decoders) -> None:
    pool.decode(PictureJob(), png())
    (pid,) = workers()
    threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(ScanRejected) as caught:
        pool.decode(FaultJob("hang"), b"")
    assert caught.value.rejection.code is Reason.WORKER_SIGNAL
    assert "SIGKILL, perhaps for want of memory" in caught.value.rejection.found


def test_a_process_that_died_while_it_waited_is_replaced_without_a_word(pool: Decoders) -> None:
    pool.decode(PictureJob(), png())
    for pid in workers():
        os.kill(pid, signal.SIGKILL)
        psutil.Process(pid).wait(5)
    assert np.array_equal(pool.decode(PictureJob(), png()), GREY)


def test_faults_are_obeyed_where_a_test_asked_for_them_only() -> None:
    pool = Decoders(1, timeout_s=20)
    with pytest.raises(ScanRejected) as caught:
        pool.decode(FaultJob("garbage"), b"")
    assert caught.value.rejection.code is Reason.WORKER_SIGNAL
    pool.close()


def test_eight_threads_share_a_pool_of_two() -> None:
    pool, wrong, content = Decoders(2, timeout_s=20), [], png()

    def read() -> None:
        for _ in range(10):
            if not np.array_equal(pool.decode(PictureJob(), content), GREY):
                wrong.append(1)

    before = workers()
    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(workers() - before) <= 2
    pool.close()
    assert workers() <= before


def test_two_thousand_pictures_leave_nothing_open(pool: Decoders) -> None:
    content = png()
    pool.decode(PictureJob(), content)
    here = psutil.Process()
    before = here.num_fds(), workers()
    there = psutil.Process(next(iter(workers())))
    open_there = there.num_fds()
    for _ in range(2000):
        pool.decode(PictureJob(), content)
    assert (here.num_fds(), workers()) == before
    assert there.num_fds() == open_there


def test_five_deaths_leave_nothing_open(pool: Decoders) -> None:
    here = psutil.Process()
    before = here.num_fds(), workers()
    for _ in range(5):
        with pytest.raises(ScanRejected):
            pool.decode(FaultJob("exit"), b"")
    assert (here.num_fds(), workers()) == before


def test_an_interrupt_leaves_no_process_at_work(pool: Decoders) -> None:
    before = workers()
    script = textwrap.dedent(
        """
        import os, signal, threading
        from medcnn.io.decoding.decoder import Decoders
        from medcnn.io.decoding.process import FaultJob
        import psutil
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started without it
        pool = Decoders(1, faults=True)
        threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            pool.decode(FaultJob("hang"), b"")
        except KeyboardInterrupt:
            print(len(psutil.Process().children()))
        """
    )
    assert _run(script) == "0"
    assert workers() == before


def test_a_forked_child_starts_its_own_processes(pool: Decoders) -> None:
    content = png()
    pool.decode(PictureJob(), content)
    mine = workers()
    child = os.fork()
    if child == 0:
        same = np.array_equal(pool.decode(PictureJob(), content), GREY)
        os._exit(0 if same and len(workers()) == 1 else 1)
    for _ in range(20):
        assert np.array_equal(pool.decode(PictureJob(), content), GREY)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert workers() == mine


def test_processes_end_when_their_parent_is_killed() -> None:
    script = textwrap.dedent(
        """
        import os, sys, threading, time
        from medcnn.io.decoding.codecs import PictureJob
        from medcnn.io.decoding.decoder import Decoders
        from medcnn.io.decoding.process import FaultJob
        import psutil
        hanging, idle = Decoders(1, timeout_s=3, faults=True), Decoders(1, faults=True)
        try:
            idle.decode(PictureJob(), b"")  # refused, and waits for the next
        except ValueError:
            pass
        threading.Thread(target=hanging.decode, args=(FaultJob("hang"), b""), daemon=True).start()
        while len(psutil.Process().children()) < 2:
            time.sleep(0.05)
        time.sleep(1)
        print(*[child.pid for child in psutil.Process().children()], flush=True)
        os.kill(os.getpid(), 9)
        """
    )
    pids = [int(pid) for pid in _run(script, status=-signal.SIGKILL).split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 15
    while any(map(_runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_runs, pids))


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_nothing_is_imported_from_the_folder_one_stands_in(tmp_path: Path) -> None:
    for name in ("numpy", "pydicom", "PIL", "json", "medcnn"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)\n", encoding="utf-8")
    (tmp_path / "x.png").write_bytes(png())
    script = textwrap.dedent(
        f"""
        import os, sys
        from medcnn.io.decoding.codecs import PictureJob
        from medcnn.io.decoding.decoder import decode_guarded
        os.chdir({str(tmp_path)!r})
        sys.path.insert(0, "")
        print(decode_guarded(PictureJob(), open("x.png", "rb").read()).sum())
        """
    )
    assert _run(script) == str(GREY.sum())


def test_a_process_starts_fast_and_knows_no_torch(pool: Decoders) -> None:
    fastest = min(_start_seconds() for _ in range(3))
    assert fastest < 1.5  # 0.2 s where nothing else runs
    pool.decode(PictureJob(), png())
    (pid,) = workers()
    maps = Path(f"/proc/{pid}/maps")
    if maps.exists():
        assert "torch" not in maps.read_text(encoding="utf-8")


def _start_seconds() -> float:
    pool = Decoders(1)
    started = time.monotonic()
    pool.decode(PictureJob(), png())
    pool.close()
    return time.monotonic() - started


def test_without_guard_the_same_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = decode_guarded(PictureJob(), png())
    monkeypatch.setattr(decoder, "GUARDED", False)
    assert np.array_equal(decode_guarded(PictureJob(), png()), guarded)


def test_a_missing_codec_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    job = FrameJob("1.2.840.10008.1.2.4.70", 2, 2, 1, 16, 12, signed=False, photometric="MONOCHROME2")
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ScanRejected) as caught:
        codecs.decode(job, b"")
    assert caught.value.rejection.code is Reason.NO_DECODER
    assert job.syntax in caught.value.rejection.found
    assert "imagecodecs" in caught.value.rejection.found


def _run(script: str, status: int = 0) -> str:
    root = Path(decoder.medcnn.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == status, done.stderr
    return done.stdout.strip()
