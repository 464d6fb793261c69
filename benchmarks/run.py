"""make bench: every benchmark that this machine can run.

    python -m benchmarks.run

PneumoniaMNIST and hippocampus are measured where MEDCNN_DATA names the folder of real data sets; nnU-Net beside medcnn
where NNUNET_PYTHON names a Python that has it. `benchmarks.segmentation_curve` takes an hour and is run alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """One after another, each in a process of its own."""
    commands = [["benchmarks.startup"], ["benchmarks.overhead"], ["benchmarks.reading"]]
    for kind in ("dicom", "nifti"):
        commands.append(["benchmarks.robustness", kind, "--count", "10000", "--jobs", "2"])
    data = os.environ.get("MEDCNN_DATA")
    if data and (root := Path(data) / "pneumoniamnist").is_dir():
        commands.append(["benchmarks.pneumoniamnist", f"root={root}"])
    else:
        print("PneumoniaMNIST is not measured: MEDCNN_DATA names no folder with it")
    if data and (root := Path(data) / "hippocampus").is_dir():
        commands += [[f"benchmarks.segmentation_{name}", f"root={root}"] for name in ("speed", "inference")]
        commands.append(["benchmarks.batch_peer", f"root={root}"])
    else:
        print("Segmentation is not measured: MEDCNN_DATA names no folder with hippocampus")
    commands += [
        ["benchmarks.big_volume"],
        ["benchmarks.batch_folder"],
        ["benchmarks.batch_memory"],
        ["benchmarks.batch_study"],
    ]
    for command in commands:
        print(f"\n== {' '.join(command[:1])}", flush=True)
        subprocess.run([sys.executable, "-m", *command], check=True)


if __name__ == "__main__":
    main()
