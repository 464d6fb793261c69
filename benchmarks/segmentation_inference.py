"""Time and memory of outlining a folder of scans, beside nnU-Net v2, and what medcnn's time goes into.

    python -m benchmarks.segmentation_inference root=<hippocampus, MSD> [peer=<nnU-Net's python>]
        [work=segmentation_bench] [model=<run or package>] [rounds=2] [threads=2]

The validation cases of fold 0 (42 crops), whole commands with their start: `nnUNetv2_predict --disable_tta -npp 1
-nps 1` and `medcnn.predict` with and without its pictures, in turn. Networks of the same widths (32-64-128-256);
without model= both are untrained, which costs the same time. Memory is that of the largest process; nnU-Net has
several, medcnn one. Then one scan alone, and for each scan of the folder the seconds of reading (ahead, beside the
computing of the scan before), computing, restoring and writing, as predictions.csv has them.
"""

from __future__ import annotations

import csv
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.segmentation_peer import CONFIGURATION, FOLD, SUFFIX, Peer, threads_only
from benchmarks.segmentation_speed import SAME

DEFAULTS = {"root": "", "peer": "", "work": "segmentation_bench", "model": "", "rounds": "2", "threads": "2"}
PARTS = ("read", "compute", "restore", "write")


@dataclass(frozen=True)
class Taken:
    """Of one command: seconds by the clock, seconds of all cores, memory of its largest process."""

    wall_s: float
    cores_s: float
    peak_mb: float


def taken(words: list[str], environment: dict[str, str], log: Path) -> Taken:
    """Run it to its end."""
    began = time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen(words, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(words[:3])} ended with {process.returncode}; see {log}")
    return Taken(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def our_model(peer: Peer) -> Path:
    """A package of the same network after two steps on a few cases."""
    output = peer.work / "medcnn" / "untrained"
    run = output / "debug_mri_seg" / "latest"
    if not (run / "metrics.json").is_file():
        data = ["+task=mri_seg", "data=hippocampus", f"data.root={peer.root}", f"data.fold={FOLD}"]
        few = ["debug=dry_run", "plan.batch_patches=1", "trainer.members=1", "trainer.precision=32"]
        words = [*data, *SAME, *few, f"output={output}", "tracking.enabled=false"]
        subprocess.run([sys.executable, "-m", "medcnn.train", *words], check=True, stdout=subprocess.DEVNULL)
    return run


class Commands:
    """What is measured, by name."""

    def __init__(self, peer: Peer, model: Path) -> None:
        self.peer, self.model, self.output = peer, model, peer.work / "outlined"
        self.environment = {**os.environ, **threads_only(peer.threads)}

    def nnunet(self) -> Taken:
        """Over the folder."""
        words = [self.peer.tool("nnUNetv2_predict"), "-i", str(self.peer.held_out_images), "-o", self._fresh("nnunet")]
        words += ["-d", "4", "-c", CONFIGURATION, "-f", str(FOLD), "-device", "cpu", "--disable_tta"]
        return taken([*words, "-npp", "1", "-nps", "1"], self.peer.environment, self.peer.work / "outlined_nnunet.log")

    def ours(self, name: str, *words: str) -> Taken:
        """Over the folder."""
        return self._predict(name, self.peer.held_out_images, *words)

    def one(self) -> Taken:
        """A scan alone."""
        return self._predict("one", self.peer.held_out_images / f"{self.peer.held_out[0]}_0000{SUFFIX}", "explain=none")

    def split(self, name: str) -> dict[str, list[float]]:
        """Part -> seconds of each scan of an earlier call."""
        with (self.output / name / "predictions.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        return {part: [float(row[f"seconds_{part}"]) for row in rows] for part in PARTS}

    def _predict(self, name: str, source: Path, *words: str) -> Taken:
        told = [f"model={self.model}", f"input={source}", f"output={self._fresh(name)}", "inference.accelerator=cpu"]
        command = [sys.executable, "-m", "medcnn.predict", *told, *words]
        return taken(command, self.environment, self.peer.work / f"outlined_{name}.log")

    def _fresh(self, name: str) -> str:
        shutil.rmtree(self.output / name, ignore_errors=True)
        (self.output / name).mkdir(parents=True)
        return str(self.output / name)


def main() -> None:
    """Measure and print."""
    asked = DEFAULTS | dict(word.split("=", 1) for word in sys.argv[1:])
    peer = replace(Peer.of(asked), results="results_untrained")
    reason = peer.missing()
    if reason:
        print(f"nnU-Net's predicting is not measured: {reason}")
    peer.link_cases()
    commands = Commands(peer, Path(asked["model"]) if asked["model"] else our_model(peer))
    runs = {
        "medcnn": lambda: commands.ours("medcnn"),
        "medcnn, no pictures": lambda: commands.ours("masks", "explain=none"),
    }
    if not reason:
        peer.prepare()
        if not (peer.trained / "checkpoint_final.pth").is_file():
            peer.run("untrained")
        runs = {"nnU-Net": commands.nnunet, **runs}
    found: dict[str, list[Taken]] = {name: [] for name in runs}
    for number in range(int(asked["rounds"])):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            found[name].append(runs[name]())
            say(name, found[name][-1:])
    print(f"\n{len(peer.held_out)} scans:")
    for name, rows in found.items():
        say(name, rows)
    say("one scan, no pictures", [commands.one()])
    for name in ("medcnn", "masks", "one"):
        parts = (
            f"{part} {statistics.median(each):.3f} (to {max(each):.3f})" for part, each in commands.split(name).items()
        )
        print(f"seconds of a scan, {name}: {', '.join(parts)}")


def say(name: str, rows: list[Taken]) -> None:
    """Medians, and from the least to the greatest."""
    parts = []
    for unit, values in (
        ("s", [row.wall_s for row in rows]),
        ("s of cores", [row.cores_s for row in rows]),
        ("MB", [row.peak_mb for row in rows]),
    ):
        parts.append(f"{statistics.median(values):.1f} {unit} ({min(values):.1f} to {max(values):.1f})")
    print(f"{name:<22} {', '.join(parts)}", flush=True)


if __name__ == "__main__":
    main()
