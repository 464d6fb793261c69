"""The real command, killed outright in the middle of a training and resumed: nothing may differ afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest
from tiny_study import train_conf, train_words

from medcnn.train import train

SETTINGS = (
    "trainer.epochs=60",
    "trainer.checkpoint_minutes=0.0005",
    "trainer.ema_decay=0.9",
    "trainer.mixup_alpha=0.3",
)


def start(words: list[str], output: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with output.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "medcnn.train", *words], stdout=stream, stderr=stream, env=environment
        )


def only_run(output: Path) -> Path:
    (folder,) = output.glob("xray_cls/2*")
    return folder


@pytest.mark.process
def test_kill_9_and_resume_ends_with_the_weights_of_an_uninterrupted_run(pictures: Path, tmp_path: Path) -> None:
    words = train_words(pictures, tmp_path / "cut", *SETTINGS)
    first = start(words, tmp_path / "first.txt")
    until = time.monotonic() + 120
    while "epoch 7/60" not in (tmp_path / "first.txt").read_text() and time.monotonic() < until:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert not (only_run(tmp_path / "cut") / "model").exists()

    second = start([*words, "resume=auto"], tmp_path / "second.txt")
    assert second.wait(timeout=180) == 0, (tmp_path / "second.txt").read_text()
    assert "going on with" in (tmp_path / "second.txt").read_text()

    whole = train(train_conf(pictures, tmp_path / "whole", *SETTINGS))
    digests = {
        sha256((run / "model" / "weights_0.safetensors").read_bytes()).hexdigest()
        for run in (whole, only_run(tmp_path / "cut"))
    }
    assert len(digests) == 1
