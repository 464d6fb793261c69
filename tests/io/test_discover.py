from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from medcnn.io.discover import Found, Skipped, discover
from medcnn.io.files import FileStart
from medcnn.io.read import read_scan, source_files
from medcnn.scan import Reason, ScanRejected

Write = Callable[..., Path]


def names(root: Path) -> list[str]:
    return [case.reference for case in discover(root) if isinstance(case, Found)]


def test_every_kind_at_any_depth_in_a_fixed_order(
    tmp_path: Path, write_series: Write, write_image: Write, write_nifti: Write, phantom: np.ndarray
) -> None:
    write_series(phantom, folder="deep/down/ct")
    write_image(np.ones((2, 2), "u2"), "xray/b.dcm", PatientID="p1", BodyPartExamined="CHEST")
    write_image(np.ones((2, 2), "u2"), "xray/a.dcm")
    write_nifti(phantom, "brain.nii.gz")
    Image.fromarray(np.ones((2, 2), np.uint8)).save(tmp_path / "photo.png")
    (tmp_path / ".hidden").write_text("x")
    found = list(discover(tmp_path))
    assert names(tmp_path) == ["brain.nii.gz", "photo.png", "xray/a.dcm", "xray/b.dcm", "deep/down/ct"]
    assert [one.reference for one in found if isinstance(one, Skipped)] == [".hidden"]
    xray = next(one for one in found if one.reference == "xray/b.dcm")
    assert isinstance(xray, Found)
    assert (xray.modality, xray.body_part, xray.patient_id) == ("CR", "CHEST", "p1")
    assert "p1" not in repr(xray)
    for one in names(tmp_path):
        assert read_scan(tmp_path, one).voxels.size > 0


def test_two_series_in_one_folder_and_one_in_two(tmp_path: Path, write_series: Write, phantom: np.ndarray) -> None:
    def second(number: int, data: Dataset) -> None:
        data.SeriesInstanceUID, data.SOPInstanceUID = "1.2.9", f"1.2.9.{number}"

    one = write_series(phantom)
    other = write_series(phantom + 1, folder="other", change=second)
    for path in other.iterdir():
        shutil.move(path, one / f"second_{path.name}")
    other.rmdir()
    assert names(tmp_path) == ["series#series=1.2.3", "series#series=1.2.9"]
    assert np.array_equal(read_scan(tmp_path, "series#series=1.2.9").voxels[0], phantom + 1)
    for path in one.glob("second_*"):
        path.unlink()
    (tmp_path / "more").mkdir()
    shutil.move(one / "003.dcm", tmp_path / "more" / "003.dcm")
    assert names(tmp_path) == [".#series=1.2.3"]
    assert np.array_equal(read_scan(tmp_path, ".#series=1.2.3").voxels[0], phantom)


def test_loops_pipes_and_foreign_links_are_skipped(tmp_path: Path, write_image: Write) -> None:
    write_image(np.ones((2, 2), "u2"), "a/one.dcm")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "dead").symlink_to("nowhere")
    (tmp_path / "a" / "out").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "a" / "pipe")
    codes = {one.reference: one.rejection.code for one in discover(tmp_path) if isinstance(one, Skipped)}
    assert codes == {f"a/{name}": Reason.NOT_REGULAR_FILE for name in ("loop", "dead", "out", "pipe")}
    assert names(tmp_path) == ["a/one.dcm"]


def test_a_file_as_root_is_one_case(write_image: Write) -> None:
    path = write_image(np.ones((2, 2), "u2"))
    write_image(np.ones((2, 2), "u2"), "two.dcm")
    assert names(path) == ["one.dcm"]


def test_only_headers_are_read(write_image: Write) -> None:
    path = write_image(np.ones((200, 200), "u2"))
    path.write_bytes(path.read_bytes()[:-50_000])  # without half of its pixels
    assert names(path) == ["one.dcm"]


def test_damaged_files_are_reported_and_the_rest_found(tmp_path: Path, write_image: Write) -> None:
    write_image(np.ones((2, 2), "u2"))
    rng = np.random.default_rng(0)
    content = write_image(np.ones((2, 2), "u2"), "base.dcm").read_bytes()
    for number in range(100):
        damaged = bytearray(content)
        damaged[rng.integers(132, len(content))] = rng.integers(256)
        (tmp_path / f"damaged{number}.dcm").write_bytes(damaged)
    outcomes = list(discover(tmp_path))
    assert "one.dcm" in [one.reference for one in outcomes]
    assert all(one.rejection.code is not Reason.INTERNAL for one in outcomes if isinstance(one, Skipped))


def test_discovered_cases_end_as_a_scan_or_a_reason(series_folder: Path) -> None:
    cases = names(series_folder)
    assert cases == names(series_folder)
    assert len(cases) > 5
    scans, codes = 0, []
    for case in cases:
        try:
            read_scan(series_folder, case)
        except ScanRejected as error:
            codes.append(error.rejection.code)
        else:
            scans += 1
    assert scans >= 4
    assert Reason.INTERNAL not in codes


def test_identity_found_is_the_identity_read(tmp_path: Path, write_series: Write, phantom: np.ndarray) -> None:
    write_series(phantom)
    (case,) = (one for one in discover(tmp_path) if isinstance(one, Found))
    assert case.identity == read_scan(tmp_path, case.reference).identity
    uids = {str(pydicom.dcmread(path).SOPInstanceUID) for path in (tmp_path / "series").iterdir()}
    assert set(case.identity) == uids


def test_a_nifti_pair_is_one_case_by_its_header(tmp_path: Path) -> None:
    import nibabel

    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nibabel.Nifti1Pair(voxels, np.eye(4)).to_filename(tmp_path / "pair.img")
    (tmp_path / "alone.img").write_bytes(b"no header beside it" * 100)
    found = list(discover(tmp_path))
    assert [item.reference for item in found if isinstance(item, Found)] == ["pair.hdr"]
    assert [item.reference for item in found if isinstance(item, Skipped)] == ["alone.img"]
    assert source_files(tmp_path, "pair.hdr") == [tmp_path / "pair.hdr", tmp_path / "pair.img"]
    assert np.array_equal(read_scan(tmp_path, "pair.hdr").voxels[0], voxels)


def test_a_slow_drive_is_read_ahead_and_nothing_changes(
    tmp_path: Path, write_image: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        write_image(np.full((2, 2), number, "u2"), f"x/{number:03d}.dcm")
    at_once = list(discover(tmp_path))
    threads: set[str] = set()
    real = FileStart.of

    def slowly(path: Path) -> FileStart:
        threads.add(threading.current_thread().name.rpartition("_")[0])
        time.sleep(0.002)
        return real(path)

    monkeypatch.setattr(FileStart, "of", slowly)
    assert list(discover(tmp_path)) == at_once
    assert threads == {"", "medcnn-discover"}, "the first files by themselves, the others ahead"


def found_by_reference(root: Path, **asked: object) -> dict[str, Found]:
    return {case.reference: case for case in discover(root, **asked) if isinstance(case, Found)}  # type: ignore[arg-type]


def test_the_series_description_is_found_and_shown_nowhere(
    tmp_path: Path, write_series: Write, write_image: Write, phantom: np.ndarray
) -> None:
    def described(_: int, data: Dataset) -> None:
        data.SeriesDescription = "t1 mprage of Doe^Jane"

    write_series(phantom, change=described)
    write_image(
        np.ones((2, 2), "u2"), "umlaut.dcm", SpecificCharacterSet="ISO_IR 100", SeriesDescription="Sch\u00e4del"
    )
    write_image(np.ones((2, 2), "u2"), "none.dcm")
    cases = found_by_reference(tmp_path)
    assert {reference: case.description for reference, case in cases.items()} == {
        "series": "t1 mprage of Doe^Jane",
        "umlaut.dcm": "Sch\u00e4del",
        "none.dcm": "",
    }
    assert "Doe" not in repr(cases)


@pytest.mark.filterwarnings("ignore:Failed to (en|de)code")
def test_a_description_that_cannot_be_read_rejects_nothing(write_image: Write) -> None:
    path = write_image(np.ones((2, 2), "u2"), SpecificCharacterSet="ISO 2022 IR 87", SeriesDescription="x" * 8)
    path.write_bytes(path.read_bytes().replace(b"x" * 8, b"\x1b$B\xff\xfe\xff\xfe\x81"))
    assert names(path) == ["one.dcm"]


def test_slices_and_dimensions_by_the_header(
    tmp_path: Path, write_series: Write, write_image: Write, write_nifti: Write, phantom: np.ndarray
) -> None:
    series = write_series(phantom)
    shutil.copy(series / "002.dcm", series / "again.dcm")
    (tmp_path / "single").mkdir()
    shutil.copy(series / "001.dcm", tmp_path / "single" / "one.dcm")
    data = pydicom.dcmread(tmp_path / "single" / "one.dcm")
    data.SeriesInstanceUID = "1.2.77"
    data.save_as(tmp_path / "single" / "one.dcm")
    write_image(np.ones((2, 2), "u2"), "xray.dcm")
    write_image(np.ones((3, 2, 2), "u2"), "film.dcm", NumberOfFrames=3)
    write_nifti(phantom, "volume.nii")
    write_nifti(phantom, "volume.nii.gz")
    write_nifti(np.stack([phantom, phantom], axis=3), "times.nii.gz")
    write_nifti(phantom[:, :, 0], "plane.nii")
    write_nifti(phantom, "odd.nii", dim=[3, 6, 0, 8, 1, 1, 1, 1])
    Image.fromarray(np.ones((2, 2), np.uint8)).save(tmp_path / "photo.png")
    arrays = {"train_images": (1, 7, 9), "val_images": (1, 7, 9, 3), "test_images": (1, 5, 7, 9)}
    np.savez_compressed(tmp_path / "a.npz", **{name: np.zeros(shape, np.uint8) for name, shape in arrays.items()})
    found = {reference: (case.slices, case.spatial_dims) for reference, case in found_by_reference(tmp_path).items()}
    assert found == {
        "series": (8, 3),
        "single/one.dcm": (1, 2),
        "xray.dcm": (1, 2),
        "film.dcm": (3, None),
        "volume.nii": (8, 3),
        "volume.nii.gz": (8, 3),
        "times.nii.gz": (8, 3),
        "plane.nii": (1, 2),
        "odd.nii": (0, None),
        "photo.png": (1, 2),
        "a.npz#row=train/0": (1, 2),
        "a.npz#row=val/0": (1, 2),
        "a.npz#row=test/0": (5, 3),
    }


def test_a_volume_of_a_series_that_holds_several_has_its_own_slices(
    tmp_path: Path, write_series: Write, phantom: np.ndarray
) -> None:
    def echo(number: int, data: Dataset) -> None:
        data.EchoTime = "10" if number % 2 else "20"
        data.ImagePositionPatient = [0, 0, 2.5 * (number // 2)]

    write_series(phantom, change=echo)
    assert found_by_reference(tmp_path)["series"].slices == 8
    parts = found_by_reference(tmp_path, split_by=["echo"])
    assert {reference: (case.slices, case.spatial_dims) for reference, case in parts.items()} == {
        "series#echo=10": (4, 3),
        "series#echo=20": (4, 3),
    }


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
def test_dimensions_by_the_first_bytes_are_nibabels(order: str, packed: bool) -> None:
    import gzip

    import nibabel

    from medcnn.io.nifti.shape import shape_by_head

    for kind, endianness in ((nibabel.Nifti1Header, order), (nibabel.Nifti2Header, order)):
        for shape in ((3, 4), (3, 4, 5), (3, 4, 1), (3, 4, 5, 1), (3, 4, 5, 6)):
            header = kind(endianness=endianness)
            header.set_data_shape(shape)
            content = header.binaryblock + bytes(4000)
            head = gzip.compress(content) if packed else content
            assert shape_by_head(head) == (shape[:3] if shape[3:] == (1,) else shape)
    assert shape_by_head(b"") == shape_by_head(b"\x1f\x8bnonsense") == shape_by_head(bytes(999)) == ()
