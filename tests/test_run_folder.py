"""The folder of one run: private, locked, its faults said in a sentence."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from medcnn.errors import NoSpaceError, TrainingError, UserError
from medcnn.run_folder import RunFolder, locked, log_to_file, new_run, unfinished_runs, writing


@pytest.fixture
def widest_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("widest_umask")
def test_a_new_run_is_private_and_the_latest(tmp_path: Path) -> None:
    first = new_run(tmp_path / "runs", "xray_cls")
    second = new_run(tmp_path / "runs", "xray_cls")
    assert first.path != second.path
    assert first.path.parent == tmp_path / "runs" / "xray_cls"
    for folder in (first.path, first.path.parent, first.path.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (first.path.parent / "latest").resolve() == second.path
    assert (first.path.parent / "latest").readlink() == Path(second.path.name)  # it may be moved as a whole


def test_unfinished_runs_come_newest_first(tmp_path: Path) -> None:
    for name, files in (
        ("2024-01-01_00-00-00_aaaa", ["config.yaml"]),
        ("2024-01-03_00-00-00_aaaa", ["config.yaml"]),
        ("2024-01-02_00-00-00_aaaa", ["config.yaml", "metrics.json", "model/model.json"]),
        ("2024-01-04_00-00-00_aaaa", []),
    ):
        for file in files:
            path = tmp_path / "task" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert [run.path.name[:10] for run in unfinished_runs(tmp_path, "task")] == ["2024-01-03", "2024-01-01"]
    assert unfinished_runs(tmp_path, "other") == []


def test_a_second_trainer_in_one_folder_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    same, refused = locked(RunFolder(tmp_path)), pytest.raises(TrainingError, match="another process is working in")
    with locked(run), refused, same:
        pytest.fail("both went in")
    with locked(RunFolder(tmp_path)):
        pass  # free again


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, NoSpaceError, "is full. Free space, or set output="),
        (errno.EFBIG, NoSpaceError, "is full"),
        (errno.EROFS, UserError, "cannot be written"),
        (errno.EACCES, UserError, "Set output=<folder you may write to>"),
        (errno.EIO, OSError, "Input/output error"),
    ],
)
def test_what_the_disk_refuses_is_said(tmp_path: Path, number: int, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught, writing(tmp_path):
        raise OSError(number, os.strerror(number))
    assert words in str(caught.value)
    assert getattr(caught.value, "exit_code", 0) == {NoSpaceError: 28, UserError: 1}.get(kind, 0)


def test_the_log_is_private_and_closed_afterwards(tmp_path: Path) -> None:
    logger = logging.getLogger("medcnn")
    before = list(logger.handlers)
    with log_to_file(tmp_path / "log.txt"):
        logging.getLogger("medcnn.train").warning("said %d", 1)
    logging.getLogger("medcnn.train").warning("said 2")
    assert (tmp_path / "log.txt").read_text().endswith("WARNING said 1\n")
    assert stat.S_IMODE((tmp_path / "log.txt").stat().st_mode) == 0o600
    assert logger.handlers == before


def test_json_has_no_numbers_that_are_none(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_json("metrics.json", {"a": 1.5})
    with pytest.raises(ValueError, match="Out of range float"):
        RunFolder(tmp_path).write_json("metrics.json", {"a": float("nan")})
