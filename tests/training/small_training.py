"""A training small enough to be run dozens of times: pictures with a bright corner, or without."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medcnn.config.trainer import TrainerConf
from medcnn.config.transforms import RandomConf
from medcnn.data.batches import Batches, Order
from medcnn.evaluation.glance import glance
from medcnn.inference.classifier import Classifier, OutputRule
from medcnn.networks.plain_cnn import PlainCNN
from medcnn.planning.plan import Plan
from medcnn.tasks.classification import ClassificationTask
from medcnn.training.interruption import Interruption
from medcnn.training.job import Job
from medcnn.training.optimisation import build_optimizer
from medcnn.transforms.random_steps import RandomSteps

CLASSES = ("dark", "bright")


class Recorder:
    """A watcher that remembers, and that may do something at a step."""

    def __init__(self, at_step: Callable[[int], None] | None = None) -> None:
        self.losses: list[float] = []
        self.rows: list[dict[str, float]] = []
        self.at_step = at_step

    def step(self, state: Any, plan: Plan, loss: float) -> None:
        self.losses.append(loss)
        if self.at_step:
            self.at_step(state.member * plan.steps + state.step)

    def epoch(self, state: Any, plan: Plan, row: dict[str, float]) -> None:
        self.rows.append(row)


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 1, 16, 16) and one-hot (n, 2)."""
    generator = np.random.default_rng(seed)
    label = np.arange(count) % 2
    image = generator.normal(0, 0.5, (count, 1, 16, 16)).astype(np.float32)
    image[label == 1, :, :6, :6] += 1.0
    return image, np.eye(2, dtype=np.float32)[label]


def random_conf() -> RandomConf:
    conf = RandomConf()
    for name in ("affine", "gamma", "contrast", "noise"):
        getattr(conf, name).probability = 0.7
    return conf


def make_job(folder: Path, *, watcher: Recorder | None = None, seed: int = 0, workers: int = 0, **changes: Any) -> Job:
    settings: dict[str, Any] = {
        "epochs": 3, "batch_cases": 5, "ema_decay": 0.9, "mixup_alpha": 0.4, "label_smoothing": 0.1,
        "learning_rate": 3e-3, "threads": 1, "accelerator": "cpu", "checkpoint_minutes": 1000.0,
    }  # fmt: skip
    conf = TrainerConf(**{**settings, **changes})
    image, target = pictures(24, seed=1)
    held_out, answers = pictures(12, seed=2)
    order = Order(len(image), conf.batch_cases, seed, conf.sampling, target.argmax(axis=1))
    per_epoch = order.batches_per_epoch()
    steps_per_epoch = -(-per_epoch // conf.accumulate_batches)
    steps = conf.epochs * steps_per_epoch
    plan = Plan(
        train_cases=len(image), class_counts=[12, 12], in_channels=1, size_px=[16, 16], parameters=0,
        members=conf.members, batch_cases=conf.batch_cases, batches_per_epoch=per_epoch,
        steps_per_epoch=steps_per_epoch, steps=steps, warmup_steps=2, budget="epochs", precision="32-true",
        device="cpu", seconds_per_step=0.0, estimated_minutes=0.0, estimated_memory_mb=0.0,
    )  # fmt: skip

    def task(member_seed: int) -> ClassificationTask:
        torch.manual_seed(member_seed)
        network = PlainCNN(
            spatial_dims=2, in_channels=1, num_outputs=2, size_px=(16, 16), widths=[4, 8], convolutions=1, kernel_px=3,
            activation="relu", norm="batch", pooling="average", head="flatten", head_grid=2, hidden=[8], dropout=0.2,
        )  # fmt: skip
        return ClassificationTask(
            network,
            kind="binary",
            class_weight=None,
            random_steps=RandomSteps(random_conf(), 2),
            conf=conf,
            seed=member_seed,
            make_optimizer=lambda net: build_optimizer(conf, net),
        )

    rule = OutputRule("binary", CLASSES)

    def measure(network: torch.nn.Module) -> tuple[float, dict[str, float]]:
        logits = Classifier([network], rule, torch.device("cpu")).logits(held_out)
        shown = glance(rule.probability(logits), answers.argmax(axis=1), "binary")
        return shown["auroc"], shown

    batches = Batches(_Array(image), target, order, workers=workers)
    return Job(
        conf, plan, lambda member: batches, lambda member: measure, task, seed, folder, Interruption(),
        watcher or Recorder(),
    )  # fmt: skip


class _Array:
    """Prepared images, in memory."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image

    def __getitem__(self, indices: list[int]) -> np.ndarray:
        return self.image[indices]

    def __len__(self) -> int:
        return len(self.image)


def weights_digest(folder: Path) -> str:
    """SHA-256 over every member's chosen weights."""
    files = sorted(folder.glob("member_*.safetensors"))
    assert files
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
