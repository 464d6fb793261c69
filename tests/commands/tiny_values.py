"""Discs whose area is known in closed form, and the words of a regression on them that takes seconds."""

from __future__ import annotations

import csv
from math import pi
from pathlib import Path

import numpy as np
from PIL import Image

from medcnn.config.compose import CommandLine, checked
from medcnn.config.verbs import TrainConf

SIDE = 24
SPLITS = ("train",) * 5 + ("val", "calib", "test")


def disc(radius_px: float, seed: int) -> np.ndarray:
    """(24, 24) grey values: a bright disc, its rim smooth to a tenth of a pixel, and noise."""
    random = np.random.default_rng(seed)
    row, column = random.uniform(9, 14, 2)
    fine = (np.arange(10 * SIDE) + 0.5) / 10 - 0.5
    inside = (fine[:, None] - row) ** 2 + (fine[None, :] - column) ** 2 <= radius_px**2
    share = inside.reshape(SIDE, 10, SIDE, 10).mean(axis=(1, 3))
    return np.clip(40 + 150 * share + random.normal(0, 4, (SIDE, SIDE)), 0, 255).astype(np.uint8)


def area_px(radius_px: float) -> float:
    return pi * radius_px**2


def write_discs(root: Path, count: int = 160, *, column: str = "label", splits: bool = True) -> Path:
    """PNGs of discs of 2 to 8 pixels, two a patient, and manifest.csv with their areas."""
    root.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    with (root / "manifest.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case_id", "patient_id", "image", column, "split"])
        for number in range(count):
            radius = float(random.uniform(2, 8))
            Image.fromarray(disc(radius, number)).save(root / f"{number:03d}.png")
            split = SPLITS[(number // 2) % len(SPLITS)] if splits else ""
            row = [f"disc-{number:03d}", f"P{number // 2}", f"{number:03d}.png", f"{area_px(radius):.3f}", split]
            writer.writerow(row)
    return root


def train_words(root: Path, output: Path, *more: str) -> list[str]:
    return [
        "+task=xray_value", "data=custom", f"data.root={root}", f"output={output}", "data.quantity.name=area",
        "data.quantity.unit=mm2", "transforms=none", "transforms.size_px=[24,24]", "model.widths=[8,16]",
        "trainer.epochs=14", "trainer.batch_cases=8", "trainer.learning_rate=0.01", "trainer.accelerator=cpu",
        "trainer.threads=1", "inference.accelerator=cpu", "tracking.enabled=false", *more,
    ]  # fmt: skip


def train_conf(root: Path, output: Path, *more: str) -> TrainConf:
    conf: TrainConf = checked("train", CommandLine.of("train", train_words(root, output, *more)))
    return conf
