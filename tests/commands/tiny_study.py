"""A data set of forty small pictures, and the words of a training on it that takes seconds."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from medcnn.config.compose import CommandLine, checked
from medcnn.config.verbs import EvaluateConf, TrainConf

COLUMNS = ["case_id", "patient_id", "image", "label", "split"]
SPLITS = ("train",) * 5 + ("val", "calib", "test")


def write_pictures(root: Path, count: int = 48, *, splits: bool = True) -> Path:
    """Dark and bright-cornered PNGs of 24 pixels, two a patient, and manifest.csv."""
    root.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    rows = []
    for number in range(count):
        patient = number // 2
        sick = patient % 2
        pixels = generator.normal(90, 25, (24, 24))
        pixels[:9, :9] += 90 * sick
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / f"{number:02d}.png")
        split = SPLITS[(patient // 2) % len(SPLITS)] if splits else ""
        rows.append([f"case-{number:02d}", f"P{patient}", f"{number:02d}.png", ("healthy", "sick")[sick], split])
    write_manifest(root, rows)
    return root


def write_manifest(root: Path, rows: list[list[str]], columns: list[str] | None = None) -> None:
    with (root / "manifest.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns or COLUMNS)
        writer.writerows(rows)


def manifest_rows(root: Path) -> list[list[str]]:
    with (root / "manifest.csv").open(newline="") as stream:
        return list(csv.reader(stream))[1:]


def train_words(root: Path, output: Path, *more: str) -> list[str]:
    return [
        "+task=xray_cls", "data=custom", f"data.root={root}", f"output={output}", "transforms.size_px=[24,24]",
        "model.widths=[8,16]", "trainer.epochs=3", "trainer.batch_cases=8", "trainer.accelerator=cpu",
        "trainer.threads=1", "inference.accelerator=cpu", "tracking.enabled=false", "explain=[]", *more,
    ]  # fmt: skip


def train_conf(root: Path, output: Path, *more: str) -> TrainConf:
    conf: TrainConf = checked("train", CommandLine.of("train", train_words(root, output, *more)))
    return conf


def evaluate_conf(model: Path, root: Path, output: Path, *more: str) -> EvaluateConf:
    words = [f"model={model}", "data=custom", f"data.root={root}", f"output={output}", "explain=[]", *more]
    conf: EvaluateConf = checked("evaluate", CommandLine.of("evaluate", words))
    return conf
