"""Two processes train one network on one machine: one run, one model, and the second one keeps quiet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_study import train_words


@pytest.mark.process
def test_two_processes_make_one_run(pictures: Path, tmp_path: Path) -> None:
    words = train_words(pictures, tmp_path, "trainer.devices=2", "trainer.strategy=ddp")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MEDCNN_R", "LOCAL_RANK"))}
    done = subprocess.run(
        [sys.executable, "-m", "medcnn.train", *words],
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = tmp_path.glob("xray_cls/2*")
    assert done.stdout.count("run folder") == 1
    assert done.stdout.count("epoch 3/3") == 1
    assert (run / "model" / "model.json").is_file()
    assert json.loads((run / "metrics.json").read_text())["test"]["auroc"]["n"] > 0
