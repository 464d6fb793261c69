"""Batch inference beside nnU-Net v2: a folder of hippocampus crops, equal networks, whole commands, in turn.

    python -m benchmarks.batch_peer root=<hippocampus, MSD> [peer=<nnU-Net's python>] [work=segmentation_bench]
        [model=<run or package>] [cases=200] [rounds=2] [threads=2] [peer_processes=1] [explain=none] [json=<file>]

`nnUNetv2_predict -device cpu --disable_tta` and `medcnn.predict`, networks of the same widths (32-64-128-256); without
model= both are untrained, which costs the same time. medcnn answers twice: in 32-bit floats, as nnU-Net does on a CPU,
and in bf16, as its plan chooses where the CPU has it. Each round runs both over all crops and over a folder of one,
whose time is the start-up (and one crop). Memory is the proportional set size summed over each process tree, and that
of its largest process. peer_processes is what nnU-Net calls -npp and -nps (its own default, 3, takes more memory).

Targets: at least 3 times the cases a second, half the peak memory, a start-up that is no longer.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.process_tree import Taken, taken
from benchmarks.segmentation_inference import our_model
from benchmarks.segmentation_peer import CONFIGURATION, FOLD, SUFFIX, Peer, threads_only
from medcnn.model_package.description import package_folder

DEFAULTS = {
    "root": "", "peer": "", "work": "segmentation_bench", "model": "", "cases": "200", "rounds": "2", "threads": "2",
    "peer_processes": "1", "explain": "none", "json": "",
}  # fmt: skip


@dataclass(frozen=True)
class Round:
    """One command over a folder of one crop, and over all."""

    one: Taken
    all: Taken
    cases: int

    @property
    def cases_a_second(self) -> float:
        """With its start."""
        return self.cases / self.all.wall_s

    @property
    def cases_a_second_running(self) -> float:
        """Without: what each further crop costs."""
        return (self.cases - 1) / max(self.all.wall_s - self.one.wall_s, 1e-3)


class Commands:
    """Both, over a folder of crops."""

    def __init__(self, peer: Peer, model: Path, asked: dict[str, str]) -> None:
        self.peer, self.model, self.asked = peer, model, asked
        self.output = peer.work / "batch"

    def nnunet(self, source: Path) -> Taken:
        """With its own defaults but for the processes that read and write."""
        words = [self.peer.tool("nnUNetv2_predict"), "-i", str(source), "-o", self._fresh("nnunet"), "-d", "4"]
        words += ["-c", CONFIGURATION, "-f", str(FOLD), "-device", "cpu", "--disable_tta"]
        processes = self.asked["peer_processes"]
        log = self.peer.work / "batch_nnunet.log"
        return taken([*words, "-npp", processes, "-nps", processes], self.peer.environment, log)

    def medcnn(self, source: Path, precision: str) -> Taken:
        """With its ledger, tables and page."""
        told = [
            f"model={self._answering_in(precision)}",
            f"input={source}",
            f"output={self._fresh('medcnn')}",
            "inference.accelerator=cpu",
        ]
        words = [sys.executable, "-m", "medcnn.predict", *told, f"explain={self.asked['explain']}"]
        environment = {**os.environ, **threads_only(self.peer.threads)}
        return taken(words, environment, self.peer.work / "batch_medcnn.log")

    def _answering_in(self, precision: str) -> Path:
        """A copy of the package that says so; the same weights."""
        folder = self.peer.work / f"package_{precision}"
        if not folder.is_dir():
            shutil.copytree(package_folder(self.model), folder)
            description = json.loads((folder / "model.json").read_text())
            description["inference"]["precision"] = precision
            (folder / "model.json").write_text(json.dumps(description))
        return folder

    def masks(self, name: str) -> int:
        """That the last call left."""
        folder = self.output / ("nnunet" if name == "nnunet" else "medcnn/masks")
        return len(list(folder.glob(f"*{SUFFIX}")))

    def _fresh(self, name: str) -> str:
        shutil.rmtree(self.output / name, ignore_errors=True)
        (self.output / name).mkdir(parents=True)
        return str(self.output / name)


def folder_of(peer: Peer, count: int) -> Path:
    """So many crops, copied, named as nnU-Net wants them."""
    folder = peer.work / f"crops_{count}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths = sorted((peer.root / "imagesTr").glob(f"[!.]*{SUFFIX}"))[:count]
    for path in paths:
        shutil.copy(path, folder / f"{path.name.removesuffix(SUFFIX)}_0000{SUFFIX}")
    return folder


def measured(asked: dict[str, str], peer: Peer) -> dict[str, list[Round]]:
    """Both commands, round after round, each beginning every other one."""
    commands = Commands(peer, Path(asked["model"]) if asked["model"] else our_model(peer), asked)
    one, every = folder_of(peer, 1), folder_of(peer, int(asked["cases"]))
    cases = len(list(every.iterdir()))
    runs: dict[str, Callable[[Path], Taken]] = {
        "medcnn": lambda source: commands.medcnn(source, "32"),
        "medcnn bf16": lambda source: commands.medcnn(source, "bf16"),
    }
    if reason := peer.missing():
        print(f"nnU-Net is not measured: {reason}")
    else:
        peer.prepare()
        if not (peer.trained / "checkpoint_final.pth").is_file():
            peer.run("untrained")
        runs = {"nnunet": commands.nnunet, **runs}
    found: dict[str, list[Round]] = {name: [] for name in runs}
    for number in range(int(asked["rounds"])):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            found[name].append(Round(runs[name](one), runs[name](every), cases))
            if commands.masks(name) != cases:
                sys.exit(f"{name} left {commands.masks(name)} masks of {cases} scans")
            say(name, found[name][-1:])
    return found


FIGURES: dict[str, Callable[[Round], float]] = {
    "cases/s with start": lambda one: one.cases_a_second,
    "cases/s running": lambda one: one.cases_a_second_running,
    "start and one crop, s": lambda one: one.one.wall_s,
    "s of cores": lambda one: one.all.cores_s,
    "peak MB of all processes": lambda one: one.all.peak_mb,
    "largest process MB": lambda one: one.all.largest_mb,
}


def say(name: str, rows: list[Round]) -> None:
    """Medians, and from the least to the greatest."""
    for what, figure in FIGURES.items():
        values = [figure(row) for row in rows]
        middle = statistics.median(values)
        print(f"{name:<12} {what:<26} {middle:9.2f} ({min(values):.2f} to {max(values):.2f})", flush=True)


def main() -> None:
    """Measure and print."""
    asked = DEFAULTS | dict(word.split("=", 1) for word in sys.argv[1:])
    peer = replace(Peer.of(asked), results="results_untrained")
    peer.link_cases()
    found = measured(asked, peer)
    cases = found["medcnn"][0].cases
    print(f"\n{cases} crops, {asked['rounds']} rounds in turn, {peer.threads} threads:")
    for name, rows in found.items():
        say(name, rows)
    result = {
        name: {what: [figure(row) for row in rows] for what, figure in FIGURES.items()} for name, rows in found.items()
    }
    for name in ("medcnn", "medcnn bf16"):
        for what, theirs in result.get("nnunet", {}).items():
            ratios = [one / other for one, other in zip(result[name][what], theirs, strict=True)]
            middle = statistics.median(ratios)
            print(f"{name} over nnU-Net: {what:<26} {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    target = Path(asked["json"]) if asked["json"] else peer.work / "batch_peer.json"
    target.write_text(json.dumps({"asked": asked, "cases": cases, **result}, indent=2))
    print(f"written: {target}")


if __name__ == "__main__":
    main()
