"""The real `predict` command, killed with -9 at random moments, stopped, run twice at once: nothing partial or lost.

MEDCNN_KILLS says how many kills there are (default 6); benchmarks/batch_folder.py makes 50 over the whole folder.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chaos import Command, differences, killed_until_done, results
from mixed_folder import write_pictures, write_volumes
from packages import tiny_package, tiny_segmenter_package
from watcher import Watcher

KILLS = int(os.environ.get("MEDCNN_KILLS", "6"))
GOOD, BAD = 14, 5

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked up in /proc"),
]


@dataclass(frozen=True)
class Job:
    """A small hostile folder, a model, and what an uninterrupted run leaves (expected) in `whole`."""

    folder: Path
    words: list[str]
    expected: dict[str, Any]
    seconds: float

    @property
    def whole(self) -> Path:
        return self.folder / "whole"

    def command(self, output: Path) -> Command:
        return Command([*self.words, f"output={output}"], output.with_suffix(".log"))


def made(folder: Path, kind: str) -> Job:
    """A part of the hostile folder, and a run over it."""
    write, package = (write_volumes, tiny_segmenter_package) if kind == "volumes" else (write_pictures, tiny_package)
    make: Callable[[Path], Path] = package
    mixed = write(folder / "scans", good=GOOD, bad=BAD)
    words = [f"model={make(folder / 'model')}", f"input={mixed.root}", f"privacy.key_file={folder / 'key'}"]
    words += ["explain=gradcam", "inference.accelerator=cpu"]
    began = time.monotonic()
    command = Command([*words, f"output={folder / 'whole'}"], folder / "whole.log")
    assert command.run() == 8, command.log.read_text()
    return Job(folder, words, results(folder / "whole"), time.monotonic() - began)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return made(tmp_path_factory.mktemp("volumes"), "volumes")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Job:  # not conftest's: a job over them
    return made(tmp_path_factory.mktemp("pictures"), "pictures")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Callable[[Job], Watcher]]:
    """A new output, watched; whatever is seen in it is like the uninterrupted run's."""
    watchers = []

    def watch(job: Job) -> Watcher:
        (tmp_path / "out").mkdir(mode=0o700)
        of_cases = {name: value for name, value in job.expected.items() if "/" in name}
        watchers.append(Watcher(tmp_path / "out", of_cases))
        return watchers[-1]

    yield watch
    for watcher in watchers:
        watcher.close()


@pytest.mark.case("I03")
@pytest.mark.parametrize("kind", ["volumes", "pictures"])
def test_I03_kill_9_at_random_moments_and_the_results_are_an_uninterrupted_runs(
    kind: str, request: pytest.FixtureRequest, watched: Callable[[Job], Watcher]
) -> None:
    job: Job = request.getfixturevalue(kind)
    watcher = watched(job)
    command, kills = job.command(watcher.folder), max(1, KILLS // 2)
    assert killed_until_done(command, watcher, kills, job.seconds, random.Random(kind)) >= kills / 2
    assert command.run() == 8, command.log.read_text()
    assert differences(watcher.folder, job.expected) == []
    assert [name for name in watcher.folder.rglob(".part-*")] == []
    watcher.close()
    assert watcher.faults == []
    assert watcher.seen["row"] == len(job.expected["ledger.jsonl"])


def test_sigterm_and_ctrl_c_finish_the_case_in_hand_and_the_same_command_goes_on(
    volumes: Job, watched: Callable[[Job], Watcher]
) -> None:
    watcher = watched(volumes)
    command = volumes.command(watcher.folder)
    rows = [0]
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = command.start()
        watcher.wait_for(1, process, rows=True)
        if number == signal.SIGTERM:
            process.send_signal(number)
        else:
            os.killpg(process.pid, number)  # as a terminal does it: every process of the command hears it
        assert process.wait(timeout=60) == code, command.log.read_text()
        assert command.alive() == []
        rows.append(len(results(watcher.folder)["ledger.jsonl"]))
        assert list(watcher.folder.rglob(".part-*")) == []
    assert 0 < rows[1] < rows[2] < len(volumes.expected["ledger.jsonl"])
    assert "Traceback" not in command.log.read_text()
    assert command.run() == 8
    assert differences(watcher.folder, volumes.expected) == []
    watcher.close()
    assert watcher.faults == []


def test_two_runs_on_one_output_exclude_each_other(volumes: Job, watched: Callable[[Job], Watcher]) -> None:
    watcher = watched(volumes)
    first, second = volumes.command(watcher.folder), volumes.command(watcher.folder)
    process = first.start()
    watcher.wait_for(1, process, rows=True)
    process.send_signal(signal.SIGSTOP)  # it holds the folder, and may take its time
    try:
        second.log = watcher.folder.with_suffix(".second.log")
        assert second.run() == 1
        assert "another process is working in" in second.log.read_text()
    finally:
        process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=120) == 8
    assert differences(watcher.folder, volumes.expected) == []
    watcher.close()
    assert watcher.faults == []


@pytest.mark.case("I04")
def test_I04_what_is_damaged_is_made_again_alone(volumes: Job) -> None:
    files = sorted(name for name in volumes.expected if name.startswith(("masks/", "overlays/", "dicom/", "cases/")))
    damaged = files[:: len(files) // 3]
    for name in damaged:
        path = volumes.whole / name
        path.write_bytes(path.read_bytes()[:-20])
    before = {name: (volumes.whole / name).stat().st_mtime_ns for name in files}
    assert volumes.command(volumes.whole).run() == 8
    assert differences(volumes.whole, volumes.expected) == []
    cases = [row for row in volumes.expected["ledger.jsonl"].values() if set(row["files"]) & set(damaged)]
    again = {name for name in files if (volumes.whole / name).stat().st_mtime_ns != before[name]}
    assert set(damaged) <= again <= {name for row in cases for name in row["files"]}
