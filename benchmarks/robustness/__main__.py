"""How medcnn's readers take damaged scans, beside raw pydicom or nibabel in the same run.

    python -m benchmarks.robustness dicom --count 10000 --seed 0 --jobs 2 --out dicom.md dicom.json
    python -m benchmarks.robustness nifti --count 10000 --seed 0 --jobs 2 --out nifti.md nifti.json
    python -m benchmarks.robustness dicom --seed 0 --replay 4711 --keep folder
    python -m benchmarks.robustness dicom --count 50000 --only "codestream" --no-peer --failures folder

Ends with 1 where anything but A, R and undetectable changes is found for medcnn.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.robustness.catalogue import Input, make_input, mutator_of
from benchmarks.robustness.harness import Task, verdicts_of_many, work
from benchmarks.robustness.judge import Judge
from benchmarks.robustness.report import Run, written


def main() -> int:
    """Run, report, or replay one input."""
    asked = _arguments()
    if asked.worker is not None:
        work(Task(asked.kind, asked.reader, asked.seed, json.load(sys.stdin)), asked.worker)
        return 0
    if asked.replay is not None:
        return _replay(asked)
    peer = {"dicom": "pydicom", "nifti": "nibabel"}[asked.kind]
    numbers = [n for n in range(asked.start, asked.start + asked.count) if asked.only in mutator_of(asked.kind, n).name]
    run = Run(asked.kind, asked.seed, peer)
    began = time.perf_counter()
    for reader in ["medcnn"] if asked.no_peer else ["medcnn", peer]:
        for verdict in verdicts_of_many(Task(asked.kind, reader, asked.seed, numbers), asked.jobs):
            run.add(reader, verdict)
            if reader == "medcnn" and verdict.outcome in "WUXKHMPL":
                said = f"{verdict.mutator} | {verdict.seed} | {verdict.why} | {verdict.code}"
                print(verdict.number, verdict.outcome, said, flush=True)
                if asked.failures is not None:
                    _keep(make_input(asked.kind, asked.seed, verdict.number), asked.failures)
    run.sort()
    run.seconds = time.perf_counter() - began
    print(run.summary())
    for path in asked.out:
        path.write_text(written(run, path.suffix))
    return int(run.failures("medcnn") > 0)


def _replay(asked: argparse.Namespace) -> int:
    """Make one input again, say what it is and how it ends, and keep its files where asked."""
    given = make_input(asked.kind, asked.seed, asked.replay)
    print(f"{given.mutator} on {given.seed.name}, read as {given.seed.reference}")
    print(f"{given.mutant.label}: {given.mutant.why}")
    if asked.keep is not None:
        _keep(given, asked.keep)
    with tempfile.TemporaryDirectory() as scratch:
        verdict = Judge(asked.kind, asked.reader, Path(scratch)).judge(given)
    print(f"{asked.reader}: {verdict.outcome} {verdict.code}")
    return int(verdict.outcome not in "ARw")


def _keep(given: Input, folder: Path) -> None:
    """The files of one input, in a folder named for it."""
    for name, data in given.mutant.files.items():
        path = folder / f"{given.number}-{given.mutator}-{given.seed.name}".replace("/", "_").replace(" ", "_") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robustness", description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["dicom", "nifti"])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--out", type=Path, nargs="*", default=[], help=".md tables, .json with every verdict")
    parser.add_argument("--replay", type=int, help="number of one input to make and read again")
    parser.add_argument("--keep", type=Path, help="with --replay: a folder for its files")
    parser.add_argument("--failures", type=Path, help="a folder for the files of every input that medcnn fails on")
    parser.add_argument("--only", default="", help="only classes of damage whose name contains this text")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--reader", choices=["medcnn", "pydicom", "nibabel"], default="medcnn")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
