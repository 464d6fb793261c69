"""The brain tumour slices as they came: their own table, and a division that keeps neighbouring slices together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from medcnn.config.compose import CommandLine, checked
from medcnn.data.dataset import Dataset, open_dataset
from medcnn.data.privacy import Keyring

# First and last file number of each run of one class in one plane, by eye; a few stray files are in none.
PLANES = {
    "axial": [(1, 167), (715, 739), (918, 1005), (1283, 1420), (1841, 2161), (2344, 2390)],
    "coronal": [(211, 395), (747, 803), (1030, 1138), (1456, 1602), (2242, 2323), (2403, 2664)],
    "sagittal": [(442, 655), (818, 897), (1166, 1259), (1640, 1800), (2731, 2995)],
}


def opened(root: Path, key: Path, *, seed: int) -> Dataset:
    words = ["+task=mri_cls", "data=brain_tumor_mri", f"data.root={root}", f"data.splits.seed={seed}"]
    return open_dataset(checked("train", CommandLine.of("train", words)).data, Keyring.at(key), splits=True)


@pytest.mark.parametrize("seed", range(3))
def test_every_class_is_held_out_in_every_plane_and_few_neighbours_are_torn(
    medcnn_data: Path, tmp_path: Path, seed: int
) -> None:
    dataset = opened(medcnn_data / "brain_tumor_mri", tmp_path / "key", seed=seed)
    cases = {int(Path(case.images[""]).stem): case for case in dataset.manifest.cases}
    assert len(cases) == 2452
    shares = Counter(case.split for case in cases.values())
    assert shares["test"] == pytest.approx(0.15 * 2452, abs=30)
    held_out = Counter(
        (plane, cases[number].labels[""])
        for plane, runs in PLANES.items()
        for first, last in runs
        for number in range(first, last + 1)
        if number in cases and cases[number].split == "test"
    )
    assert len(held_out) == 9
    assert min(held_out.values()) >= 15
    torn = sum(cases[n].split != cases[n + 1].split for n in cases if n + 1 in cases)
    assert torn <= 100  # slice by slice it is more than a thousand


def test_the_boxes_columns_are_kept_and_the_report_knows_the_weakness(medcnn_data: Path, tmp_path: Path) -> None:
    dataset = opened(medcnn_data / "brain_tumor_mri", tmp_path / "key", seed=0)
    assert dataset.labels.class_names == ("glioma", "meningioma", "pituitary")
    assert dataset.counts()["train"]["meningioma"] == pytest.approx(0.7 * 567, abs=40)
    assert list(dataset.manifest.cases[0].free) == ["x0", "y0", "x1", "y1", "width", "height"]
    assert any("neighbouring files were divided" in remark for remark in dataset.remarks)
    assert any("results may be too good" in remark for remark in dataset.remarks)
