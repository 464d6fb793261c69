"""A training that is stopped and resumed ends with the same weights, bit for bit, as one that was not."""

from __future__ import annotations

import errno
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import Recorder, make_job, weights_digest

from medcnn.data.batches import Batches
from medcnn.errors import CheckpointError, DataError, Interrupted, NoSpaceError, TrainingError
from medcnn.training.checkpoints import Checkpoints, read_checkpoint
from medcnn.training.fit import fit
from medcnn.training.job import Job


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whole")
    fit(make_job(folder), resume=False)
    return weights_digest(folder)


def stopped_at(folder: Path, step: int, **changes: Any) -> Job:
    """A training that hears SIGTERM at a step, and stops."""
    watcher = Recorder()
    job = make_job(folder, watcher=watcher, **changes)

    def hear(now: int) -> None:
        if now == step:
            job.interruption.signal_number = signal.SIGTERM

    watcher.at_step = hear
    with pytest.raises(Interrupted, match="SIGTERM") as stop:
        fit(job, resume=False)
    assert stop.value.exit_code == 143
    return job


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path, uninterrupted: str) -> None:
    fit(make_job(tmp_path / "again"), resume=False)
    fit(make_job(tmp_path / "other", seed=1), resume=False)
    assert weights_digest(tmp_path / "again") == uninterrupted
    assert weights_digest(tmp_path / "other") != uninterrupted


@pytest.mark.parametrize("step", [1, 3, 5, 6, 11, 13])
def test_stopped_anywhere_and_resumed_equals_uninterrupted(tmp_path: Path, uninterrupted: str, step: int) -> None:
    stopped_at(tmp_path, step)
    state = fit(make_job(tmp_path), resume=True)
    assert state.step == 15
    assert weights_digest(tmp_path) == uninterrupted
    assert [row["epoch"] for row in state.history] == [1, 2, 3]


def test_stopped_three_times_is_no_different(tmp_path: Path, uninterrupted: str) -> None:
    stopped_at(tmp_path, 2)
    for step in (7, 12):
        watcher = Recorder()
        job = make_job(tmp_path, watcher=watcher)
        watcher.at_step = lambda now, job=job, step=step: (
            setattr(job.interruption, "signal_number", signal.SIGINT) if now == step else None
        )
        with pytest.raises(Interrupted):
            fit(job, resume=True)
    fit(make_job(tmp_path), resume=True)
    assert weights_digest(tmp_path) == uninterrupted


def test_history_and_losses_of_a_resumed_run_are_those_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = fit(make_job(tmp_path / "whole"), resume=False)
    stopped_at(tmp_path / "cut", 8)
    resumed = fit(make_job(tmp_path / "cut"), resume=True)
    assert resumed.history == whole.history


@pytest.mark.parametrize(
    "changes",
    [
        {"members": 2, "epochs": 2},
        {"optimizer": "sgd", "ema_decay": 0.0},
        {"accumulate_batches": 2},
        {"sampling": "balanced"},
    ],
)
def test_every_kind_of_training_resumes_exactly(tmp_path: Path, changes: dict[str, Any]) -> None:
    fit(make_job(tmp_path / "whole", **changes), resume=False)
    stopped_at(tmp_path / "cut", 4, **changes)
    fit(make_job(tmp_path / "cut", **changes), resume=True)
    assert weights_digest(tmp_path / "cut") == weights_digest(tmp_path / "whole")


def test_stopped_in_the_second_member_leaves_the_first_as_it_was(tmp_path: Path) -> None:
    changes = {"members": 2, "epochs": 2}
    fit(make_job(tmp_path / "whole", **changes), resume=False)
    stopped_at(tmp_path / "cut", 13, **changes)
    first = (tmp_path / "cut" / "member_0.safetensors").stat().st_mtime_ns
    fit(make_job(tmp_path / "cut", **changes), resume=True)
    assert (tmp_path / "cut" / "member_0.safetensors").stat().st_mtime_ns == first
    assert weights_digest(tmp_path / "cut") == weights_digest(tmp_path / "whole")


@pytest.mark.parametrize("workers", [2])
def test_loading_processes_change_nothing(tmp_path: Path, uninterrupted: str, workers: int) -> None:
    fit(make_job(tmp_path, workers=workers), resume=False)
    assert weights_digest(tmp_path) == uninterrupted


@pytest.mark.parametrize("damage", ["truncated", "bit", "empty"])
def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, uninterrupted: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    stopped_at(tmp_path, 3)
    stopped_later = make_job(tmp_path, watcher=(watcher := Recorder()))
    watcher.at_step = lambda now: setattr(stopped_later.interruption, "signal_number", 15) if now == 8 else None
    with pytest.raises(Interrupted):
        fit(stopped_later, resume=True)
    newest, before = Checkpoints(tmp_path).paths()
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"truncated": bytes(content[:1000]), "bit": bytes(content), "empty": b""}[damage])
    fit(make_job(tmp_path), resume=True)
    assert newest.name in caplog.text
    assert before.name not in caplog.text
    assert weights_digest(tmp_path) == uninterrupted


def test_only_damaged_checkpoints_stop_with_a_reason(tmp_path: Path) -> None:
    stopped_at(tmp_path, 3)
    for path in Checkpoints(tmp_path).paths():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"CKPT_CORRUPT: every checkpoint .* Start the training anew"):
        fit(make_job(tmp_path), resume=True)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    stopped_at(tmp_path, 3)
    job = make_job(tmp_path)
    state = Checkpoints(tmp_path).newest()
    assert state is not None
    state["network"].popitem()
    Checkpoints(tmp_path).save(state, 99)
    with pytest.raises(TrainingError, match="CKPT_MISMATCH"):
        fit(job, resume=True)


class _Malicious:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.canary),))


def test_a_checkpoint_that_would_run_code_is_refused_and_nothing_ran(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = Checkpoints(tmp_path).save({"state": {}}, 1)
    torch.save(_Malicious(canary), tmp_path / "bad.pt")
    from hashlib import sha256

    for body in (pickle.dumps(_Malicious(canary)), (tmp_path / "bad.pt").read_bytes()):
        path.write_bytes(b"medcnn-checkpoint-1\n" + sha256(body).digest() + body)
        with pytest.raises(CheckpointError, match="CKPT_UNSAFE"):
            read_checkpoint(path)
    assert not canary.exists()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_ends_with_28_and_keeps_the_checkpoint_before(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"step": 1}, 1)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
        with pytest.raises(NoSpaceError, match=r"the disk is full.*resume=auto") as error:
            checkpoints.save({"step": 2}, 2)
    assert error.value.exit_code == 28
    assert checkpoints.newest() == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.ckpt"]


def test_two_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in range(1, 5):
        checkpoints.save({"step": step}, step)
    assert [path.name for path in checkpoints.paths()] == ["step-000000004.ckpt", "step-000000003.ckpt"]


class _Breaking:
    """Prepared images of which one read fails, as a file that vanished would."""

    def __init__(self, images: Any, at_read: int) -> None:
        self.images, self.at_read, self.reads = images, at_read, 0

    def __getitem__(self, indices: list[int]) -> Any:
        self.reads += 1
        if self.reads == self.at_read:
            raise DataError("case c-1 was readable before and is not now")
        return self.images[indices]

    def __len__(self) -> int:
        return len(self.images)


def test_a_file_that_breaks_in_mid_epoch_loses_nothing(tmp_path: Path, uninterrupted: str) -> None:
    job = make_job(tmp_path)
    whole: Any = job.batches(0)
    broken = Batches(_Breaking(whole.images, 8), whole.targets.numpy(), whole.order, workers=0)
    with pytest.raises(DataError, match="c-1"):
        fit(Job(**{**vars(job), "batches": lambda member: broken}), resume=False)
    assert Checkpoints(tmp_path).newest()["state"]["step"] == 7  # type: ignore[index]
    fit(make_job(tmp_path), resume=True)
    assert weights_digest(tmp_path) == uninterrupted
