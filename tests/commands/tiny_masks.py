"""Small volumes with two bright structures whose masks are known, and the words of a training on them in seconds."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from tiny_study import write_manifest

from medcnn.config.compose import CommandLine, checked
from medcnn.config.verbs import EvaluateConf, TrainConf

SIDE = 20
COLUMNS = ["case_id", "patient_id", "image", "mask", "split"]
SPLITS = ("train",) * 5 + ("val", "test")
AFFINE = np.diag([1.5, 1.0, 1.0, 1.0])


def volume(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(I, J, K) float32 and labels: a dark box (1) beside a bright one (2) in noise."""
    generator = np.random.default_rng(seed)
    image = generator.normal(0, 0.15, (SIDE, SIDE, SIDE)).astype(np.float32)
    labels = np.zeros(image.shape, np.uint8)
    i, j, k = generator.integers(3, 7, 3)
    labels[i : i + 6, j : j + 8, k : k + 8] = 1
    labels[i + 6 : i + 11, j : j + 8, k : k + 8] = 2
    return 100 + 20 * (image + np.array([0, 1.5, 3.0], np.float32)[labels]), labels


def write_volumes(root: Path, count: int = 14, *, splits: bool = True) -> Path:
    """NIfTI images and masks, one a patient, and manifest.csv."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "masks").mkdir(exist_ok=True)
    rows = []
    for number in range(count):
        image, labels = volume(number)
        names = [f"{folder}/v{number:02d}.nii.gz" for folder in ("images", "masks")]
        nib.save(nib.Nifti1Image(image, AFFINE), root / names[0])
        nib.save(nib.Nifti1Image(labels, AFFINE), root / names[1])
        split = SPLITS[number % len(SPLITS)] if splits else ""
        rows.append([f"case-{number:02d}", f"PAT{number}", *names, split])
    write_manifest(root, rows, COLUMNS)
    return root


def train_words(root: Path, output: Path, *more: str) -> list[str]:
    return [
        "+task=mri_seg", "data=custom", f"data.root={root}", f"output={output}", "plan.patch_px=[16,16,16]",
        "plan.levels=2", "plan.base_width=4", "plan.batch_patches=2", "trainer.epochs=4", "trainer.accelerator=cpu",
        "trainer.learning_rate=1e-2", "trainer.precision=32", "trainer.threads=1", "inference.accelerator=cpu",
        "tracking.enabled=false", "trainer.max_minutes=null", *more,
    ]  # fmt: skip


def train_conf(root: Path, output: Path, *more: str) -> TrainConf:
    conf: TrainConf = checked("train", CommandLine.of("train", train_words(root, output, *more)))
    return conf


def evaluate_conf(model: Path, root: Path, output: Path, *more: str) -> EvaluateConf:
    words = [f"model={model}", "data=custom", f"data.root={root}", f"output={output}", *more]
    conf: EvaluateConf = checked("evaluate", CommandLine.of("evaluate", words))
    return conf
