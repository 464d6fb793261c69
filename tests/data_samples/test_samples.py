import csv
import json
from collections import Counter, defaultdict
from functools import cache
from itertools import pairwise
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from brain_mri import STRUCTURES, volume
from chest_disease import VISIBLE_SHARE
from chest_xray import phantom
from cohort import SPLIT_TURNS, splits, visits
from dicom_files import write_series, write_xray
from make_samples import MRI_VOLUMES, XRAY_IMAGES, mri_row, xray_row
from PIL import Image
from plain_files import write_manifest, write_nifti, write_png
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SAMPLES = Path(__file__).parents[2] / "data_samples"
KINDS = ("xray", "mri")


@cache
def manifest(kind):
    with (SAMPLES / kind / "manifest.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@cache
def image_header(case):
    return pydicom.dcmread(SAMPLES / "xray" / case, stop_before_pixels=True)


@cache
def population():
    return [phantom(i) for i in range(1, 601)]


def files_of(path):
    return sorted(path.rglob("*.dcm")) if path.is_dir() else [path]


def ras_affine_by_itk(folder):
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ lps, SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)


def test_all_samples_together_stay_below_six_megabytes():
    assert (
        1e6 < sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file() and path.suffix != ".pyc") < 6e6
    )


@pytest.mark.parametrize(("kind", "count"), [("xray", XRAY_IMAGES), ("mri", MRI_VOLUMES)])
def test_every_file_named_in_the_manifest_exists_and_no_other(kind, count):
    rows = manifest(kind)
    assert len(rows) == len({row["case_id"] for row in rows}) == count
    named = {path for row in rows for key in ("image", "mask") for path in files_of(SAMPLES / kind / row[key])}
    there = {path for path in (SAMPLES / kind).rglob("*") if path.is_file() and path.suffix in (".dcm", ".png", ".gz")}
    assert named == there


@pytest.mark.parametrize("kind", KINDS)
def test_a_patient_is_in_one_split_and_each_split_has_both_classes(kind):
    split_of, classes = defaultdict(set), defaultdict(set)
    for row in manifest(kind):
        split_of[row["patient_id"]].add(row["split"])
        classes[row["split"]].add(row["label"])
    assert all(len(found) == 1 for found in split_of.values())
    assert set(classes) == {"train", "val", "calib", "test"}
    assert all(len(found) == 2 for found in classes.values())


def test_splits_follow_the_promised_shares_and_do_not_move_as_images_are_added():
    assert Counter(SPLIT_TURNS) == {"train": 12, "val": 3, "calib": 2, "test": 3}
    few, many = splits("xray", 120), splits("xray", 600)
    assert few == {patient: many[patient] for patient in few}


def test_the_last_committed_xray_is_its_patients_last():
    committed = {visit.patient.number for visit in visits("xray", XRAY_IMAGES)}
    assert committed.isdisjoint(visit.patient.number for visit in list(visits("xray", 600))[XRAY_IMAGES:])


def test_the_manifests_are_regenerated_line_by_line(tmp_path):
    split_of = splits("xray", XRAY_IMAGES)
    rows = [xray_row(p, split_of[p.visit.patient.patient_id]) for p in population()[:XRAY_IMAGES]]
    write_manifest(rows, tmp_path / "xray.csv")
    assert (tmp_path / "xray.csv").read_bytes() == (SAMPLES / "xray" / "manifest.csv").read_bytes()


def test_the_mri_manifest_is_regenerated():
    split_of = splits("mri", MRI_VOLUMES)
    for visit, row in zip(visits("mri", MRI_VOLUMES), manifest("mri"), strict=True):
        assert row["label"] == ("normal", "atrophy")[visit.is_sick]
        assert row["split"] == split_of[row["patient_id"]]
        assert row["patient_id"] == visit.patient.patient_id
    for number in (1, 2, 7):
        scan = volume(number)
        assert manifest("mri")[number - 1] == mri_row(scan, split_of[scan.visit.patient.patient_id])


@pytest.mark.parametrize("number", [*range(1, 20), XRAY_IMAGES])
def test_a_regenerated_xray_is_the_committed_one(number, tmp_path):
    image, row = phantom(number), manifest("xray")[number - 1]
    write_xray(image, tmp_path / "image.dcm")
    write_png(image.mask, tmp_path / "mask.png")
    new, old = (pydicom.dcmread(path) for path in (tmp_path / "image.dcm", SAMPLES / "xray" / row["image"]))
    difference = new.pixel_array.astype(int) - old.pixel_array.astype(int)
    assert np.abs(difference).max() <= 1
    np.testing.assert_array_equal(old.pixel_array, pydicom.dcmread(tmp_path / "image.dcm").pixel_array + -difference)
    for dataset in (new, old):
        del dataset.PixelData
    assert new == old
    np.testing.assert_array_equal(
        *(np.asarray(Image.open(path)) for path in (tmp_path / "mask.png", SAMPLES / "xray" / row["mask"]))
    )


@pytest.mark.parametrize("number", [1, 2, 3, 73])
def test_a_regenerated_volume_is_the_committed_one(number, tmp_path):
    scan, row = volume(number), manifest("mri")[number - 1]
    write_nifti(scan.mask, scan.affine, tmp_path / "mask.nii.gz")
    old_mask = nib.load(SAMPLES / "mri" / row["mask"])
    np.testing.assert_array_equal(nib.load(tmp_path / "mask.nii.gz").get_fdata(), old_mask.get_fdata())
    if scan.form == "nifti":
        old = nib.load(SAMPLES / "mri" / row["image"])
        assert np.abs(np.asarray(old.dataobj, dtype=int) - scan.voxels).max() <= 1
        np.testing.assert_allclose(old.affine, scan.affine, atol=1e-4)


def test_writing_twice_gives_the_same_bytes(tmp_path):
    image, series = phantom(5), next(volume(i) for i in range(1, 20) if volume(i).form == "dicom")
    for name in ("a", "b"):
        write_xray(image, tmp_path / name / "x.dcm")
        write_png(image.mask, tmp_path / name / "x.png")
        write_nifti(series.mask, series.affine, tmp_path / name / "x.nii.gz")
        write_series(series, tmp_path / name / "series")
    first = sorted(path for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(first) > 15
    for path in first:
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_an_image_does_not_depend_on_those_made_before_it():
    np.testing.assert_array_equal(phantom(17).pixels, population()[16].pixels)


def test_stored_pixels_decode_to_what_was_drawn():
    for row, image in list(zip(manifest("xray"), population(), strict=False))[::9]:
        dataset = pydicom.dcmread(SAMPLES / "xray" / row["image"])
        assert np.abs(dataset.pixel_array.astype(int) - image.pixels).max() <= 1
        assert image.pixels.max() < 2**dataset.BitsStored


def test_the_xrays_differ_as_archives_do():
    headers = [image_header(row["image"]) for row in manifest("xray")]
    seen = {
        key: Counter(str(header.get(key)) for header in headers)
        for key in ("SOPClassUID", "PhotometricInterpretation", "BitsStored", "ViewPosition", "RescaleSlope")
    }
    assert seen["SOPClassUID"].keys() == {"1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"}
    assert seen["PhotometricInterpretation"].keys() == {"MONOCHROME1", "MONOCHROME2"}
    assert seen["BitsStored"].keys() == {"10", "12", "13", "14", "16"}
    assert seen["ViewPosition"].keys() == {"PA", "LL"}
    assert len(seen["RescaleSlope"]) >= 4
    assert len({header.file_meta.TransferSyntaxUID for header in headers}) == 4
    spacing = Counter(("PixelSpacing" in header, "ImagerPixelSpacing" in header) for header in headers)
    assert spacing.keys() == {(True, False), (False, True), (True, True)}
    assert min(spacing.values()) >= 10
    assert sum(header.Rows != header.Columns for header in headers) > len(headers) / 2
    assert {1, 2, 3, 4} == set(Counter(header.PatientID for header in headers).values())


def test_the_headers_say_chest_synthetic_and_nothing_burned_in():
    for row in manifest("xray"):
        header = image_header(row["image"])
        assert (header.BodyPartExamined, header.BurnedInAnnotation) == ("CHEST", "NO")
        assert header.PatientID == row["patient_id"]
        assert header.PatientID.startswith("SYN-")
        assert str(header.PatientName).startswith("Phantom^")
    uids = [image_header(row["image"]).SOPInstanceUID for row in manifest("xray")]
    assert len(set(uids)) == len(uids)


def test_both_spacings_describe_one_field_of_view():
    for row in manifest("xray"):
        header = image_header(row["image"])
        if "PixelSpacing" in header and "ImagerPixelSpacing" in header:
            ratio = float(header.ImagerPixelSpacing[0]) / float(header.PixelSpacing[0])
            assert ratio == pytest.approx(float(header.EstimatedRadiographicMagnificationFactor), abs=1e-4)
        spacing_mm = float(header.get("PixelSpacing", header.get("ImagerPixelSpacing"))[0])
        assert 290 < spacing_mm * header.Columns < 500


def test_lung_masks_lie_on_the_grid_of_their_image_and_are_darker_than_the_rest_of_the_body():
    darker = 0
    for row, image in zip(manifest("xray"), population(), strict=False):
        header, mask = image_header(row["image"]), np.asarray(Image.open(SAMPLES / "xray" / row["mask"]))
        assert mask.shape == (header.Rows, header.Columns)
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 1}
        assert 0.05 < mask.mean() < 0.6
        middle = image.dense_bright()[
            mask.shape[0] // 4 : -mask.shape[0] // 8, mask.shape[1] // 5 : -mask.shape[1] // 5
        ]
        darker += image.dense_bright()[mask == 1].mean() < middle.mean()
    assert darker > 0.98 * XRAY_IMAGES


def test_boxes_hold_the_opacities_and_only_the_sick_have_any():
    for row, image in zip(manifest("xray"), population(), strict=False):
        boxes = json.loads(row["boxes"])
        assert bool(boxes) == (row["label"] == "opacity") == bool(image.opacity.max() > 0)
        covered = np.zeros(image.opacity.shape, dtype=bool)
        for entry in boxes:
            x0, y0, x1, y1 = entry["box"]
            assert entry["class"] == "opacity"
            assert 0 <= x0 < x1 <= image.header.columns
            assert 0 <= y0 < y1 <= image.header.rows
            inside = image.opacity[y0:y1, x0:x1]
            assert inside.max() > 0.1
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.max() > 0.3 * VISIBLE_SHARE * inside.max()  # tight: each edge touches it
            assert (image.mask[y0:y1, x0:x1] == 1).any()
            covered[y0:y1, x0:x1] = True
        if boxes:
            assert image.opacity[~covered].max() < 3 * VISIBLE_SHARE * image.opacity.max()
            assert image.opacity[covered].sum() > 0.6 * image.opacity.sum()


def cross_validated_auroc(features):
    """Logistic regression, five folds by patient."""
    truth = [image.label == "opacity" for image in population()]
    patients = [image.visit.patient.number for image in population()]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=5000))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    scores = cross_val_predict(
        model, np.asarray(features, float), truth, groups=patients, cv=folds, method="predict_proba"
    )
    return roc_auc_score(truth, scores[:, 1])


def histogram_features(values):
    return [values.mean(), values.std(), *np.percentile(values, np.linspace(0, 100, 21))]


def robust(values):
    low, high = np.percentile(values, (1, 99))
    return np.clip((values - low) / (high - low), 0, 1)


@pytest.mark.parametrize(
    "scaled",
    [
        lambda image: image.dense_bright() * image.header.slope + image.header.intercept,
        lambda image: image.dense_bright() / (2**image.header.bits - 1),
        lambda image: robust(image.dense_bright().astype(float)),
    ],
    ids=["rescaled", "share-of-range", "robust"],
)
def test_brightness_alone_does_not_tell_the_label(scaled):
    assert cross_validated_auroc([histogram_features(scaled(image)) for image in population()]) < 0.70


def test_the_header_does_not_tell_the_label():
    features = [
        [
            *(image.header.bits == bits for bits in (10, 12, 13, 14, 16)),
            image.header.photometric == "MONOCHROME1",
            image.header.view == "PA",
            image.header.sop_class == "DX",
            *(image.header.spacing_tag == tag for tag in ("PixelSpacing", "ImagerPixelSpacing")),
            image.header.spacing_mm,
            image.header.rows,
            image.header.columns,
            image.header.slope,
            image.header.magnification,
            image.visit.patient.sex == "F",
            image.visit.patient.age,
            image.visit.patient.site == "north",
        ]
        for image in population()
    ]
    assert cross_validated_auroc(features) < 0.60


def test_every_mri_mask_lies_on_its_images_grid_and_its_structures_touch():
    for row in manifest("mri"):
        mask = nib.load(SAMPLES / "mri" / row["mask"])
        labels = np.asarray(mask.dataobj)
        assert labels.dtype == np.uint8
        assert set(np.unique(labels)) == {0, *STRUCTURES}
        touching = sum(
            int(((a == 1) & (b == 2)).sum() + ((a == 2) & (b == 1)).sum())
            for axis in range(3)
            for a, b in [(np.delete(labels, -1, axis), np.delete(labels, 0, axis))]
        )
        assert touching >= 4
        if row["image"].endswith(".nii.gz"):
            image = nib.load(SAMPLES / "mri" / row["image"])
            assert image.shape == mask.shape
            np.testing.assert_array_equal(image.affine, mask.affine)
            assert image.header["sform_code"] == 1
            if image.header["qform_code"]:
                np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=2e-4)


def series_rows():
    return [row for row in manifest("mri") if row["image"].startswith("series/")]


def test_dicom_series_agree_with_simpleitk_and_with_their_masks():
    assert len(series_rows()) >= 10
    assert {"train", "test"} <= {row["split"] for row in series_rows()}
    for row in series_rows():
        affine, voxels = ras_affine_by_itk(SAMPLES / "mri" / row["image"])
        mask = nib.load(SAMPLES / "mri" / row["mask"])
        assert voxels.shape == mask.shape
        np.testing.assert_allclose(affine, mask.affine, atol=1e-3)
        drawn = volume(int(row["case_id"][3:])).voxels
        assert np.abs(voxels.astype(int) - drawn).max() <= 1


def test_dicom_series_agree_with_highdicom():
    for row in series_rows()[:4]:
        datasets = [pydicom.dcmread(path) for path in files_of(SAMPLES / "mri" / row["image"])]
        known = highdicom.image.get_volume_from_series(datasets)
        mask = nib.load(SAMPLES / "mri" / row["mask"])
        ours = np.diag([-1, -1, 1, 1]) @ mask.affine
        # highdicom's axes are (slice, row, column), its slices perhaps from the other end
        corners = {
            tuple(np.round(known.affine @ [k, j, i, 1], 2)[:3])
            for k in (0, mask.shape[2] - 1)
            for j in (0, mask.shape[1] - 1)
            for i in (0, mask.shape[0] - 1)
        }
        assert known.spatial_shape == mask.shape[::-1]
        for i in (0, mask.shape[0] - 1):
            for j in (0, mask.shape[1] - 1):
                for k in (0, mask.shape[2] - 1):
                    position = (ours @ [i, j, k, 1])[:3]
                    assert min(np.linalg.norm(position - corner) for corner in corners) < 0.02


def test_dicom_series_are_oblique_about_two_axes_and_evenly_spaced():
    for row in series_rows():
        datasets = [pydicom.dcmread(path) for path in files_of(SAMPLES / "mri" / row["image"])]
        row_axis, column_axis = np.reshape(np.array(datasets[0].ImageOrientationPatient, float), (2, 3))
        normal = np.cross(row_axis, column_axis)
        assert row_axis @ column_axis == pytest.approx(0, abs=1e-9)
        along = sorted(float(normal @ np.array(each.ImagePositionPatient, float)) for each in datasets)
        steps = [b - a for a, b in pairwise(along)]
        assert max(steps) - min(steps) < 1e-6
        tilts = [np.degrees(np.arcsin(abs(row_axis[2]))), np.degrees(np.arcsin(abs(column_axis[2])))]
        assert min(tilts) > 8
        assert max(tilts) < 31


def test_one_voxel_count_alone_does_not_settle_atrophy():
    truth = [row["label"] == "normal" for row in manifest("mri")]
    for label in STRUCTURES:
        counts = [
            int((np.asarray(nib.load(SAMPLES / "mri" / row["mask"]).dataobj) == label).sum()) for row in manifest("mri")
        ]
        assert 0.6 < roc_auc_score(truth, counts) < 0.95
