"""DICOM segmentations find the series that they were made from, by what they refer to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medcnn.data.layouts.listing import Listing
from medcnn.io.dicom.seg import read_seg
from medcnn.io.dicom.seg_write import Algorithm, write_seg
from medcnn.io.dicom.segment import Code, Segment
from medcnn.io.read import read_scan

Write = Callable[..., Path]
Read = Callable[..., Listing]
MODEL = Algorithm("phantom network", "1.0", "ab" * 32)
LIVER = Segment(1, "Liver", Code("SCT", "10200004", "Liver"))
SPLEEN = Segment(2, "Spleen", Code("SCT", "78961009", "Spleen"))


@pytest.fixture
def series(dicom: Write, root: Path) -> Callable[[int], Path]:
    """One CT series of six slices in a folder of its own."""

    def write(number: int) -> Path:
        for k in range(6):
            dicom(
                f"ct{number}/{k}.dcm",
                100 * number + k,
                f"canary-{number}",
                SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
                Modality="CT",
                SeriesInstanceUID=f"1.2.826.0.1.{number}.2",
                StudyInstanceUID=f"1.2.826.0.1.{number}.1",
                FrameOfReferenceUID=f"1.2.826.0.1.{number}.9",
                StudyDate="20260101",
                PixelSpacing=["1", "1"],
                ImageOrientationPatient=["1", "0", "0", "0", "1", "0"],
                ImagePositionPatient=["0", "0", str(2 * k)],
                RescaleSlope="1",
                RescaleIntercept="0",
            )
        return root / f"ct{number}"

    return write


@pytest.fixture
def segmented(series: Callable[[int], Path], root: Path) -> Callable[..., Path]:
    """A segmentation of a series, in another folder."""

    def write(number: int, name: str = "", outlined: list[Segment] | None = None) -> Path:
        folder = series(number)
        outlined = outlined or [LIVER, SPLEEN]
        labels = np.zeros((8, 8, 6), np.uint8)
        for place, segment in enumerate(outlined):
            labels[2 * place : 2 * place + 2, :3, 2] = segment.number
        target = root / "results" / (name or f"seg{number}.dcm")
        target.parent.mkdir(exist_ok=True)
        scan = read_scan(root, folder.name)
        assert scan.geometry is not None
        write_seg(target, labels, scan.geometry, sorted(folder.iterdir()), outlined, MODEL)
        return target

    return write


def test_masks_go_to_their_series(
    segmented: Callable[..., Path], series: Any, listed: Read, junk: Any, keyring: Any, root: Path
) -> None:
    segmented(1, "b.dcm")
    segmented(2, "a.dcm")
    series(3)
    junk()
    found = listed()
    assert (found.kind, found.class_names) == ("dicom_seg", ["Liver", "Spleen"])
    assert found.codes == {"Liver": (1,), "Spleen": (2,)}
    assert [(case.images[""], case.masks[""]) for case in found.cases] == [
        ("ct1", "results/b.dcm"),
        ("ct2", "results/a.dcm"),
    ]
    assert found.cases[0].patient_id == keyring.patient_key("canary-1")
    assert "1 scans have no segmentation and were left out: ct3" in found.remarks
    assert "canary" not in str(found)
    assert "1.2.826" not in str(found)
    assert len(found.skipped) == 4
    geometry = read_scan(root, "ct1").geometry
    assert geometry is not None
    labels, _ = read_seg(root / found.cases[0].masks[""], geometry)
    assert np.unique(labels).tolist() == [0, 1, 2]


def test_a_segmentation_of_a_scan_that_is_not_there(segmented: Callable[..., Path], root: Path, listed: Read) -> None:
    segmented(1)
    segmented(2)
    shutil.rmtree(root / "ct2")
    found = listed()
    assert [case.images[""] for case in found.cases] == ["ct1"]
    assert "1 segmentations refer to a series that is not there: results/seg2.dcm" in found.remarks


def test_two_segmentations_of_one_scan(segmented: Callable[..., Path], refused: Any) -> None:
    segmented(1)
    segmented(1, "again.dcm")
    said = refused()
    assert "ct1: 2 segmentations refer to it (results/again.dcm, results/seg1.dcm). Keep one" in said


def test_segments_that_are_numbered_otherwise(segmented: Callable[..., Path], refused: Any) -> None:
    segmented(1)
    segmented(2, outlined=[Segment(1, "Spleen", SPLEEN.code), Segment(2, "Liver", LIVER.code)])
    assert "results/seg2.dcm: segment 1 is 'Spleen', which is 2 in another file" in refused()


def test_a_damaged_segmentation(segmented: Callable[..., Path], refused: Any, listed: Read) -> None:
    segmented(1)
    path = segmented(2)
    data = pydicom.dcmread(path)
    del data.ReferencedSeriesSequence
    data.save_as(path)
    said = refused()
    assert "results/seg2.dcm: META_INVALID" in said
    assert "canary" not in said
