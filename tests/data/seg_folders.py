"""Small folders of volumes with masks whose content is known in closed form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

SHAPE = (12, 14, 10)
RAS_2MM = np.diag([2.0, 1.0, 3.0, 1.0])  # one voxel is 6 mm3


def box_labels(shape: Sequence[int] = SHAPE, *, empty: bool = False) -> np.ndarray:
    """1 in two boxes that touch nowhere (24 and 8 voxels), 2 in one of 30 voxels that touches the first."""
    labels = np.zeros(shape, np.uint8)
    if not empty:
        labels[2:5, 3:7, 2:4] = 1
        labels[8:10, 10:12, 6:8] = 1
        labels[5:8, 3:8, 2:4] = 2
    return labels


def voxels_of(seed: int, labels: np.ndarray) -> np.ndarray:
    """Noise, brighter where something is outlined."""
    noise = np.random.default_rng(seed).normal(100, 10, labels.shape)
    return (noise + 40.0 * (labels > 0)).astype(np.int16)


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray = RAS_2MM) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    nib.save(image, path)


def msd_folder(root: Path, count: int = 6, *, described: bool = True, folds: int = 0, **odd: Any) -> Path:
    """imagesTr and labelsTr of so many cases; odd: name -> other labels for that case."""
    names = [f"case_{number:03d}" for number in range(count)]
    for number, name in enumerate(names):
        labels = odd.get(name, box_labels())
        write_nifti(root / "imagesTr" / f"{name}.nii.gz", voxels_of(number, labels))
        write_nifti(root / "labelsTr" / f"{name}.nii.gz", labels)
    if described:
        pairs = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names]
        about = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "front", "2": "back"}, "training": pairs}
        (root / "dataset.json").write_text(json.dumps(about))
    if folds:
        turns = [{"train": [], "val": names[turn::folds]} for turn in range(folds)]
        (root / "splits.json").write_text(json.dumps(turns))
    return root
