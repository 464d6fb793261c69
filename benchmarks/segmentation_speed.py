"""Training throughput of a segmenter beside nnU-Net v2: the same network, patch and batch, step by step in turn.

    python -m benchmarks.segmentation_speed root=<hippocampus, MSD> [peer=<nnU-Net's python>] [work=segmentation_bench]
                                            [rounds=10] [threads=2] [table=<file>.csv]

Target: at least 1.3 times nnU-Net's samples a second on the CPU. Both train the plain U-Net of nnU-Net's plan (widths
32-64-128-256, deep supervision, 7 patches of 40 x 56 x 40), nnU-Net by its own trainer's step in float32 (it does not
autocast on a CPU), medcnn by its own task's step in float32 and in bf16. A bare step begins with a batch that is ready;
a whole one loads and augments it, each side by its own preset. In every round each kind takes one step, in an order
that changes; ratios are round by round and their median counts, once by the clock and once by the seconds of all cores
(which other work on the machine disturbs less). Loading runs within the process that trains on both sides; nnU-Net's
augments with one thread, which workers would hide behind the other core, so that its whole step by the cores' seconds
is what two busy cores can reach.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.segmentation_peer import Peer, Steps, threads_only

if TYPE_CHECKING:
    from medcnn.data.patches import PatchBatch
    from medcnn.study.segmentation.bench import Bench

DEFAULTS = {"root": "", "peer": "", "work": "segmentation_bench", "rounds": "10", "threads": "2", "table": ""}
BATCH = 7  # with the rest below: as nnU-Net plans it for these data
SAME = [
    "plan.patch_px=[40,56,40]",
    "model.widths=[32,64,128,256]",
    "model.kernels=[[3,3,3],[3,3,3],[3,3,3],[3,3,3]]",
    "model.strides=[[1,1,1],[2,2,2],[2,2,2],[2,2,2]]",
    "model.encoder=plain",
    "model.encoder_convolutions=[2]",
    "model.decoder_convolutions=[2]",
    "model.norm=instance",
    "model.deep_supervision=2",
]
OURS = [f"{kind} {precision}" for kind in ("bare", "whole") for precision in ("32", "bf16")]


def bench_of(root: str, folder: Path) -> tuple[Bench, float]:
    """What `train` would make of these data and this network, and how its average of the weights decays."""
    from medcnn.config.compose import CommandLine, checked
    from medcnn.data.privacy import Keyring
    from medcnn.run_folder import RunFolder
    from medcnn.study.segmentation.data import load_mask_data
    from medcnn.study.segmentation.planning import Planner

    words = ["+task=mri_seg", "data=hippocampus", f"data.root={root}", "data.fold=0", f"cache.folder={folder}/cache"]
    least = ["trainer.max_minutes=null", "trainer.precision=32", "plan.batch_patches=1"]  # it measures a few steps
    conf = checked("train", CommandLine.of("train", [*words, *SAME, *least]))
    data = load_mask_data(conf, RunFolder(folder), Keyring(bytes(32)), resumes=False)
    planner = Planner(conf, data, began_at=time.time())
    plan, cases = planner.planned()
    return replace(planner.bench(plan, cases), batch_patches=BATCH), plan.ema_decay


def steps_of(bench: Bench, decay: float) -> dict[str, Callable[[], None]]:
    """Name -> one step of a training, as Lightning and medcnn's callbacks take it."""
    import torch
    from torch import nn

    from medcnn.networks.memory_format import channels_last, network_channels_last
    from medcnn.training.averaging import AveragedNetwork, exponential

    task = bench.task(0).train()
    network: nn.Module = task.network
    network_channels_last(network, len(bench.patch_px))
    optimizer, averaged = task.configure_optimizers(), AveragedNetwork(network, exponential(decay)) if decay else None
    coming = _for_ever(bench)
    ready = task.varied(next(coming))

    def learnt(loss: torch.Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch has no types here
        nn.utils.clip_grad_norm_(network.parameters(), bench.conf.trainer.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        if averaged:
            averaged.update(network, 1)

    def step(kind: str, precision: str) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            if kind == "bare":
                image, target = ready
                loss = task.loss(network(channels_last(image)), target)
            else:
                loss = task.training_step(next(coming), 0)
        learnt(loss)

    return {name: lambda name=name: step(*name.split()) for name in OURS}  # type: ignore[misc]


def _for_ever(bench: Bench) -> Iterator[PatchBatch]:
    epoch = 0
    while True:
        batches = bench.batches(None)
        yield from batches.loader(epoch, 0, batches.order.batches_per_epoch())
        epoch += 1


def answer_steps(root: str, threads: int) -> None:
    """medcnn's side of segmentation_peer.Steps."""
    answers, sys.stdout = sys.stdout, sys.stderr
    with tempfile.TemporaryDirectory() as folder:
        bench, decay = bench_of(root, Path(folder))
        import torch

        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(bench.conf.trainer.deterministic, warn_only=True)  # as `train` does
        steps = steps_of(bench, decay)
        about = {"parameters": sum(weights.numel() for weights in bench.network().parameters())}
        print(json.dumps(about), file=answers, flush=True)
        for line in sys.stdin:
            wall, cpu = time.perf_counter(), time.process_time()
            steps[line.strip()]()
            print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), file=answers, flush=True)


def measure(sides: dict[str, Steps], rounds: int, table: str) -> dict[str, list[tuple[float, float]]]:
    """Who and what -> (wall, cores) seconds of each round. A first round warms up."""
    kinds = [("nnU-Net", "bare"), ("nnU-Net", "whole"), *(("medcnn", kind) for kind in OURS)]
    found: dict[str, list[tuple[float, float]]] = {f"{side} {kind}": [] for side, kind in kinds}
    for number in range(rounds + 1):
        turned = kinds[number % len(kinds) :] + kinds[: number % len(kinds)]
        for side, kind in turned:
            taken = sides[side].step(kind)
            if number:
                found[f"{side} {kind}"].append(taken)
        if number and table:
            _write(Path(table), found)
    return found


def _write(path: Path, found: dict[str, list[tuple[float, float]]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["round", "step", "wall_s", "cores_s"])
        for name, rows in found.items():
            writer.writerows([number, name, *(f"{seconds:.3f}" for seconds in row)] for number, row in enumerate(rows))


def say(found: dict[str, list[tuple[float, float]]]) -> None:
    """Seconds, samples a second, and ratios to nnU-Net's step of the same kind."""
    for name, rows in found.items():
        (wall, cpu), peer = (statistics.median(column) for column in zip(*rows, strict=True)), name.split()[1]
        line = f"{name:<20} {wall:6.2f} s a step ({BATCH / wall:.2f} samples a second), {cpu:6.2f} s of cores"
        if not name.startswith("nnU-Net"):
            base, ratios = found[f"nnU-Net {peer}"], []
            for column in (0, 1):
                each = sorted(other[column] / own[column] for own, other in zip(rows, base, strict=True))
                ratios.append(f"{statistics.median(each):.2f} ({each[0]:.2f} to {each[-1]:.2f})")
            line += f"; times nnU-Net's throughput: {ratios[0]} by the clock, {ratios[1]} by the cores"
        print(line)


def main() -> None:
    """Measure and print."""
    asked = DEFAULTS | dict(word.split("=", 1) for word in sys.argv[1:])
    if "child" in asked:
        answer_steps(asked["root"], int(asked["threads"]))
        return
    peer = replace(Peer.of(asked), results="results_of_steps")
    if reason := peer.missing():
        print(f"segmentation's throughput is not measured: {reason}")
        return
    peer.prepare()
    words = [f"root={peer.root}", f"threads={peer.threads}", "child=yes"]
    ours = [sys.executable, "-m", "benchmarks.segmentation_speed", *words]
    environment = {**os.environ, **threads_only(peer.threads)}
    sides = {
        "nnU-Net": Steps(peer.words("step"), peer.environment, peer.work / "step_nnunet.log"),
        "medcnn": Steps(ours, environment, peer.work / "step_medcnn.log"),
    }
    for name, side in sides.items():
        print(f"{name}: {side.about['parameters']:,} weights", flush=True)
    say(measure(sides, int(asked["rounds"]), asked["table"]))
    for side in sides.values():
        side.close()


if __name__ == "__main__":
    main()
