"""Two processes train one network on one machine: one run, one model, and the second one keeps quiet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_study import train_words


def trained_by_two(words: list[str]) -> str:
    """What the command says."""
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
    return done.stdout


@pytest.mark.process
def test_two_processes_make_one_run(pictures: Path, tmp_path: Path) -> None:
    said = trained_by_two(train_words(pictures, tmp_path, "trainer.devices=2", "trainer.strategy=ddp"))
    (run,) = tmp_path.glob("xray_cls/2*")
    assert said.count("run folder") == 1
    assert said.count("epoch 3/3") == 1
    assert (run / "model" / "model.json").is_file()
    assert json.loads((run / "metrics.json").read_text())["test"]["auroc"]["n"] > 0


@pytest.mark.process
def test_two_processes_free_layers_one_after_the_other(run: Path, pictures: Path, tmp_path: Path) -> None:
    """A process that waited for the gradients of held layers would hang, or fail."""
    more = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.unfreeze_epochs=1", "trainer.keep=last")
    said = trained_by_two(train_words(pictures, tmp_path, f"model.pretrained={run}", "trainer.epochs=4", *more))
    assert "in 4 epochs the first 1 never learn" in said
    (made,) = tmp_path.glob("xray_cls/2*")
    before, after = (load_file(folder / "model" / "weights_0.safetensors") for folder in (run, made))
    moved = {name for name in after if not torch.equal(after[name], before[name]) and name.endswith("weight")}
    kernels = {name for name in after if name.endswith("weight") and after[name].ndim > 1}
    first = next(name for name in sorted(kernels) if name.startswith("features.0."))
    assert kernels - moved == {first}
