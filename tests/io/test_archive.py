from __future__ import annotations

import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medcnn.io import archive
from medcnn.io.discover import Found, discover
from medcnn.scan import Reason

Read = Callable[..., Any]


def save(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "expected"), [((4, 5, 6), (1, 5, 6)), ((4, 5, 6, 3), (3, 5, 6)), ((4, 5, 6, 7), (1, 5, 6, 7))]
)
def test_a_row_is_a_scan(read: Read, tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    images = pictures(*shape)
    scan = read(save(tmp_path / "a.npz", train_images=images), "#row=train/2")
    assert scan.voxels.shape == expected
    row = images[2].transpose(2, 0, 1) if shape[-1] == 3 else images[2]
    assert np.array_equal(scan.voxels.reshape(row.shape), row)
    assert (scan.value_range, scan.identity, scan.spacing_mm) == ((0, 255), (), None)
    assert scan.voxels.dtype == np.float32


def test_rows_name_every_part_and_label(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.npz",
        test_images=pictures(1, 4, 4),
        train_images=pictures(2, 4, 4),
        train_labels=np.array([[1], [0]]),
        val_images=pictures(1, 4, 4),
        val_labels=np.array([[1, 0, 1]], dtype=np.uint8),
    )
    expected = [("train", 0, (1,)), ("train", 1, (0,)), ("val", 0, (1, 0, 1)), ("test", 0, ())]
    assert archive.rows(path) == expected
    found = [case for case in discover(tmp_path) if isinstance(case, Found)]
    assert [case.reference for case in found] == [
        "a.npz#row=train/0",
        "a.npz#row=train/1",
        "a.npz#row=val/0",
        "a.npz#row=test/0",
    ]
    assert [case.label for case in found] == [label for _, _, label in expected]


@pytest.mark.parametrize(
    ("arrays", "code"),
    [
        ({"train_images": np.zeros((2, 4, 4), "f4")}, Reason.READ_ERROR),
        ({"train_images": np.zeros((2, 4), "u1")}, Reason.READ_ERROR),
        ({"other": np.zeros((2, 4, 4), "u1")}, Reason.READ_ERROR),
        ({"train_images": np.array([{"a": 1}], dtype=object)}, Reason.ARCHIVE_UNSAFE),
    ],
)
def test_what_is_no_such_archive(rejected: Read, tmp_path: Path, arrays: dict[str, Any], code: Reason) -> None:
    assert rejected(save(tmp_path / "a.npz", **arrays), "#row=train/0").code is code


def test_a_row_must_be_named_and_exist(rejected: Read, tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", train_images=pictures(2, 4, 4))
    for selector in ("", "#row=train/2", "#row=val/0"):
        assert rejected(path, selector).code is Reason.READ_ERROR


def test_an_array_that_lies_about_its_size_takes_no_memory(rejected: Read, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 4096, 4096), }"
    for count, code in ((1000, Reason.BOMB), (2, Reason.READ_ERROR)):
        text = (header % count).ljust(117) + b"\n"
        with zipfile.ZipFile(path, "w") as archive_file:
            archive_file.writestr("train_images.npy", b"\x93NUMPY\x01\x00\x76\x00" + text)
        assert rejected(path, "#row=train/0").code is code


def test_damaged_content_is_refused(rejected: Read, tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", train_images=pictures(20, 40, 40))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    assert rejected(path, "#row=train/0").code is Reason.READ_ERROR
    path.write_bytes(content[: len(content) // 2])
    assert rejected(path, "#row=train/0").code is Reason.READ_ERROR


def test_a_changed_archive_is_read_anew(read: Read, tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", train_images=np.zeros((2, 4, 4), "u1"))
    assert read(path, "#row=train/0").voxels.max() == 0
    save(path, train_images=np.full((3, 4, 4), 7, "u1"))
    assert read(path, "#row=train/0").voxels.max() == 7


def test_many_rows_cost_one_unpacking(read: Read, medcnn_data: Path) -> None:
    path = medcnn_data / "pneumoniamnist" / "pneumoniamnist_trainval.npz"
    start = time.monotonic()
    for index in range(4708):
        read(path, f"#row=train/{index}")
    assert time.monotonic() - start < 10  # unpacking for each would take minutes
    assert len(archive.rows(path)) == 4708 + 524
