"""What other libraries see in the results: masks on the source slices, voxel for voxel; references that resolve."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from studies import CODES, FILE_VALUES, JAPANESE, LATIN, PLACES, STRUCTURES, Answered

VOLUMES = [*PLACES, "latin", "japanese", "sparse"]
OF_THE_STUDY = (
    "StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime",
)  # fmt: skip
NOTICE = "research use only"


def positions_lps(data: Dataset) -> np.ndarray:
    """(rows, columns, 3) mm: the centre of each pixel, PS3.3 C.7.6.2.1.1."""
    along_row, along_column = np.array(data.ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, data.PixelSpacing)
    row, column = np.mgrid[: data.Rows, : data.Columns][..., None]
    start = np.array(data.ImagePositionPatient, float)
    return start + column * between_columns * along_row + row * between_rows * along_column


def items(data: Dataset, keyword: str) -> Iterator[Dataset]:
    """Every item of the sequences of this name, at any depth."""
    for element in data.iterall():
        if element.keyword == keyword and element.VR == "SQ":
            yield from element.value


# Masks


@pytest.mark.parametrize("name", VOLUMES)
def test_highdicom_reads_each_source_slices_mask(segmented: Answered, name: str) -> None:
    from highdicom.seg import segread

    study = segmented.studies[name]
    seg = segread(segmented.output / "dicom" / f"{name}_seg.dcm")
    number = {seg.get_segment_description(n).segment_label: n for n in seg.segment_numbers}
    assert number == {"rim": 1, "core": 2}
    planes = seg.get_pixels_by_source_instance(
        list(study.files), combine_segments=True, assert_missing_frames_are_empty=True
    )
    for uid, plane in zip(study.files, planes, strict=True):
        assert np.array_equal(plane, study.labels[uid])


@pytest.mark.parametrize("name", VOLUMES)
def test_highdicoms_volume_lies_where_the_source_slices_lie(segmented: Answered, name: str) -> None:
    """By positions alone, without the references to source slices."""
    from highdicom.seg import segread

    study = segmented.studies[name]
    volume = segread(segmented.output / "dicom" / f"{name}_seg.dcm").get_volume(combine_segments=True)
    counted = 0
    for uid, path in study.files.items():
        where = positions_lps(pydicom.dcmread(path)).reshape(-1, 3)
        index = volume.map_reference_to_indices(where)
        assert np.abs(index - index.round()).max() < 1e-3
        found = volume.array[tuple(index.round().astype(int).T)].reshape(study.labels[uid].shape)
        assert np.array_equal(found, study.labels[uid])
        counted += found.size
    assert counted == volume.array.size


@pytest.mark.parametrize("name", VOLUMES)
def test_simpleitk_finds_the_nifti_mask_where_the_source_slices_lie(segmented: Answered, name: str) -> None:
    import SimpleITK

    study = segmented.studies[name]
    mask = SimpleITK.ReadImage(str(segmented.output / "masks" / f"{name}.nii.gz"))
    voxels = SimpleITK.GetArrayFromImage(mask).T
    for uid, path in study.files.items():
        where = positions_lps(pydicom.dcmread(path))
        index = [mask.TransformPhysicalPointToContinuousIndex(point) for point in where.reshape(-1, 3).tolist()]
        assert np.abs(np.array(index) - np.round(index)).max() < 1e-3
        found = voxels[tuple(np.round(index).astype(int).T)].reshape(study.labels[uid].shape)
        assert np.array_equal(found, FILE_VALUES[study.labels[uid]])


@pytest.mark.parametrize("name", VOLUMES)
def test_simpleitk_lays_the_dicom_mask_over_the_series(segmented: Answered, name: str, tmp_path: Path) -> None:
    """Its own reading of the series, and of the mask's NIfTI, are one grid; highdicom's mask fits both."""
    import SimpleITK
    from highdicom.seg import segread

    study = segmented.studies[name]
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(study.folder)))
    series = reader.Execute()
    volume = segread(segmented.output / "dicom" / f"{name}_seg.dcm").get_volume(combine_segments=True)
    image = SimpleITK.GetImageFromArray(volume.array.T.astype(np.uint8))
    image.SetOrigin(volume.position)
    image.SetSpacing(volume.spacing)
    image.SetDirection(volume.direction.flatten().tolist())
    laid = SimpleITK.Resample(image, series, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, 99)
    grey = SimpleITK.GetArrayFromImage(series)
    expected = (grey > 100).astype(int) + (grey > 200)
    assert np.array_equal(SimpleITK.GetArrayFromImage(laid), expected)


def test_segments_say_what_they_are(segmented: Answered) -> None:
    for path in segmented.objects("seg"):
        seg = pydicom.dcmread(path)
        coded = {item.SegmentLabel: item.SegmentedPropertyTypeCodeSequence[0] for item in seg.SegmentSequence}
        assert set(coded) == set(STRUCTURES)
        assert (coded["rim"].CodingSchemeDesignator, coded["rim"].CodeValue) == ("SCT", CODES["rim"])
        assert coded["core"].CodingSchemeDesignator == "99MEDCNN"
        for item in seg.SegmentSequence:
            assert item.SegmentAlgorithmType == "AUTOMATIC"
            assert item.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName


# Whatever is written


def test_every_dicom_input_has_its_objects(segmented: Answered, classified: Answered) -> None:
    for name in segmented.studies:
        assert segmented.objects("seg", name), name
        assert segmented.objects("sr", name), name
        assert segmented.objects("sc", name), name
    for name in classified.studies:
        assert classified.objects("sr", name), name
        assert classified.objects("sc", name), name


def test_results_carry_what_their_study_says(answered: Answered) -> None:
    for name, study in answered.studies.items():
        source, paths = study.first, answered.of_case(name)
        assert paths
        for path in paths:
            result = pydicom.dcmread(path)
            for keyword in OF_THE_STUDY:
                assert (result.get(keyword) or "") == (source.get(keyword) or ""), (path.name, keyword)
            assert result.SeriesInstanceUID != source.SeriesInstanceUID
            assert result.get("BurnedInAnnotation", "NO") in ("NO", "YES")


@pytest.mark.parametrize(("name", "said"), [("latin", LATIN), ("japanese", JAPANESE)])
def test_names_beyond_ascii_are_written_in_a_character_set_that_holds_them(
    answered: Answered, name: str, said: dict[str, str]
) -> None:
    for path in answered.of_case(name):
        result = pydicom.dcmread(path)
        assert str(result.PatientName) == said["PatientName"]
        assert result.PatientID == said["PatientID"]
        assert result.SpecificCharacterSet


def test_results_say_what_made_them_and_for_what(answered: Answered) -> None:
    for path in sorted((answered.output / "dicom").glob("*.dcm")):
        result = pydicom.dcmread(path)
        said = " ".join(str(element.value) for element in result.iterall() if element.VR not in ("OB", "OW", "SQ"))
        assert NOTICE in said.lower(), path.name
        assert "medcnn" in said
        assert digest_of(answered) in said, path.name


def digest_of(answered: Answered) -> str:
    """The model's, as the ledger says it."""
    import json

    return str(json.loads((answered.output / "ledger.jsonl").read_text().splitlines()[0])["model"])


def test_references_resolve_to_the_scan_and_to_its_results(answered: Answered) -> None:
    for name, study in answered.studies.items():
        paths = answered.of_case(name)
        known = {str(data.SOPInstanceUID): data for data in map(pydicom.dcmread, [*study.files.values(), *paths])}
        for path in paths:
            result = known[str(pydicom.dcmread(path).SOPInstanceUID)]
            references = list(referenced(result))
            assert references, path.name
            for reference in references:
                assert reference.ReferencedSOPInstanceUID in known, path.name
                target = known[reference.ReferencedSOPInstanceUID]
                assert reference.ReferencedSOPClassUID == target.SOPClassUID
            assert result.SOPInstanceUID not in {one.ReferencedSOPInstanceUID for one in references}


def referenced(data: Dataset) -> Iterator[Dataset]:
    """Every item, at any depth, that names an instance."""
    for element in data.iterall():
        if element.VR == "SQ":
            yield from (item for item in element.value if "ReferencedSOPInstanceUID" in item)


@pytest.mark.parametrize("name", VOLUMES)
def test_a_report_of_a_volume_names_its_segmentation_and_lists_its_evidence(segmented: Answered, name: str) -> None:
    report = pydicom.dcmread(segmented.output / "dicom" / f"{name}_sr.dcm")
    seg = pydicom.dcmread(segmented.output / "dicom" / f"{name}_seg.dcm")
    in_content = {item.ReferencedSOPInstanceUID for node in report.ContentSequence for item in referenced(node)}
    assert seg.SOPInstanceUID in in_content
    listed = {
        (study.StudyInstanceUID, series.SeriesInstanceUID, item.ReferencedSOPInstanceUID)
        for study in items(report, "CurrentRequestedProcedureEvidenceSequence")
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert (seg.StudyInstanceUID, seg.SeriesInstanceUID, seg.SOPInstanceUID) in listed
    assert in_content <= {instance for _, _, instance in listed}
    series = {str(segmented.studies[name].first.SeriesInstanceUID), str(seg.SeriesInstanceUID)}
    assert {one for _, one, _ in listed} <= series


def test_a_reports_volumes_are_those_of_the_masks(segmented: Answered) -> None:
    """Of each structure in ml, from the DICOM slices' own counts and spacing."""
    for name, study in segmented.studies.items():
        report = pydicom.dcmread(segmented.output / "dicom" / f"{name}_sr.dcm")
        labels = np.stack(list(study.labels.values()))
        voxel_ml = 1.5 * 0.75 * 2.25 / 1000
        expected = {structure: float((labels == n).sum() * voxel_ml) for n, structure in enumerate(STRUCTURES, start=1)}
        said = [
            (float(item.NumericValue), item.MeasurementUnitsCodeSequence[0].CodeValue)
            for item in items(report, "MeasuredValueSequence")
        ]
        in_ml = sorted(value / {"ml": 1, "mL": 1, "cm3": 1, "mm3": 1000}[unit] for value, unit in said if "m" in unit)
        for value in expected.values():
            assert any(abs(value - other) <= 1e-3 for other in in_ml), (name, expected, said)


def test_uids_are_all_different_and_valid(answered: Answered) -> None:
    paths = sorted((answered.output / "dicom").glob("*.dcm"))
    instances = [pydicom.dcmread(path).SOPInstanceUID for path in paths]
    series = [pydicom.dcmread(path).SeriesInstanceUID for path in paths]
    assert len(set(instances)) == len(set(series)) == len(paths)
    assert all(uid.is_valid and len(uid) <= 64 for uid in [*instances, *series])


@pytest.mark.parametrize("kind", ["seg", "sr"])
def test_predicted_again_elsewhere_they_are_the_same_bytes(
    segmented: Answered, classified: Answered, kind: str
) -> None:
    assert differing(segmented, kind) + differing(classified, kind) == []


def test_pictures_too_whatever_key_names_the_cases(answered: Answered) -> None:
    """A case's keyed name is another in each results folder: it must not make another object of the same picture."""
    assert differing(answered, "sc") == []


def differing(answered: Answered, kind: str) -> list[str]:
    """Names of objects that are not the same bytes, or not there, in the other results."""
    paths = answered.objects(kind)
    again = {path.name: path.read_bytes() for path in (answered.again / "dicom").glob(f"*_{kind}.dcm")}
    assert len(again) == len(paths)
    return [path.name for path in paths if path.read_bytes() != again.get(path.name)]
