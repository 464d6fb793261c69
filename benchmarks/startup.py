"""How long a user waits: help, a config error, and the first optimiser step on the samples.

    python -m benchmarks.startup [rounds=3]

Targets on two cores: help and errors under 1.5 s, the first step within 25 s of the command, prepared scans or not.
The peer of each time is Python importing torch and monai, which everything that trains must do.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ERRORS = ["+task=xray_cls", "data=pneumonia", "trainer.epoch=3", "modl=x", "trainer.batch_cases=three"]


def seconds_of(words: list[str], folder: str) -> float:
    """Until the process ends."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, check=False)
    return time.perf_counter() - began


def seconds_to_first_step(folder: str) -> float:
    """Until the first optimiser step of a training on the samples is in its run folder's checkpoints."""
    words = [sys.executable, "-m", "medcnn.train", "+task=xray_cls", "trainer.checkpoint_minutes=0.00001"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*words, f"output={folder}/runs"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while process.poll() is None and not list(Path(folder).glob("runs/xray_cls/2*/checkpoints/step-*.ckpt")):
            time.sleep(0.02)
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure and print."""
    rounds = int(next((word.split("=")[1] for word in sys.argv[1:] if word.startswith("rounds=")), "3"))
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            found.setdefault("import torch, monai", []).append(seconds_of(["-c", "import torch, monai"], folder))
            found.setdefault("train --help", []).append(seconds_of(["-m", "medcnn.train", "--help"], folder))
            found.setdefault("four config errors", []).append(seconds_of(["-m", "medcnn.train", *ERRORS], folder))
            found.setdefault("first step, nothing prepared", []).append(seconds_to_first_step(folder))
    peer = statistics.median(found["import torch, monai"])
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        print(
            f"{name:<30} {middle:6.2f} s (from {min(seconds):.2f} to {max(seconds):.2f}), {middle / peer:.2f} imports"
        )


if __name__ == "__main__":
    main()
