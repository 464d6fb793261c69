"""nnU-Net v2 beside medcnn: its environment, its folders, the cases of one fold. No benchmark by itself.

The peer lives in an environment of its own: python3 -m venv peer; peer/bin/pip install nnunetv2==2.8.1. Say where by
peer=<its python>, or by NNUNET_PYTHON. What it makes of the data (planned and preprocessed once, a minute or two) and
its results lie in work=<folder>. Standard library only: nnU-Net's Python reads this file too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATASET, PLANS, CONFIGURATION, FOLD = "Dataset004_Hippocampus", "nnUNetPlans", "3d_fullres", 0
STRUCTURES, SUFFIX = ("anterior", "posterior"), ".nii.gz"
_REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Peer:
    """nnU-Net's Python, the hippocampus data as they came (MSD), and a folder for what nnU-Net makes."""

    python: str
    root: Path
    work: Path
    threads: int = 2
    results: str = "results"

    @classmethod
    def of(cls, asked: dict[str, str]) -> Peer:
        """From a benchmark's arguments."""
        python = asked.get("peer") or os.environ.get("NNUNET_PYTHON", "")
        root, work = (Path(asked[name]).expanduser().resolve() for name in ("root", "work"))
        return cls(python, root, work, int(asked.get("threads", "2")))

    def missing(self) -> str:
        """Why there is nothing to compare with; '' where there is."""
        if not self.python:
            return "no nnU-Net: give peer=<python of an environment with nnunetv2==2.8.1>, or set NNUNET_PYTHON"
        asked = [self.python, "-c", "from importlib.metadata import version; print(version('nnunetv2'))"]
        try:
            found = subprocess.run(asked, capture_output=True, text=True, check=False)
        except OSError as error:
            return f"no nnU-Net: {self.python} cannot be started ({error.strerror})"
        return "" if found.returncode == 0 else f"no nnU-Net: nnunetv2 is not installed for {self.python}"

    @property
    def environment(self) -> dict[str, str]:
        """Its folders; no compiling, and its loading within the process that trains."""
        folders = {"raw": "raw", "preprocessed": "preprocessed", "results": self.results}
        own = {f"nnUNet_{name}": str(self.work / folder) for name, folder in folders.items()}
        return {**os.environ, **own, "nnUNet_compile": "f", "nnUNet_n_proc_DA": "0", **threads_only(self.threads)}

    @property
    def trained(self) -> Path:
        """The folder of its trained fold."""
        return self.work / self.results / DATASET / f"nnUNetTrainer__{PLANS}__{CONFIGURATION}" / f"fold_{FOLD}"

    @property
    def held_out(self) -> list[str]:
        """The validation cases of the fold."""
        names: list[str] = json.loads((self.root / "splits.json").read_text())[FOLD]["val"]
        return names

    @property
    def held_out_images(self) -> Path:
        """A folder with the validation cases' images alone, named as nnU-Net wants them."""
        return self.work / "held_out"

    def prepare(self) -> None:
        """Its layout of the data, its plan and its preprocessing, where they are not there yet."""
        raw, preprocessed = (self.work / name / DATASET for name in ("raw", "preprocessed"))
        names = self.link_cases()
        labels = {"background": 0, **{name: number for number, name in enumerate(STRUCTURES, start=1)}}
        about = {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": len(names), "file_ending": SUFFIX}
        (raw / "dataset.json").write_text(json.dumps(about))
        preprocessed.mkdir(parents=True, exist_ok=True)
        (preprocessed / "splits_final.json").write_text((self.root / "splits.json").read_text())
        if len(list((preprocessed / f"{PLANS}_{CONFIGURATION}").glob("*.pkl"))) < len(names):
            words = ["-d", "4", "-c", CONFIGURATION, "-np", "2", "-npfp", "2"]
            environment = self.environment | {"nnUNet_n_proc_DA": "1"}  # its planner wants at least one
            with (self.work / "plan.log").open("w") as log:
                command = [self.tool("nnUNetv2_plan_and_preprocess"), *words]
                subprocess.run(command, env=environment, check=True, stdout=log, stderr=subprocess.STDOUT)

    def link_cases(self) -> list[str]:
        """All cases as nnU-Net wants them named, and the folder of those held out; their names."""
        raw = self.work / "raw" / DATASET
        names = sorted(path.name.removesuffix(SUFFIX) for path in (self.root / "labelsTr").glob(f"[!.]*{SUFFIX}"))
        for name in names:
            _link(self.root / "imagesTr" / f"{name}{SUFFIX}", raw / "imagesTr" / f"{name}_0000{SUFFIX}")
            _link(self.root / "labelsTr" / f"{name}{SUFFIX}", raw / "labelsTr" / f"{name}{SUFFIX}")
        self.held_out_images.mkdir(parents=True, exist_ok=True)
        for name in self.held_out:  # copies, since medcnn.predict follows no links
            shutil.copy(self.root / "imagesTr" / f"{name}{SUFFIX}", self.held_out_images / f"{name}_0000{SUFFIX}")
        return names

    def tool(self, name: str) -> str:
        """One of its commands."""
        return str(Path(self.python).with_name(name))

    def words(self, verb: str, **asked: object) -> list[str]:
        """The command line of segmentation_nnunet.py."""
        module = [self.python, "-m", "benchmarks.segmentation_nnunet", verb, f"threads={self.threads}"]
        return [*module, *(f"{name}={value}" for name, value in asked.items())]

    def run(self, verb: str, **asked: object) -> None:
        """And wait for it; what it prints goes into a file of the work folder."""
        with (self.work / f"{verb}.log").open("a") as log:
            words, streams = self.words(verb, **asked), {"stdout": log, "stderr": subprocess.STDOUT}
            subprocess.run(words, env=self.environment, cwd=_REPOSITORY, check=True, **streams)  # type: ignore[call-overload]


class Steps:
    """A process that does a step of training for each line that it is sent, and answers with its times."""

    def __init__(self, words: Sequence[str], environment: dict[str, str], log: Path) -> None:
        with log.open("w") as stream:
            self._process = subprocess.Popen(
                words, env=environment, cwd=_REPOSITORY, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream,
            )  # fmt: skip
        self._log = log
        self.about: dict[str, Any] = self._answer()

    def step(self, kind: str) -> tuple[float, float]:
        """Seconds on the clock, seconds of the processor's cores together."""
        assert self._process.stdin is not None
        print(kind, file=self._process.stdin, flush=True)
        wall_s, cpu_s = self._answer()
        return wall_s, cpu_s

    def close(self) -> None:
        """End of its lines: it ends."""
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"the process that does the steps ended; see {self._log}")
        return json.loads(line)


def threads_only(number: int) -> dict[str, str]:
    """So many threads, and none that burns a core while it waits: the cores' seconds are work."""
    return {"OMP_NUM_THREADS": str(number), "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


def _link(file: Path, name: Path) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    if not name.is_symlink():
        name.symlink_to(file)
