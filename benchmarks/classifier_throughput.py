"""ResNet-18 at 224 pixels from DICOM files, end to end, beside the bare network on ready tensors: scans a second.

    python -m benchmarks.classifier_throughput [few=60] [many=360] [side=512] [rounds=3] [extras=no]
        [work=throughput_bench]

Ours is `medcnn.predict` on a folder of radiographs (16 bits, `side` squared): found, read, brought to 224 pixels,
asked, flagged, result.json and tables written. extras=yes also writes what is on by default: a heat map with its
picture, an SR and an SC for every file. The peer, in turn with it, is the same network of the same package on tensors
that lie in memory, in batches of the size that is fastest for it: as PyTorch lays them out (plain), and channels last,
as medcnn asks it. Start-up is left out by the difference of two sizes, (many - few) / (seconds of many - seconds of
few); the whole command is shown beside it.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

_REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULTS = {
    "few": "60", "many": "360", "side": "512", "rounds": "3", "extras": "no", "work": "throughput_bench", "json": "",
}  # fmt: skip
_SIZE_PX, _BATCHES = 224, (8, 16, 32)
_LEAN = ("explain=none", "dicom_sr=false", "dicom_sc=false")


def write_radiographs(folder: Path, count: int, side: int) -> None:
    """Computed radiographs, each another."""
    from mixed_dicom import as_bytes, picture

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        grey = np.clip(generator.normal(2000, 400, (side, side)), 0, 4095).astype(np.uint16)
        (folder / f"{number:04d}.dcm").write_bytes(as_bytes(picture(number + 1, grey)))


def our_model(folder: Path) -> Path:
    """ResNet-18 with random weights: nothing here depends on what it answers."""
    from packages import tiny_package

    from medcnn.config.model import ResNetConf
    from medcnn.networks.build import carried_settings

    shutil.rmtree(folder, ignore_errors=True)
    return tiny_package(folder, size_px=(_SIZE_PX, _SIZE_PX), network=carried_settings(ResNetConf()))


def ours(source: Path, model: Path, output: Path, *, extras: bool) -> float:
    """Seconds of the whole command."""
    shutil.rmtree(output, ignore_errors=True)
    words = [f"model={model}", f"input={source}", f"output={output}", "inference.accelerator=cpu"]
    command = [sys.executable, "-m", "medcnn.predict", *words, *(() if extras else _LEAN)]
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - began


def bare(model: Path) -> None:
    """The peer, in a process of its own; prints scans a second of its fastest batch, in each layout."""
    import torch

    from medcnn.model_package.opening import load_classifier

    network = load_classifier(model, accelerator="cpu", batch_cases=8, modules=[]).classifier.networks[0]
    layouts = {"channels_last": torch.channels_last, "plain": torch.contiguous_format}
    best = dict.fromkeys(layouts, 0.0)
    with torch.inference_mode():
        for name, layout in layouts.items():
            network.to(memory_format=layout)
            for size in _BATCHES:
                scans = torch.randn(size, 1, _SIZE_PX, _SIZE_PX).contiguous(memory_format=layout)
                network(scans)
                asked, began = 0, time.perf_counter()
                while time.perf_counter() - began < 3:
                    network(scans)
                    asked += size
                best[name] = max(best[name], asked / (time.perf_counter() - began))
    print(json.dumps(best))


def peer(model: Path) -> dict[str, float]:
    """Scans a second, by layout."""
    command = [sys.executable, "-m", "benchmarks.classifier_throughput", "bare", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=_REPOSITORY)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(words: list[str]) -> None:
    """Rounds in turn, then the medians."""
    conf = {**DEFAULTS, **dict(word.split("=", 1) for word in words)}
    work = Path(conf["work"]).absolute()
    counts = int(conf["few"]), int(conf["many"])
    for count in counts:
        write_radiographs(work / f"scans{count}", count, int(conf["side"]))
    model = our_model(work / "model")
    rows = []
    for number in range(int(conf["rounds"])):
        ready = peer(model)
        few, many = (
            ours(work / f"scans{count}", model, work / f"results{count}", extras=conf["extras"] == "yes")
            for count in counts
        )
        rate = (counts[1] - counts[0]) / (many - few)
        ratios = {f"ratio_{name}": rate / value for name, value in ready.items()}
        rows.append({**ready, "ours": rate, "whole": counts[1] / many, "start_s": few, **ratios})
        print(f"round {number + 1}: " + ", ".join(f"{key} {value:.2f}" for key, value in rows[-1].items()), flush=True)
    for name in ("plain", "channels_last"):
        found = sorted(row[f"ratio_{name}"] for row in rows)
        print(f"ours / bare network, {name}: {statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})")
    if conf["json"]:
        Path(conf["json"]).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    sys.path[:0] = [str(_REPOSITORY / "tests"), str(_REPOSITORY / "tests" / "commands")]
    if sys.argv[1:2] == ["bare"]:
        bare(Path(sys.argv[2]))
    else:
        main(sys.argv[1:])
