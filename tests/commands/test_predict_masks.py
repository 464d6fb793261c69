"""`predict` with a model that segments: masks in the scan's own grid, voxel for voxel, and what is done again."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from folders import asked, digests, table, write_series
from packages import tiny_package, tiny_segmenter_package
from PIL import Image

from medcnn.batch import segment_files
from medcnn.config.errors import ConfigError
from medcnn.errors import Interrupted, NoSpaceError, UserError
from medcnn.inference.mask_rule import MaskRule
from medcnn.io.dicom.seg import read_seg, segments
from medcnn.io.read import read_scan
from medcnn.model_package.segmenter import SegmenterPackage
from medcnn.predict import predict

SHAPE = (13, 9, 11)
TURN = np.array([[0.9396926, 0.1710101, 0.2961981], [0, 0.8660254, -0.5], [-0.3420201, 0.4698463, 0.8137977]])
RAS = np.eye(3)
LPS = np.diag([-1.0, -1.0, 1.0])
PERMUTED = np.array([[0, 0, -1.0], [1, 0, 0], [0, 1, 0]])
ORIENTATIONS = {"RAS": RAS, "LPS": LPS, "permuted": PERMUTED, "oblique": TURN @ LPS, "mirrored": np.diag([-1.0, 1, 1])}
FILE_VALUES = np.array([0, 3, 7], np.uint8)  # of background, rim and core


def truth(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Random labels 0, 1, 2: no turn or shift of them is the same."""
    return np.random.default_rng(seed).integers(0, 3, shape)


def values(labels: np.ndarray, seed: int = 9) -> np.ndarray:
    """What a scan of these labels shows: values that the tiny model tells apart."""
    noise = np.random.default_rng(seed).integers(0, 30, labels.shape)
    return (np.array([40, 130, 215])[labels] + noise).astype(np.uint8)


def affine_of(name: str) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = ORIENTATIONS[name] @ np.diag([1.5, 0.8, 2.25])
    affine[:3, 3] = (-31.0, 12.5, 7.0)
    return affine


def write_scan(path: Path, seed: int = 0, affine: np.ndarray | None = None, **header: Any) -> np.ndarray:
    """Its truth, with the files' values."""
    labels = truth(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values(labels), affine_of("LPS") if affine is None else affine), path)
    return FILE_VALUES[labels]


def others(flags: str) -> str:
    """But for CUT_OFF: random labels reach every edge."""
    return " | ".join(flag for flag in flags.split(" | ") if not flag.startswith("CUT_OFF"))


def mask_of(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_segmenter_package(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    for number, name in enumerate(("a.nii.gz", "ward/b.nii", "ward/deep/c.nii.gz", "d.nii.gz")):
        write_scan(folder / name, number)
    (folder / "notes.txt").write_text("hello")
    return folder


# The scan's own grid


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_masks_equal_the_truth_voxel_for_voxel_in_the_scans_own_place(
    model: Path, tmp_path: Path, orientation: str
) -> None:
    expected = write_scan(tmp_path / "scans" / "hippo_017.nii.gz", 3, affine_of(orientation))
    done = predict(asked(model, tmp_path / "scans", tmp_path / "out"))
    assert done.exit_code == 0
    written = nibabel.load(done.output / "masks" / "hippo_017.nii.gz")
    source = nibabel.load(tmp_path / "scans" / "hippo_017.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), expected)
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_allclose(written.affine, source.affine, atol=1e-5)
    np.testing.assert_allclose(written.header.get_zooms(), source.header.get_zooms(), rtol=1e-6)
    (row,) = table(done.output)
    assert row["mask"] == "masks/hippo_017.nii.gz"
    voxel_ml = 1.5 * 0.8 * 2.25 / 1000
    assert float(row["volume_ml.rim"]) == pytest.approx((expected == 3).sum() * voxel_ml, abs=1e-4)
    assert float(row["volume_ml.core"]) == pytest.approx((expected == 7).sum() * voxel_ml, abs=1e-4)
    assert float(row["expected_dice.rim"]) == pytest.approx(1, abs=1e-3)


def test_tiles_mirrors_and_an_empty_surround_change_nothing(tmp_path: Path) -> None:
    settings = {"patch": (4, 4, 4), "settings": {"mirror_axes": (0, 1, 2)}, "crop": "nonzero", "members": 2}
    model = tiny_segmenter_package(tmp_path / "m", **settings)
    labels = np.zeros((20, 18, 16), int)
    labels[5:14, 3:9, 7:15] = truth(1, (9, 6, 8))
    scan = values(labels)
    scan[:4], scan[:, 12:] = 0, 0
    (tmp_path / "scans").mkdir()
    nibabel.save(nibabel.Nifti1Image(scan, affine_of("permuted")), tmp_path / "scans" / "x.nii.gz")
    out = predict(asked(model, tmp_path / "scans", tmp_path / "out", overlap=0.25)).output
    assert np.array_equal(mask_of(out / "masks" / "x.nii.gz"), FILE_VALUES[labels])


def test_another_spacing_comes_back_in_the_scans_grid(tmp_path: Path) -> None:
    model = tiny_segmenter_package(tmp_path / "m", spacing_mm=(1.0, 1.0, 1.0))
    labels = np.zeros((24, 20, 16), int)
    labels[6:18, 5:15, 4:12] = 1
    (tmp_path / "scans").mkdir()
    affine = np.diag([0.5, -0.8, 1.6, 1])
    nibabel.save(nibabel.Nifti1Image((labels * 110 + 40).astype(np.uint8), affine), tmp_path / "scans" / "x.nii.gz")
    out = predict(asked(model, tmp_path / "scans", tmp_path / "out")).output
    found = nibabel.load(out / "masks" / "x.nii.gz")
    assert found.shape == labels.shape
    np.testing.assert_allclose(found.affine, affine, atol=1e-6)
    mask = np.asarray(found.dataobj) == 3
    overlap = 2 * (mask & (labels == 1)).sum() / (mask.sum() + (labels == 1).sum())
    assert overlap > 0.9
    centre = [np.argwhere(each).mean(axis=0) for each in (mask, labels == 1)]
    np.testing.assert_allclose(centre[0], centre[1], atol=0.6)


def test_a_dicom_series_has_a_mask_and_a_dicom_segmentation(tmp_path: Path) -> None:
    model = tiny_segmenter_package(tmp_path / "m", codes={"rim": "10200004"})
    labels = truth(5, (10, 8, 7))
    series = write_series(tmp_path / "scans" / "exam" / "t1", values(labels), PatientID="canary-id")
    done = predict(asked(model, tmp_path / "scans", tmp_path / "out"))
    assert done.exit_code == 0
    scan = read_scan(series.parent, "t1")
    assert scan.geometry is not None
    expected = FILE_VALUES[(scan.voxels[0] > 100).astype(int) + (scan.voxels[0] > 200)]
    written = nibabel.load(done.output / "masks" / "exam__t1.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), expected)
    np.testing.assert_allclose(written.affine, scan.geometry.affine, atol=1e-5)
    found, _ = read_seg(done.output / "dicom" / "exam__t1_seg.dcm", scan.geometry)
    assert np.array_equal(FILE_VALUES[found], expected)
    described = {
        one.label: (one.code.scheme, one.code.value) for one in segments(done.output / "dicom/exam__t1_seg.dcm")
    }
    assert described == {"rim": ("SCT", "10200004"), "core": ("99MEDCNN", "core")}
    (row,) = table(done.output)
    assert (row["mask"], others(row["flags"])) == ("masks/exam__t1.nii.gz", "")
    texts = [path.read_bytes() for path in done.output.rglob("*") if path.is_file() and path.suffix != ".dcm"]
    assert b"canary" not in b"".join(texts)
    without = predict(asked(model, tmp_path / "scans", tmp_path / "out", dicom_seg="none"))
    assert without.computed == 1
    assert not (without.output / "dicom" / "exam__t1_seg.dcm").exists()


def test_a_series_that_says_too_little_for_dicom_has_its_nifti_and_says_so(model: Path, tmp_path: Path) -> None:
    labels = truth(5, (10, 8, 7))
    write_series(tmp_path / "scans" / "t1", values(labels), StudyInstanceUID=None)
    done = predict(asked(model, tmp_path / "scans", tmp_path / "out"))
    (row,) = table(done.output)
    assert (row["status"], row["mask"]) == ("ok", "masks/t1.nii.gz")
    assert others(row["flags"]).startswith("DICOM: no result in the study. META_INVALID")


def test_pictures_have_pictures_as_masks(tmp_path: Path) -> None:
    model = tiny_segmenter_package(tmp_path / "m", spatial_dims=2)
    labels = truth(2, (17, 23))
    (tmp_path / "scans").mkdir()
    Image.fromarray(values(labels)).save(tmp_path / "scans" / "hand.png")
    done = predict(asked(model, tmp_path / "scans", tmp_path / "out", uncertainty="entropy", probabilities=True))
    mask = Image.open(done.output / "masks" / "hand.png")
    assert mask.mode == "L"
    assert np.array_equal(np.asarray(mask), FILE_VALUES[labels])
    rim = np.asarray(Image.open(done.output / "probabilities" / "hand_rim.png"))
    assert (rim.dtype, rim.shape) == (np.uint16, (17, 23))
    assert np.array_equal(rim > 32768, labels == 1)
    assert np.asarray(Image.open(done.output / "uncertainty" / "hand.png")).shape == (17, 23)
    (row,) = table(done.output)
    assert (row["mask"], row["volume_ml.rim"]) == ("masks/hand.png", "")


# Structures that overlap


def test_nested_regions_share_one_map(tmp_path: Path) -> None:
    rule = MaskRule(("whole", "core"), overlapping=True, values={"whole": (1, 2), "core": (2,)})
    model = tiny_segmenter_package(tmp_path / "m", rule=rule, lines=((1.0, -100.0), (1.0, -200.0)))
    write_scan(tmp_path / "scans" / "x.nii.gz", 4)
    done = predict(asked(model, tmp_path / "scans", tmp_path / "out"))
    assert np.array_equal(mask_of(done.output / "masks" / "x.nii.gz"), truth(4))
    (row,) = table(done.output)
    assert float(row["volume_ml.whole"]) > float(row["volume_ml.core"]) > 0
    assert others(row["flags"]) == ""


def test_a_core_outside_of_the_whole_is_said(tmp_path: Path) -> None:
    rule = MaskRule(("whole", "core"), overlapping=True, values={"whole": (1, 2), "core": (2,)})
    model = tiny_segmenter_package(tmp_path / "m", rule=rule, lines=((-1.0, 100.0), (1.0, -200.0)))
    write_scan(tmp_path / "scans" / "x.nii.gz", 4)
    (row,) = table(predict(asked(model, tmp_path / "scans", tmp_path / "out")).output)
    assert others(row["flags"]).startswith(f"REGIONS: {(truth(4) == 2).sum()} voxels")


def test_structures_that_one_map_cannot_hold_have_a_file_each(tmp_path: Path) -> None:
    rule = MaskRule(("bright", "not dark"), overlapping=True, values={"bright": (), "not dark": ()})
    model = tiny_segmenter_package(tmp_path / "m", rule=rule, lines=((1.0, -200.0), (1.0, -100.0)))
    write_series(tmp_path / "scans" / "s", values(truth(4)))
    write_scan(tmp_path / "scans" / "x.nii.gz", 4)
    done = predict(asked(model, tmp_path / "scans", tmp_path / "out"))
    rows = {row["reference"]: row for row in table(done.output)}
    assert rows["x.nii.gz"]["mask"] == "masks/x_bright.nii.gz | masks/x_not dark.nii.gz"
    assert np.array_equal(mask_of(done.output / "masks" / "x_bright.nii.gz"), truth(4) == 2)
    assert np.array_equal(mask_of(done.output / "masks" / "x_not dark.nii.gz"), truth(4) > 0)
    assert others(rows["s"]["flags"]) == ""
    assert (done.output / "dicom" / "s_bright_seg.dcm").is_file()
    assert (done.output / "dicom" / "s_not dark_seg.dcm").is_file()
    assert predict(asked(model, tmp_path / "scans", tmp_path / "out")).computed == 0


# Maps, pictures, columns


def test_maps_lie_on_the_scans_grid(tmp_path: Path) -> None:
    model = tiny_segmenter_package(tmp_path / "m", steepness=0.02)
    write_scan(tmp_path / "scans" / "x.nii.gz", 1, affine_of("permuted"))
    conf = asked(model, tmp_path / "scans", tmp_path / "out", uncertainty="disagreement", mirror_axes=[0])
    conf.probabilities = True
    out = predict(conf).output
    scan = values(truth(1)).astype(float)
    logits = 0.02 * np.stack([0 * scan, scan - 100, 2 * scan - 300])
    expected = np.exp(logits) / np.exp(logits).sum(axis=0)
    for number, name in ((1, "rim"), (2, "core")):
        found = nibabel.load(out / "probabilities" / f"x_{name}.nii.gz")
        np.testing.assert_allclose(found.get_fdata(), expected[number], atol=2e-4)
        np.testing.assert_allclose(found.affine, affine_of("permuted"), atol=1e-5)
    assert nibabel.load(out / "uncertainty" / "x.nii.gz").shape == SHAPE
    (row,) = table(out)
    assert float(row["disagreement"]) == pytest.approx(0, abs=1e-2)  # a mirror changes no answer of this model
    assert not list(out.rglob(".part-*"))


def test_columns_and_a_picture_per_case(model: Path, scans: Path, tmp_path: Path) -> None:
    done = predict(asked(model, scans, tmp_path / "out", explain="gradcam"))
    rows = table(done.output)
    assert list(rows[0]) == [
        "case_id", "reference", "series", "status", "mask", "volume_ml.rim", "volume_ml.core", "expected_dice.rim",
        "expected_dice.core", "disagreement", "flags", "reason_code", "reason", "seconds", "seconds_read",
        "seconds_compute", "seconds_restore", "seconds_write", "peak_mb",
    ]  # fmt: skip
    assert {row["reference"]: row["mask"] for row in rows} == {
        "a.nii.gz": "masks/a.nii.gz",
        "d.nii.gz": "masks/d.nii.gz",
        "ward/b.nii": "masks/ward__b.nii.gz",
        "ward/deep/c.nii.gz": "masks/ward__deep__c.nii.gz",
    }
    for row in rows:
        parts = [float(row[f"seconds_{part}"]) for part in ("read", "compute", "restore", "write")]
        assert float(row["seconds"]) >= sum(parts) - 0.004
        with Image.open(done.output / "overlays" / f"{row['case_id']}.png") as picture:
            assert (picture.mode, picture.size[0] > 700) == ("RGB", True)


def test_names_that_clash_have_their_case_id_behind(model: Path, tmp_path: Path) -> None:
    expected = {name: write_scan(tmp_path / "scans" / name, n) for n, name in enumerate(("a/x.nii", "a__x.nii.gz"))}
    done = predict(asked(model, tmp_path / "scans", tmp_path / "out"))
    for row in table(done.output):
        assert row["mask"] == f"masks/a__x_{row['case_id']}.nii.gz"
        assert np.array_equal(mask_of(done.output / row["mask"]), expected[row["reference"]])
    (tmp_path / "scans" / "a/x.nii").unlink()
    again = predict(asked(model, tmp_path / "scans", tmp_path / "out"))
    assert (again.computed, table(again.output)[0]["mask"]) == (1, "masks/a__x.nii.gz")
    assert np.array_equal(mask_of(again.output / "masks/a__x.nii.gz"), expected["a__x.nii.gz"])


# What cannot be used


def test_a_wrong_modality_gets_no_mask_and_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_segmenter_package(tmp_path / "m", modality=("CT",))
    write_series(tmp_path / "scans" / "t1", values(truth(5)))
    monkeypatch.setattr(SegmenterPackage, "segment", None)  # and nothing is computed
    done = predict(asked(model, tmp_path / "scans", tmp_path / "out", explain="gradcam"))
    (row,) = table(done.output)
    assert (done.exit_code, row["status"], row["mask"], row["volume_ml.rim"]) == (0, "ok", "", "")
    assert row["reason"] == "MODALITY: this scan says MR, the model knows CT"
    assert not (done.output / "masks").exists()


def test_scans_of_the_other_kind_and_broken_ones_are_rejected(model: Path, scans: Path, tmp_path: Path) -> None:
    Image.fromarray(values(truth(0, (8, 8)))).save(scans / "hand.png")
    (scans / "broken.nii").write_bytes(b"no volume")
    done = predict(asked(model, scans, tmp_path / "out"))
    assert done.exit_code == 8
    found = {row.reference: row.reason_code for row in done.rows if row.status == "rejected"}
    assert found == {"hand.png": "GEOMETRY_MISMATCH", "broken.nii": "NOT_NIFTI"}


@pytest.mark.case("N05")
def test_a_volume_of_unknown_orientation_gets_no_mask(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "scans" / "a.nii.gz"
    write_scan(path)
    image = nibabel.load(path)
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    image.header["qform_code"] = image.header["sform_code"] = 0
    nibabel.save(image, path)
    done = predict(asked(model, tmp_path / "scans", tmp_path / "out"))
    assert [(row.status, row.reason_code) for row in done.rows] == [("rejected", "ORIENTATION_UNKNOWN")]
    assert not (done.output / "masks").exists() or not list((done.output / "masks").iterdir())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "MEMORY"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "MEMORY"),
        (UserError("the device's memory is too small for one tile"), "MEMORY"),
        (ZeroDivisionError("SECRET NAME"), "INTERNAL"),
    ],
)
def test_a_case_that_breaks_fails_alone_and_is_tried_again(
    model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    real, done_so_far = SegmenterPackage.segment, []

    def breaks(self: SegmenterPackage, *arguments: Any, **facts: Any) -> object:
        done_so_far.append(1)
        if len(done_so_far) == 2:
            raise error
        return real(self, *arguments, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(SegmenterPackage, "segment", breaks)
        done = predict(asked(model, scans, tmp_path / "out"))
    assert done.exit_code == 8
    assert [(row.reference, row.reason_code) for row in done.rows if row.status == "failed"] == [("d.nii.gz", code)]
    assert len(list((done.output / "masks").iterdir())) == 3
    assert "SECRET" not in (done.output / "ledger.jsonl").read_text()
    again = predict(asked(model, scans, tmp_path / "out"))
    assert (again.computed, again.exit_code) == (1, 0)


def test_a_picture_or_map_that_breaks_leaves_no_mask_behind(
    model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(segment_files.ProbabilityMaps, "write", breaks)
    done = predict(asked(model, scans / "a.nii.gz", tmp_path / "out", explain="gradcam", probabilities=True))
    assert (done.exit_code, done.rows[0].reason_code, list(done.rows[0].files)) == (
        9,
        "MEMORY",
        ["cases/a/result.json"],
    )
    assert [
        path for folder in ("masks", "overlays", "probabilities") for path in (done.output / folder).iterdir()
    ] == []


def test_an_answer_that_is_not_a_number_is_no_empty_mask(scans: Path, tmp_path: Path) -> None:
    model = tiny_segmenter_package(tmp_path / "m", steepness=float("nan"))
    done = predict(asked(model, scans, tmp_path / "out"))
    assert done.exit_code == 9
    assert {(row.status, row.found) for row in done.rows} == {("failed", "the network's answer is not a finite number")}
    assert not (done.output / "masks").exists()


def test_settings_that_do_not_fit_the_model_are_said(model: Path, scans: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"inference\.mirror_axes: \(5,\)"):
        predict(asked(model, scans, tmp_path / "out", mirror_axes=[5]))


# Again, and interrupted


def test_a_second_run_does_nothing_and_only_what_is_damaged_or_changed_is_done_again(
    model: Path, scans: Path, tmp_path: Path
) -> None:
    def run() -> Any:
        return predict(asked(model, scans, tmp_path / "out", explain="gradcam", batch_memory_mb=64 + len(runs)))

    runs: list[Any] = []
    out = run().output
    before = digests(out)
    runs.append(run())
    assert (runs[-1].computed, digests(out)) == (0, before)

    (out / "masks" / "a.nii.gz").write_bytes((out / "masks" / "a.nii.gz").read_bytes()[:-9])
    (out / "masks" / "ward__b.nii.gz").unlink()
    next((out / "overlays").iterdir()).write_bytes(b"")
    runs.append(run())
    assert runs[-1].computed in (2, 3)  # the picture may be of one of the two
    assert {name: digest for name, digest in digests(out).items() if name.startswith(("masks", "overlays"))} == {
        name: digest for name, digest in before.items() if name.startswith(("masks", "overlays"))
    }

    expected = write_scan(scans / "d.nii.gz", 77)
    runs.append(run())
    assert runs[-1].computed == 1
    assert np.array_equal(mask_of(out / "masks" / "d.nii.gz"), expected)
    assert run().computed == 0


def test_a_scan_that_cannot_be_used_any_more_loses_its_mask(model: Path, scans: Path, tmp_path: Path) -> None:
    out = predict(asked(model, scans, tmp_path / "out", explain="gradcam")).output
    (scans / "a.nii.gz").write_bytes((scans / "a.nii.gz").read_bytes()[:200])
    done = predict(asked(model, scans, tmp_path / "out", explain="gradcam"))
    assert (done.computed, done.exit_code) == (1, 8)
    assert sorted(path.name for path in (out / "masks").iterdir()) == [
        "d.nii.gz", "ward__b.nii.gz", "ward__deep__c.nii.gz",
    ]  # fmt: skip
    assert len(list((out / "overlays").iterdir())) == 3


def test_another_model_takes_the_first_ones_masks_away(model: Path, scans: Path, tmp_path: Path) -> None:
    out = predict(asked(model, scans, tmp_path / "out", probabilities=True)).output
    other = tiny_segmenter_package(tmp_path / "other", lines=((0.0, 0.0), (1.0, -200.0), (0.0, -9.0)))
    done = predict(asked(other, scans / "a.nii.gz", tmp_path / "out"))
    assert [path.name for path in (out / "masks").iterdir()] == ["a.nii.gz"]
    assert list((out / "probabilities").iterdir()) == []
    assert np.array_equal(mask_of(out / "masks" / "a.nii.gz"), 3 * (truth(0) == 2))
    classifier = tiny_package(tmp_path / "classifier", size_px=(16, 16, 16))
    done = predict(asked(classifier, scans, tmp_path / "out"))
    assert (done.computed, list((out / "masks").iterdir())) == (4, [])


def test_a_ledger_that_was_tampered_with_deletes_nothing_elsewhere(model: Path, scans: Path, tmp_path: Path) -> None:
    out = predict(asked(model, scans, tmp_path / "out")).output
    precious = tmp_path / "precious.txt"
    precious.write_text("here")
    lines = []
    for line in (out / "ledger.jsonl").read_text().splitlines():
        row = json.loads(line)
        outside = {name: "0" for name in ("../precious.txt", "masks/../../precious.txt", str(precious), ".lock")}
        lines.append(json.dumps({**row, "files": outside, "model": "other"}))
    (out / "ledger.jsonl").write_text("\n".join(lines) + "\n")
    assert predict(asked(model, scans, tmp_path / "out")).computed == 4
    assert precious.read_text() == "here"


def test_sigterm_ends_after_the_cases_in_hand_and_the_next_run_finishes(
    model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, done = SegmenterPackage.segment, []

    def interrupted(self: SegmenterPackage, *arguments: Any, **facts: Any) -> object:
        done.append(1)
        if len(done) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, *arguments, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(SegmenterPackage, "segment", interrupted)
        with pytest.raises(Interrupted) as stop:
            predict(asked(model, scans, tmp_path / "out"))
    assert stop.value.exit_code == 143
    masks = list((tmp_path / "out" / "masks").iterdir())
    assert 2 <= len(masks) == len(table(tmp_path / "out")) <= 3  # the one after it was being read
    assert predict(asked(model, scans, tmp_path / "out")).computed == 4 - len(masks)


def test_a_full_disk_stops_with_28_and_keeps_what_is_done(
    model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = segment_files.write_masks, []

    def full(*arguments: Any) -> object:
        written.append(1)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(segment_files, "write_masks", full)
        with pytest.raises(NoSpaceError) as stop:
            predict(asked(model, scans, tmp_path / "out"))
    assert stop.value.exit_code == 28
    assert len(table(tmp_path / "out")) == 2
    assert predict(asked(model, scans, tmp_path / "out")).computed == 2


def test_everything_it_writes_is_private_and_the_input_stays(model: Path, scans: Path, tmp_path: Path) -> None:
    before, umask = digests(scans), os.umask(0o000)
    try:
        conf = asked(model, scans, tmp_path / "out", explain="gradcam", probabilities=True, uncertainty="entropy")
        out = predict(conf).output
    finally:
        os.umask(umask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [out, *out.rglob("*")]}
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}
    assert digests(scans) == before


def test_an_input_within_the_results_is_refused(model: Path, scans: Path, tmp_path: Path) -> None:
    out = predict(asked(model, scans, tmp_path / "out")).output
    with pytest.raises(ConfigError, match="lies in the output"):
        predict(asked(model, out / "masks", tmp_path / "out"))


def test_the_summary_counts_masks(model: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nibabel.save(
        nibabel.Nifti1Image(np.full((8, 8, 8), 10, np.uint8) + np.eye(8, dtype=np.uint8), np.eye(4)), scans / "dark.nii"
    )
    predict(asked(model, scans, tmp_path / "out"))
    said = capsys.readouterr().out
    assert "masks: written 4, empty 1" in said
    assert f"page     {tmp_path / 'out' / 'index.html'}" in said


def test_a_whole_study_in_real_orientations(model: Path, medcnn_data: Path, tmp_path: Path) -> None:
    """The geometry of masks of real scans is that of their files."""
    sources = sorted((medcnn_data / "hippocampus" / "imagesTr").glob("*.nii.gz"))[:2]
    (tmp_path / "scans").mkdir()
    for source in sources:
        shutil.copy(source, tmp_path / "scans")
    done = predict(asked(model, tmp_path / "scans", tmp_path / "out"))
    assert done.exit_code == 0
    for source in sources:
        one, other = nibabel.load(source), nibabel.load(done.output / "masks" / source.name)
        assert one.shape == other.shape
        np.testing.assert_allclose(one.affine, other.affine, atol=1e-5)


def test_the_picture_shows_the_mask_where_the_scan_shows_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, drawn = segment_files.outlines_page, []

    def seen(view: Any, labels: Any, *others: Any) -> object:
        drawn.append((view, np.array(labels)))
        return real(view, labels, *others)

    monkeypatch.setattr(segment_files, "outlines_page", seen)
    write_scan(tmp_path / "scans" / "x.nii.gz", 3, affine_of("permuted"))
    predict(asked(model, tmp_path / "scans", tmp_path / "out", explain="gradcam"))
    ((view, labels),) = drawn
    assert view.grey.shape == labels.shape[1:] == (11, 13, 9)
    means = [view.grey[labels[0] == number].mean() for number in range(3)]
    assert means[0] < 60 < 90 < means[1] < 140 < 200 < means[2]
    assert view.edges_mm == pytest.approx((2.25, 1.5, 0.8))
