"""DICOM segmentations, written and read: voxel for voxel, and as highdicom sees them."""

from __future__ import annotations

import datetime
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_checks import dciodvfy_errors
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from medcnn.geometry import LPS_TO_RAS, Geometry
from medcnn.io.dicom.result_object import own_code
from medcnn.io.dicom.seg import read_masks, read_seg, referenced_series, segments
from medcnn.io.dicom.seg_write import NOTICE, Algorithm, Form, seg_bytes, write_seg
from medcnn.io.dicom.segment import Code, Segment
from medcnn.io.read import read_scan, source_files
from medcnn.io.reference import Reference
from medcnn.scan import Reason, Scan, ScanRejected

Write = Callable[..., Path]
STUDY, FRAME_OF_REFERENCE = "1.2.840.99.1", "1.2.840.99.2"
SIZE = (11, 9, 8)  # columns, rows, slices; 99 pixels, so that frames of bits begin inside bytes
LIVER = Segment(1, "Liver", Code("SCT", "10200004", "Liver"))
SPLEEN = Segment(2, "Spleen", Code("SCT", "78961009", "Spleen"))
MODEL = Algorithm("phantom network", "1.0", "ab" * 32)
THEN = Form(created=datetime.datetime(2026, 1, 2, 3, 4, 5))
TURN = np.array([[0.9396926, 0.1710101, 0.2961981], [0, 0.8660254, -0.5], [-0.3420201, 0.4698463, 0.8137977]])
ORIENTATIONS = {
    "axial": [1, 0, 0, 0, 1, 0],
    "sagittal": [0, 1, 0, 0, 0, -1],
    "coronal": [1, 0, 0, 0, 0, -1],
    "oblique": [*TURN[:, 0], *TURN[:, 1]],
}


def identified(number: int, data: Dataset) -> None:
    """What a result needs of its sources; the file order is not the slices' order."""
    data.StudyInstanceUID, data.FrameOfReferenceUID, data.SeriesInstanceUID = STUDY, FRAME_OF_REFERENCE, "1.2.840.99.3"
    data.SOPInstanceUID = f"1.2.840.99.4.{(number * 5) % 8 + 1}"
    data.PatientID, data.PatientName, data.StudyDate = "canary-id", "Canary^Name", "20260101"


def blobs() -> np.ndarray:
    """Two blobs that look the same from no two sides; the first and the last slice are empty."""
    labels = np.zeros(SIZE, dtype=np.uint8)
    labels[1:5, 2:4, 1:4] = 1
    labels[1, 2:7, 2] = 1
    labels[8:11, 6:9, 4:7] = 2
    labels[10, 8, 3] = 2
    return labels


@pytest.fixture
def scan_of(write_series: Write) -> Callable[..., tuple[list[Path], Scan]]:
    """Files, in shuffled order, and the scan they make."""

    def make(orientation: str = "axial", direction: int = 1, **options: Any) -> tuple[list[Path], Scan]:
        cosines = np.array(ORIENTATIONS[orientation], dtype=float)
        step = direction * 3.1 * np.cross(cosines[:3], cosines[3:])
        options = {"decimals": 8, "change": identified, "orientation": cosines, "step_mm": step} | options
        folder = write_series(np.random.default_rng(0).integers(0, 99, SIZE).astype(np.int16), **options)
        files = [
            path.rename(path.with_name(name)) for path, name in zip(sorted(folder.iterdir()), "dhbgfaec", strict=True)
        ]
        return files, read_scan(folder.parent, folder.name)

    return make


def edited(path: Path, change: Callable[[Dataset], None]) -> Path:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


def refused(read: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    with pytest.raises(ScanRejected) as caught:
        read(*arguments, **options)
    assert "anary" not in str(caught.value)
    assert "1.2.840" not in str(caught.value)
    return caught.value.rejection


def centroid_lps(labels: np.ndarray, geometry: Geometry, number: int) -> np.ndarray:
    index = np.append(np.argwhere(labels == number).mean(axis=0), 1)
    return (LPS_TO_RAS @ geometry.affine @ index)[:3]


@pytest.mark.case("V23")
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_V23_labels_come_back_voxel_for_voxel(
    scan_of: Callable[..., Any], tmp_path: Path, orientation: str, direction: int, kind: Any
) -> None:
    files, scan = scan_of(orientation, direction)
    write_seg(tmp_path / "seg.dcm", blobs(), scan.geometry, files, [LIVER, SPLEEN], MODEL, form=Form(kind=kind))
    labels, flags = read_seg(tmp_path / "seg.dcm", scan.geometry)
    assert np.array_equal(labels, blobs())
    assert labels.dtype == np.int32
    assert flags == ()
    assert segments(tmp_path / "seg.dcm") == (LIVER, SPLEEN)
    assert referenced_series(tmp_path / "seg.dcm") == "1.2.840.99.3"


@pytest.mark.case("V23")
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_V23_highdicom_finds_the_blobs_at_the_same_place(
    scan_of: Callable[..., Any], tmp_path: Path, orientation: str, direction: int, kind: Any
) -> None:
    from highdicom.seg import segread

    files, scan = scan_of(orientation, direction)
    path = tmp_path / "seg.dcm"
    write_seg(path, blobs(), scan.geometry, files, [LIVER, SPLEEN], MODEL, form=Form(kind=kind))
    theirs = segread(path)
    volume = theirs.get_volume(combine_segments=True)
    for number in (1, 2):
        there = volume.map_indices_to_reference(np.argwhere(volume.array == number).mean(axis=0)[None])[0]
        assert there == pytest.approx(centroid_lps(blobs(), scan.geometry, number), abs=1e-3)
        assert (volume.array == number).sum() == (blobs() == number).sum()
    uids = [str(pydicom.dcmread(path).SOPInstanceUID) for path in files]
    stacked = theirs.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    for path, plane in zip(files, stacked, strict=True):
        at = np.append(np.linalg.inv(scan.geometry.affine)[:3], [[0, 0, 0, 1]], axis=0) @ LPS_TO_RAS
        k = round((at @ [*map(float, pydicom.dcmread(path).ImagePositionPatient), 1])[2])
        assert np.array_equal(plane.T, blobs()[:, :, k])


@pytest.mark.case("V23")
def test_V23_planes_lie_where_simpleitk_puts_the_series(scan_of: Callable[..., Any], tmp_path: Path) -> None:
    import SimpleITK

    files, scan = scan_of("oblique", -1)
    write_seg(tmp_path / "seg.dcm", blobs(), scan.geometry, files, [LIVER, SPLEEN], MODEL)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(files[0].parent)))
    image = reader.Execute()
    labels, _ = read_seg(tmp_path / "seg.dcm", scan.geometry)
    for number in (1, 2):
        where = image.TransformPhysicalPointToContinuousIndex(centroid_lps(labels, scan.geometry, number).tolist())
        theirs = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
        assert np.array_equal(theirs, scan.voxels[0])  # so that one index means the same in both
        assert where == pytest.approx(np.argwhere(blobs() == number).mean(axis=0), abs=1e-3)


@pytest.fixture
def written(scan_of: Callable[..., Any], tmp_path: Path) -> tuple[Path, Scan, list[Path]]:
    files, scan = scan_of()
    write_seg(tmp_path / "seg.dcm", blobs(), scan.geometry, files, [LIVER, SPLEEN], MODEL, form=THEN)
    return tmp_path / "seg.dcm", scan, files


def test_the_order_of_files_and_frames_does_not_matter(written: Any) -> None:
    path, scan, files = written
    again = seg_bytes(blobs(), scan.geometry, files[::-1], [SPLEEN, LIVER], MODEL, form=THEN)
    assert pydicom.dcmread(path).PixelData == pydicom.dcmread(pydicom.filebase.DicomBytesIO(again)).PixelData

    def shuffle(data: Dataset) -> None:
        frames = np.unpackbits(np.frombuffer(data.PixelData, np.uint8), bitorder="little")
        frames = frames[: data.NumberOfFrames * 99].reshape(-1, 99)
        order = np.random.default_rng(1).permutation(len(frames))
        groups = data.PerFrameFunctionalGroupsSequence
        data.PerFrameFunctionalGroupsSequence = Items([groups[at] for at in order])
        packed = np.packbits(frames[order].ravel(), bitorder="little").tobytes()
        data.PixelData = packed + b"\0" * (len(packed) % 2)

    assert np.array_equal(read_seg(edited(path, shuffle), scan.geometry)[0], blobs())


def differing(one: bytes, other: bytes) -> list[str]:
    """Keywords whose values differ, at any depth; and whether any other byte does."""
    left, right = (pydicom.dcmread(pydicom.filebase.DicomBytesIO(content)) for content in (one, other))
    pairs = zip(left.iterall(), right.iterall(), strict=True)
    return [a.keyword for a, b in pairs if a != b] or ["bytes"] * (one != other)


def test_the_same_result_is_the_same_object(written: Any) -> None:
    path, scan, files = written
    one = path.read_bytes()
    assert differing(seg_bytes(blobs(), scan.geometry, files[::-1], [LIVER, SPLEEN], MODEL, form=THEN), one) == []
    for other in (
        seg_bytes(blobs()[::-1].copy(), scan.geometry, files, [LIVER, SPLEEN], MODEL, form=THEN),
        seg_bytes(blobs(), scan.geometry, files, [LIVER, SPLEEN], Algorithm("phantom network", "1.0", "cd"), form=THEN),
    ):
        data = pydicom.dcmread(pydicom.filebase.DicomBytesIO(other))
        assert data.SOPInstanceUID != pydicom.dcmread(path).SOPInstanceUID
        assert data.SeriesInstanceUID != pydicom.dcmread(path).SeriesInstanceUID


def test_a_result_is_dated_by_its_sources_and_never_by_the_clock(scan_of: Callable[..., Any]) -> None:
    def dated(number: int, data: Dataset) -> None:
        identified(number, data)
        data.AcquisitionDate, data.AcquisitionTime = "20260102", f"03040{number}.25"

    files, scan = scan_of(change=dated)
    data = pydicom.dcmread(
        pydicom.filebase.DicomBytesIO(seg_bytes(blobs(), scan.geometry, files, [LIVER, SPLEEN], MODEL))
    )
    dates = {element.keyword: str(element.value) for element in data.iterall() if element.VR in ("DA", "TM", "DT")}
    assert dates.pop("StudyDate") == "20260101"
    assert (dates.pop("StudyTime"), dates.pop("PatientBirthDate")) == ("", "")
    assert {word: value for word, value in dates.items() if word.endswith("Date")} == dict.fromkeys(
        ("InstanceCreationDate", "ContentDate"), "20260102"
    )
    assert (data.ContentTime, data.InstanceCreationTime) == ("030407", "030407")
    assert data.ContributingEquipmentSequence[-1].ContributionDateTime == "20260102030407"


def test_a_lossy_source_that_does_not_say_how_lossy(scan_of: Callable[..., Any], tmp_path: Path) -> None:
    def lossy(number: int, data: Dataset) -> None:
        identified(number, data)
        data.LossyImageCompression = "01"

    files, scan = scan_of(change=lossy)
    write_seg(tmp_path / "seg.dcm", blobs(), scan.geometry, files, [LIVER, SPLEEN], MODEL)
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    assert data.LossyImageCompression == "01"
    assert dciodvfy_errors(tmp_path / "seg.dcm") == []


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_dciodvfy_finds_no_error(scan_of: Callable[..., Any], tmp_path: Path, orientation: str) -> None:
    files, scan = scan_of(orientation)
    thing = Segment(2, "Thing", own_code("Thing"))
    write_seg(tmp_path / "seg.dcm", blobs(), scan.geometry, files, [LIVER, thing], MODEL)
    assert dciodvfy_errors(tmp_path / "seg.dcm") == []
    write_seg(tmp_path / "seg.dcm", 0 * blobs(), scan.geometry, files, [LIVER, thing], MODEL)
    assert dciodvfy_errors(tmp_path / "seg.dcm") == []


def test_a_result_carries_the_study_the_model_and_the_notice(written: Any) -> None:
    path, _, _ = written
    content = path.read_bytes()
    assert content[:128] == bytes(128)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir() if file.is_file()] == ["seg.dcm"]
    data = pydicom.dcmread(path)
    assert (data.StudyInstanceUID, data.FrameOfReferenceUID) == (STUDY, FRAME_OF_REFERENCE)
    assert (data.PatientID, str(data.PatientName), data.PatientSex) == ("canary-id", "Canary^Name", "")
    assert data.SeriesInstanceUID != "1.2.840.99.3"
    assert NOTICE in data.SeriesDescription
    assert NOTICE in data.ContentDescription
    assert data.BurnedInAnnotation == "NO"
    assert (data.ContentDate, data.ContentTime) == ("20260102", "030405")
    for item in data.SegmentSequence:
        assert item.SegmentAlgorithmType == "AUTOMATIC"
        (said,) = item.SegmentationAlgorithmIdentificationSequence
        assert (said.AlgorithmName, said.AlgorithmVersion) == ("phantom network", "1.0")
        assert said.AlgorithmParameters == "model=" + "ab" * 32
    assert data.NumberOfFrames == 3 + 4  # planes with content: 1 to 3 of the first segment, 3 to 6 of the second


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_an_empty_result_is_written_and_read(scan_of: Callable[..., Any], tmp_path: Path, kind: Any) -> None:
    files, scan = scan_of()
    empty = np.zeros(SIZE, dtype=np.uint8)
    write_seg(tmp_path / "seg.dcm", empty, scan.geometry, files, [LIVER, SPLEEN], MODEL, form=Form(kind=kind))
    assert not read_seg(tmp_path / "seg.dcm", scan.geometry)[0].any()
    assert referenced_series(tmp_path / "seg.dcm") == "1.2.840.99.3"
    assert len(pydicom.dcmread(tmp_path / "seg.dcm").ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 8


@pytest.mark.parametrize("decimals", [1, 4])
def test_positions_rounded_by_the_scanner_are_still_the_scans_planes(
    scan_of: Callable[..., Any], tmp_path: Path, decimals: int
) -> None:
    files, scan = scan_of(step_mm=(0, 0, 3.3333), decimals=decimals)
    write_seg(tmp_path / "seg.dcm", blobs(), scan.geometry, files, [LIVER, SPLEEN], MODEL)
    assert np.array_equal(read_seg(tmp_path / "seg.dcm", scan.geometry)[0], blobs())


def test_labels_in_another_order_of_axes_are_the_same_object(written: Any) -> None:
    """A grid turned to the patient's own axes is still the sources' grid: pixels go back where they came from."""
    path, scan, files = written
    turned = scan.geometry.affine @ np.array([[0, -1, 0, 10], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    geometry = Geometry(turned, (8, 11, 9))
    labels = blobs()[::-1].transpose(2, 0, 1)
    again = pydicom.dcmread(
        pydicom.filebase.DicomBytesIO(seg_bytes(labels, geometry, files, [LIVER, SPLEEN], MODEL, form=THEN))
    )
    assert again.PixelData == pydicom.dcmread(path).PixelData
    assert np.array_equal(read_seg(path, geometry)[0], labels)


def test_overlapping_segments_make_masks_but_no_label_map(written: Any) -> None:
    path, scan, _ = written

    def move(data: Dataset) -> None:
        """The second segment onto the first one's pixels, in the one plane that both have."""
        frames = [
            (
                int(g.SegmentIdentificationSequence[0].ReferencedSegmentNumber),
                float(g.PlanePositionSequence[0].ImagePositionPatient[2]),
            )
            for g in data.PerFrameFunctionalGroupsSequence
        ]
        first = next(at for at, frame in enumerate(frames) if (2, frame[1]) in frames and frame[0] == 1)
        second = frames.index((2, frames[first][1]))
        bits = np.unpackbits(np.frombuffer(data.PixelData, np.uint8), bitorder="little")
        bits[second * 99 : second * 99 + 99] = bits[first * 99 : first * 99 + 99]
        data.PixelData = np.packbits(bits, bitorder="little").tobytes()

    edited(path, move)
    found = refused(read_seg, path, scan.geometry)
    assert found.code is Reason.LABEL_VALUES
    assert "1 and 2" in found.found
    masks, numbers, _ = read_masks(path, scan.geometry)
    assert masks.shape == (*SIZE, 2)
    assert numbers == (1, 2)
    assert np.array_equal(masks[..., 0], blobs() == 1)
    assert (masks[..., 0] & masks[..., 1]).sum() == (blobs()[:, :, 3] == 1).sum()
    alone, _ = read_seg(path, scan.geometry, segments=[1])
    assert np.array_equal(alone, blobs() == 1)
    assert refused(read_seg, path, scan.geometry, segments=[1, 7]).code is Reason.LABEL_VALUES


def highdicom_seg(files: Sequence[Path], array: np.ndarray, kind: str, **options: Any) -> Dataset:
    import highdicom
    from pydicom.sr.codedict import codes

    headers = [pydicom.dcmread(path) for path in files]
    for header in headers:
        header.SliceThickness = "3.1"
        for keyword in ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyTime"):
            setattr(header, keyword, header.get(keyword) or "")
    described = highdicom.seg.SegmentDescription(1, "Liver", codes.SCT.AnatomicalStructure, codes.SCT.Liver, "MANUAL")
    return highdicom.seg.Segmentation(
        headers, array, kind, [described], highdicom.UID(), 5, highdicom.UID(), 1, "a", "b", "c", "d", **options
    )


def test_fractions_count_from_one_half_on_and_a_flag_says_so(scan_of: Callable[..., Any], tmp_path: Path) -> None:
    files, scan = scan_of()
    ordered = sorted(files, key=lambda path: float(pydicom.dcmread(path).ImagePositionPatient[2]))
    fractions = np.random.default_rng(0).random(SIZE[::-1]).astype(np.float32)
    data = highdicom_seg(ordered, fractions, "FRACTIONAL", max_fractional_value=200)
    data.save_as(tmp_path / "seg.dcm")
    labels, flags = read_seg(tmp_path / "seg.dcm", scan.geometry)
    assert np.array_equal(labels, (np.round(fractions * 200) >= 100).transpose(2, 1, 0))
    assert flags == ("fractional segmentation: a voxel belongs to its segment from a probability of 0.5 on",)


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("LABELMAP", "RLELossless"),
        ("LABELMAP", "JPEGLSLossless"),
        ("FRACTIONAL", "RLELossless"),
        ("BINARY", "ImplicitVRLittleEndian"),
    ],
)
def test_compressed_segmentations(scan_of: Callable[..., Any], tmp_path: Path, kind: str, syntax: str) -> None:
    files, scan = scan_of()
    ordered = sorted(files, key=lambda path: float(pydicom.dcmread(path).ImagePositionPatient[2]))
    array = (blobs() == 1).astype(np.uint8).transpose(2, 1, 0)
    data = highdicom_seg(ordered, array, kind, transfer_syntax_uid=getattr(pydicom.uid, syntax))
    data.save_as(tmp_path / "seg.dcm")
    assert np.array_equal(read_seg(tmp_path / "seg.dcm", scan.geometry)[0], blobs() == 1)


def test_planes_in_the_scans_grid_may_be_mirrored_or_run_across_its_slices(
    scan_of: Callable[..., Any], tmp_path: Path
) -> None:
    """As converters write them: rows from below, or sagittal planes over an axial series."""
    import highdicom

    files, scan = scan_of("oblique")
    lps = LPS_TO_RAS @ scan.geometry.affine
    for order, flips in (
        ((2, 1, 0), (False, True, False)),
        ((0, 2, 1), (True, False, True)),
        ((1, 0, 2), (False,) * 3),
    ):
        matrix, array = lps.copy(), (blobs() == 1).astype(np.uint8)
        for axis, flip in enumerate(flips):
            if flip:
                array = np.flip(array, axis)
                matrix[:3, 3] += (SIZE[axis] - 1) * matrix[:3, axis]
                matrix[:3, axis] *= -1
        matrix[:, :3] = matrix[:, order]
        volume = highdicom.Volume(
            np.ascontiguousarray(array.transpose(order)), matrix, "PATIENT", frame_of_reference_uid=FRAME_OF_REFERENCE
        )
        highdicom_seg(files, volume, "BINARY").save_as(tmp_path / "seg.dcm")
        assert np.array_equal(read_seg(tmp_path / "seg.dcm", scan.geometry)[0], blobs() == 1)


def test_a_segmentation_off_the_grid_is_refused_in_mm(written: Any) -> None:
    path, scan, _ = written
    affine = scan.geometry.affine
    shifted, wider, larger = affine.copy(), affine.copy(), (SIZE[0], SIZE[1] + 1, SIZE[2])
    shifted[2, 3] += 0.4
    wider[:3, 0] *= 1.1
    found = refused(read_seg, path, Geometry(shifted, SIZE))
    assert found.code is Reason.GEOMETRY_MISMATCH
    assert "0.400 mm off the voxels" in found.found
    assert "0.500 mm off" in refused(read_seg, path, Geometry(wider, SIZE)).found  # 10 pixels of 0.05 mm
    assert "9 rows and 11 columns, the scan 10 and 11" in refused(read_seg, path, Geometry(affine, larger)).found
    turned = affine.copy()
    turned[:, :2] = turned[:, :2] @ np.array([[0.8, -0.6], [0.6, 0.8]])
    assert "do not follow" in refused(read_seg, path, Geometry(turned, SIZE)).found
    below = affine.copy()
    below[:3, 3] += 5 * below[:3, 2]  # planes 1 to 6 of 8 have content; the first frame is plane 3's
    assert "6.200 mm outside" in refused(read_seg, path, Geometry(below, SIZE)).found
    near = affine.copy()
    near[2, 3] += 0.02  # less than 1 % of 3.1 mm
    assert np.array_equal(read_seg(path, Geometry(near, SIZE))[0], blobs())


def drop(keyword: str) -> Callable[[Dataset], None]:
    return lambda data: delattr(data, keyword)


def put(**values: Any) -> Callable[[Dataset], None]:
    return lambda data: [setattr(data, keyword, value) for keyword, value in values.items()] and None


def twice(data: Dataset) -> None:
    groups = data.PerFrameFunctionalGroupsSequence
    groups[1].PlanePositionSequence = groups[0].PlanePositionSequence


def two_series(data: Dataset) -> None:
    other = Dataset()
    other.SeriesInstanceUID = "1.2.840.99.77"
    data.ReferencedSeriesSequence.append(other)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (put(SOPClassUID="1.2.840.10008.5.1.4.1.1.2"), Reason.META_INVALID),
        (put(SegmentationType="POINTS"), Reason.META_INVALID),
        (put(SegmentationType="LABELMAP"), Reason.META_INVALID),
        (put(Rows=65535, Columns=65535), Reason.SIZE_IMPLAUSIBLE),
        (put(NumberOfFrames=100_000), Reason.SIZE_IMPLAUSIBLE),
        (put(PixelData=b"\0\0"), Reason.PIXEL_DATA_TRUNCATED),
        (drop("PixelData"), Reason.PIXEL_DATA_TRUNCATED),
        (drop("SegmentSequence"), Reason.META_INVALID),
        (drop("PerFrameFunctionalGroupsSequence"), Reason.SIZE_IMPLAUSIBLE),
        (drop("SharedFunctionalGroupsSequence"), Reason.GEOMETRY_INVALID),
        (
            lambda data: drop("SegmentIdentificationSequence")(data.PerFrameFunctionalGroupsSequence[2]),
            Reason.META_INVALID,
        ),
        (lambda data: data.SegmentSequence.pop(), Reason.LABEL_VALUES),
        (lambda data: put(SegmentNumber=1)(data.SegmentSequence[1]), Reason.META_INVALID),
        (twice, Reason.SLICE_DUPLICATE),
    ],
    ids=lambda value: str(value) if isinstance(value, Reason) else "",
)
def test_a_damaged_segmentation_is_refused(written: Any, change: Callable[[Dataset], None], code: Reason) -> None:
    path, scan, _ = written
    edited(path, change)
    tracemalloc.start()
    began = time.perf_counter()
    assert refused(read_seg, path, scan.geometry).code is code
    assert time.perf_counter() - began < 1
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


def test_a_cut_segmentation_is_told_from_another_object(written: Any) -> None:
    path, scan, _ = written
    content = path.read_bytes()
    for kept in (len(content) - 40, len(content) // 2):
        path.write_bytes(content[:kept])
        assert refused(read_seg, path, scan.geometry).code is Reason.PIXEL_DATA_TRUNCATED


def test_a_segmentation_of_two_series_belongs_to_none(written: Any) -> None:
    path, _, _ = written
    assert refused(referenced_series, edited(path, two_series)).code is Reason.NOT_A_VOLUME
    assert refused(referenced_series, edited(path, drop("ReferencedSeriesSequence"))).code is Reason.META_INVALID


def test_a_label_that_nothing_describes_is_refused_both_ways(scan_of: Callable[..., Any], tmp_path: Path) -> None:
    files, scan = scan_of()
    path = tmp_path / "seg.dcm"
    found = refused(write_seg, path, blobs(), scan.geometry, files, [LIVER], MODEL)
    assert found.code is Reason.LABEL_VALUES
    assert not path.exists()
    write_seg(path, blobs(), scan.geometry, files, [LIVER, SPLEEN], MODEL, form=Form(kind="LABELMAP"))
    edited(path, lambda data: data.SegmentSequence.pop() and None)
    assert refused(read_seg, path, scan.geometry).code is Reason.LABEL_VALUES


def test_sources_that_are_not_the_scan_are_refused(scan_of: Callable[..., Any], write_series: Write) -> None:
    files, scan = scan_of()
    found = refused(seg_bytes, blobs(), scan.geometry, files[1:], [LIVER, SPLEEN], MODEL)
    assert found.code is Reason.GEOMETRY_MISMATCH
    assert "7 sources for the 8 planes" in found.found
    other, _ = scan_of(folder="other", start_mm=(0, 0, 0))
    assert refused(seg_bytes, blobs(), scan.geometry, other, [LIVER, SPLEEN], MODEL).code is Reason.GEOMETRY_MISMATCH
    plain = write_series(np.zeros(SIZE, np.int16), folder="plain", step_mm=(0, 0, 3.1), decimals=8)
    found = refused(seg_bytes, blobs(), scan.geometry, sorted(plain.iterdir()), [LIVER, SPLEEN], MODEL)
    assert found.code is Reason.META_INVALID


def test_dciodvfy_finds_no_error_on_a_bundled_series(series_folder: Path, tmp_path: Path) -> None:
    root, reference = series_folder, "98892001/CT5N"
    scan = read_scan(root, reference)
    assert scan.geometry is not None
    labels = np.zeros(scan.geometry.shape_vox, np.uint8)
    labels[3:9, 2:5, 1:3] = 1
    write_seg(tmp_path / "seg.dcm", labels, scan.geometry, source_files(root, reference), [LIVER], MODEL)
    assert np.array_equal(read_seg(tmp_path / "seg.dcm", scan.geometry)[0], labels)
    assert dciodvfy_errors(tmp_path / "seg.dcm") == []


def test_an_enhanced_source_is_referred_to_frame_by_frame(tmp_path: Path, bundled: Callable[[str], Path]) -> None:
    path = bundled("eCT_Supplemental")
    from medcnn.io.options import Reading

    scan = read_scan(path.parent, path.name, Reading(min_slices=2))
    labels = np.zeros(scan.geometry.shape_vox, np.uint8)
    labels[100:200, 50:80, 1] = 1
    write_seg(tmp_path / "seg.dcm", labels, scan.geometry, [path], [LIVER], MODEL)
    assert np.array_equal(read_seg(tmp_path / "seg.dcm", scan.geometry)[0], labels)
    assert dciodvfy_errors(tmp_path / "seg.dcm") == []
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    (group,) = data.PerFrameFunctionalGroupsSequence
    (source,) = group.DerivationImageSequence[0].SourceImageSequence
    frame = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence[int(source.ReferencedFrameNumber) - 1]
    assert frame.PlanePositionSequence[0].ImagePositionPatient == group.PlanePositionSequence[0].ImagePositionPatient


def test_nobody_is_told_whose_scan_it_is(
    scan_of: Callable[..., Any], recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """highdicom warns of unusual names by quoting them."""

    def unusual(number: int, data: Dataset) -> None:
        identified(number, data)
        data.PatientName = "canary"

    def wrong(number: int, data: Dataset) -> None:
        identified(number, data)
        data.PatientSex, data.PatientBirthDate = "canary", "canary"

    caplog.set_level(0)
    files, scan = scan_of(change=unusual)
    seg_bytes(np.zeros(SIZE, np.uint8), scan.geometry, files, [LIVER], MODEL)
    files, scan = scan_of(change=wrong, folder="wrong")
    content = seg_bytes(blobs(), scan.geometry, files, [LIVER, SPLEEN], MODEL)
    data = pydicom.dcmread(pydicom.filebase.DicomBytesIO(content))
    assert (data.PatientSex, data.PatientBirthDate, data.PatientID) == ("", "", "canary-id")

    def unusable(number: int, data: Dataset) -> None:
        identified(number, data)
        data.PatientID = "canary" * 20

    files, scan = scan_of(change=unusable, folder="unusable")
    assert refused(seg_bytes, blobs(), scan.geometry, files, [LIVER, SPLEEN], MODEL).code is Reason.TAG_INVALID
    assert "anary" not in caplog.text
    assert not [warning for warning in recwarn if "anary" in str(warning.message)]


def test_no_part_of_a_file_is_left_where_the_disk_refuses(
    scan_of: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, scan = scan_of()
    (tmp_path / "out").mkdir()

    def full(_: int) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr("medcnn.whole_file.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_seg(tmp_path / "out" / "seg.dcm", blobs(), scan.geometry, files, [LIVER, SPLEEN], MODEL)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.case("V23")
@pytest.mark.parametrize(
    ("reference", "referred"),
    [
        ("dcm_qa_nih/In/20180918GE/mr_0004#time=3", 15),
        ("dcm_qa_enh/In/Siemens/XA10#time=2", 1),
        ("dcm_qa_enh/In/Philips/IM_0027_fMAP.dcm#image_type=ORIGINAL/PRIMARY/T1/FIELD_MAP", 1),
    ],
)
def test_V23_labels_of_one_volume_of_a_scanners_series(
    medcnn_data: Path, tmp_path: Path, reference: str, referred: int
) -> None:
    """The result refers to the files, and the frames, of the volume that was chosen, and to no other."""
    from highdicom.seg import segread

    root, parsed = medcnn_data / "dicom", Reference.parse(reference)
    scan = read_scan(root, reference)
    labels = np.zeros(scan.geometry.shape_vox, np.uint8)
    labels[5:20, 30:40, 1:4], labels[40:50, 10:13, 3:5] = 1, 2
    path = tmp_path / "seg.dcm"
    sources = source_files(root, reference)
    write_seg(path, labels, scan.geometry, sources, [LIVER, SPLEEN], MODEL, chosen=dict(parsed.chosen))
    assert np.array_equal(read_seg(path, scan.geometry)[0], labels)
    assert dciodvfy_errors(path) == []
    volume = segread(path).get_volume(combine_segments=True)
    for number in (1, 2):
        there = volume.map_indices_to_reference(np.argwhere(volume.array == number).mean(axis=0)[None])[0]
        assert there == pytest.approx(centroid_lps(labels, scan.geometry, number), abs=1e-3)
    data = pydicom.dcmread(path)
    (series,) = data.ReferencedSeriesSequence
    assert len(series.ReferencedInstanceSequence) == referred
    pictured = [
        source
        for group in data.PerFrameFunctionalGroupsSequence
        for source in group.DerivationImageSequence[0].SourceImageSequence
    ]
    assert {source.ReferencedSOPInstanceUID for source in pictured} <= set(scan.identity)
    if "Philips" in reference:
        whole = pydicom.dcmread(sources[0], stop_before_pixels=True)
        for group, source in zip(data.PerFrameFunctionalGroupsSequence, pictured, strict=True):
            frame = whole.PerFrameFunctionalGroupsSequence[int(source.ReferencedFrameNumber) - 1]
            assert "FIELD_MAP" in frame.MRImageFrameTypeSequence[0].FrameType
            there = frame.PlanePositionSequence[0].ImagePositionPatient
            assert group.PlanePositionSequence[0].ImagePositionPatient == there
