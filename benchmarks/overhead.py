"""What medcnn's training costs over a bare PyTorch loop: same ready tensors, network, batch, optimiser, steps.

    python -m benchmarks.overhead [rounds=5]

The bare loop never augments. Targets: at most 1.10 times it with augmentation off, 1.30 times with the preset's on.
Rounds alternate between the three, so that a drift of the machine meets all of them; the median ratio counts.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from medcnn.config.compose import CommandLine, checked
from medcnn.config.transforms import RandomConf
from medcnn.config.verbs import TrainConf
from medcnn.data.batches import Batches, Order
from medcnn.inference.classifier import Classifier, OutputRule
from medcnn.losses.classification import cross_entropy
from medcnn.networks.build import build_network, num_parameters
from medcnn.planning.plan import Plan
from medcnn.tasks.classification import ClassificationTask
from medcnn.training.fit import fit
from medcnn.training.interruption import Interruption
from medcnn.training.job import Job
from medcnn.training.optimisation import build_optimizer
from medcnn.training.state import TrainingState
from medcnn.transforms.random_steps import RandomSteps

CASES, EPOCHS = 4096, 1


class _Silent:
    """A watcher that only listens."""

    def step(self, state: TrainingState, plan: Plan, loss: float) -> None: ...

    def epoch(self, state: TrainingState, plan: Plan, row: dict[str, float]) -> None: ...


def preset() -> TrainConf:
    """PneumoniaMNIST's preset, as `train` would run it."""
    words = ["+task=xray_cls", "data=pneumoniamnist", "data.root=."]
    conf: TrainConf = checked("train", CommandLine.of("train", words))
    conf.trainer.accelerator, conf.trainer.epochs, conf.trainer.members = "cpu", EPOCHS, 1
    conf.trainer.mixup_alpha, conf.trainer.label_smoothing = 0.0, 0.0
    return conf


def tensors(conf: TrainConf) -> tuple[np.ndarray, np.ndarray]:
    """Noise has the cost of pictures."""
    generator = np.random.default_rng(0)
    image = generator.normal(0, 0.5, (CASES, 1, *conf.transforms.size_px)).astype(np.float32)
    return image, np.eye(2, dtype=np.float32)[np.arange(CASES) % 2]


def network(conf: TrainConf) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_network(conf.model, in_channels=1, num_outputs=2, size_px=conf.transforms.size_px)


def bare(conf: TrainConf, image: np.ndarray, target: np.ndarray) -> float:
    """Seconds of the plainest loop that trains the same network as well as it can."""
    net = network(conf).to(memory_format=torch.channels_last).train()
    optimizer = build_optimizer(conf.trainer, net)
    images, targets = torch.from_numpy(image), torch.from_numpy(target)
    began = time.perf_counter()
    for _ in range(EPOCHS):
        for chosen in torch.randperm(CASES).split(conf.trainer.batch_cases):
            loss = cross_entropy(net(images[chosen].contiguous(memory_format=torch.channels_last)), targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.perf_counter() - began


def ours(conf: TrainConf, image: np.ndarray, target: np.ndarray, folder: Path) -> float:
    """Seconds of medcnn's fit, with a validation of 32 cases at the end, a checkpoint and the weights on disk."""
    order = Order(CASES, conf.trainer.batch_cases, 0, "shuffled", target.argmax(axis=1))
    per_epoch = order.batches_per_epoch()
    net = network(conf)
    plan = Plan(
        CASES, [CASES // 2, CASES // 2], 1, list(conf.transforms.size_px), num_parameters(net), 1,
        conf.trainer.batch_cases, per_epoch, per_epoch, per_epoch * EPOCHS, 0, "epochs", "32-true", "cpu",
        0.0, 0.0, 0.0,
    )  # fmt: skip
    task = ClassificationTask(
        net,
        kind="binary",
        class_weight=None,
        random_steps=RandomSteps(conf.transforms.random, 2),
        conf=conf.trainer,
        seed=0,
        make_optimizer=lambda module: build_optimizer(conf.trainer, module),
    )
    rule = OutputRule("binary", ("a", "b"))

    def measure(module: nn.Module) -> tuple[float, dict[str, float]]:
        Classifier([module], rule, torch.device("cpu")).logits(image[:32])
        return 0.0, {}

    batches = Batches(_Ready(image), target, order, workers=0)
    job = Job(
        conf.trainer, plan, lambda _: batches, lambda _: measure, lambda _: task, 0, folder, Interruption(), _Silent()
    )
    began = time.perf_counter()
    fit(job, resume=False)
    return time.perf_counter() - began


class _Ready:
    def __init__(self, image: np.ndarray) -> None:
        self.image = image

    def __getitem__(self, indices: list[int]) -> np.ndarray:
        return self.image[indices]

    def __len__(self) -> int:
        return len(self.image)


def measure(rounds: int) -> dict[str, tuple[float, float, float]]:
    """Ratio to the bare loop: least, median, greatest of the rounds."""
    plain, varied = preset(), preset()
    plain.transforms.random = RandomConf()
    image, target = tensors(plain)
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, Callable[[], float]] = {
            "bare": lambda: bare(plain, image, target),
            "medcnn, augmentation off": lambda: ours(plain, image, target, Path(folder)),
            "medcnn, preset's augmentation": lambda: ours(varied, image, target, Path(folder)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(rounds + 1):
            for name, run in runs.items():
                taken = run()
                if number:  # the first round warms up
                    seconds[name].append(taken)
    found = {}
    for name in list(runs)[1:]:
        ratios = sorted(one / base for one, base in zip(seconds[name], seconds["bare"], strict=True))
        found[name] = (ratios[0], statistics.median(ratios), ratios[-1])
    print(f"bare loop: {statistics.median(seconds['bare']):.2f} s for {CASES * EPOCHS} scans")
    return found


def main() -> None:
    """Measure and print."""
    rounds = int(next((word.split("=")[1] for word in sys.argv[1:] if word.startswith("rounds=")), "5"))
    for name, (least, middle, most) in measure(rounds).items():
        print(f"{name:<32} {middle:.3f} times the bare loop (rounds from {least:.3f} to {most:.3f})")


if __name__ == "__main__":
    main()
