"""Training a segmenter as a user does, on volumes small enough to take seconds."""

from __future__ import annotations

import csv
import json
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from tiny_masks import AFFINE, COLUMNS, SIDE, evaluate_conf, train_conf, train_words, volume, write_volumes
from tiny_study import manifest_rows, write_manifest

from medcnn.errors import DataError, UserError
from medcnn.evaluate import evaluate
from medcnn.model_package.opening import load_segmenter
from medcnn.scan import Scan
from medcnn.train import train

STRUCTURES = ("label_1", "label_2")


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_volumes(tmp_path_factory.mktemp("volumes"))


@pytest.fixture(scope="module")
def segmented(volumes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    return train(train_conf(volumes, tmp_path_factory.mktemp("runs"), "trainer.epochs=30"))


def numbers(run: Path) -> Any:
    return json.loads((run / "metrics.json").read_text())


def weights(run: Path) -> str:
    files = sorted((run / "model").glob("weights_*.safetensors"))
    assert files
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def test_a_run_outlines_what_it_was_taught(segmented: Path) -> None:
    found = numbers(segmented)
    assert found["test"]["dice"]["value"] > 0.8
    assert found["test"]["dice"]["low"] <= found["test"]["dice"]["value"] <= found["test"]["dice"]["high"]
    for name in STRUCTURES:
        assert {f"{metric}.{name}" for metric in ("dice", "nsd", "hd95_mm", "assd_mm", "volume_error_ml")} <= set(
            found["val"]
        )
    assert found["training"]["wall_minutes"] > 0


def test_the_folder_holds_everything_and_is_private(segmented: Path) -> None:
    names = {path.name for path in segmented.iterdir()}
    assert {"config.yaml", "manifest.csv", "plan.json", "checkpoints", "model", "metrics.json", "predictions.csv",
            "figures", "report.html", "log.txt"} <= names  # fmt: skip
    assert stat.S_IMODE(segmented.stat().st_mode) == 0o700
    assert {"dice_test.png", "hd95_test.png", "volumes_test.png", "test_gallery.png"} <= {
        path.name for path in (segmented / "figures").iterdir()
    }


def test_what_is_shared_names_no_patient_and_no_path(segmented: Path, volumes: Path) -> None:
    for name in ("report.html", "predictions.csv", "metrics.json", "model/model.json"):
        text = (segmented / name).read_text()
        assert "PAT1" not in text
        assert ".nii" not in text
        assert str(volumes) not in text


def test_the_plan_says_what_and_why(segmented: Path) -> None:
    plan = json.loads((segmented / "plan.json").read_text())
    assert plan["patch_px"] == [16, 16, 16]
    assert plan["spacing_mm"] == [1.5, 1.0, 1.0]
    assert plan["steps"] == 30 * plan["steps_per_epoch"]
    assert {"spacing", "normalisation", "patch", "steps"} <= set(plan["reasons"])
    assert [entry["name"] for entry in plan["fingerprint"]["structures"]] == list(STRUCTURES)


def test_evaluate_finds_the_same_numbers_and_a_fresh_copy_of_the_data_too(
    segmented: Path, volumes: Path, tmp_path: Path
) -> None:
    result = evaluate(evaluate_conf(segmented, volumes, tmp_path / "out", "data.split=test"))
    assert result.estimates["dice"].value == pytest.approx(numbers(segmented)["test"]["dice"]["value"], abs=1e-9)
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").open()))
    assert len(rows) == 2 * 2  # two test cases, two structures
    assert {row["structure"] for row in rows} == set(STRUCTURES)


def test_masks_follow_the_scan_however_its_axes_run(segmented: Path) -> None:
    from medcnn.geometry import Geometry

    package = load_segmenter(segmented)
    image, truth = volume(100)
    straight = package.segment_scan(Scan(image[None], Geometry(AFFINE, image.shape))).segmentation.labels
    assert np.mean(straight[0] == truth) > 0.98
    turned = image.transpose(2, 0, 1)[:, ::-1]
    affine = AFFINE[:, [2, 0, 1, 3]].copy()
    affine[:3, 1] *= -1
    affine[:3, 3] = -affine[:3, 1] * (SIDE - 1)
    found = package.segment_scan(Scan(np.ascontiguousarray(turned)[None], Geometry(affine, turned.shape)))
    assert np.array_equal(found.segmentation.labels[0], straight[0].transpose(2, 0, 1)[:, ::-1])


def test_the_same_seed_trains_the_same_weights_and_a_broken_run_goes_on_to_them(
    volumes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medcnn.tasks.segmentation import SegmentationTask

    whole = train(train_conf(volumes, tmp_path / "a"))
    step, seen = SegmentationTask.training_step, []

    def breaks(task: SegmentationTask, batch: Any, index: int) -> Any:
        seen.append(index)
        if len(seen) == 8:
            raise DataError("a disk went away")
        return step(task, batch, index)

    monkeypatch.setattr(SegmentationTask, "training_step", breaks)
    with pytest.raises(DataError):
        train(train_conf(volumes, tmp_path / "b", "plan.steps=20"))
    monkeypatch.setattr(SegmentationTask, "training_step", step)
    again = train(train_conf(volumes, tmp_path / "b", "plan.steps=20", "resume=auto"))
    assert weights(whole) == weights(again)


def test_folds_are_members_each_held_to_its_own_cases(volumes: Path, tmp_path: Path) -> None:
    run = train(train_conf(volumes, tmp_path, "trainer.folds=2", "trainer.epochs=12"))
    found, package = numbers(run), load_segmenter(run)
    assert len(package.segmenter.networks) == 2
    assert found["cv"]["dice.label_1"]["n"] == 12  # every case of train and val once; test cases stay out
    assert found["test"]["dice.label_1"]["n"] == 2
    assert "val" not in found
    assert "12 cases" in package.description.fitted_on
    assert "Post-processing" in (run / "report.html").read_text()


def test_regions_that_overlap_are_each_a_mask_of_their_own(volumes: Path, tmp_path: Path) -> None:
    run = train(train_conf(volumes, tmp_path, "+data.structures={whole: [1,2], core: [2]}", "trainer.epochs=40"))
    package = load_segmenter(run)
    image, truth = volume(100)
    from medcnn.geometry import Geometry

    labels = package.segment_scan(Scan(image[None], Geometry(AFFINE, image.shape))).segmentation.labels
    assert labels.shape == (2, *image.shape)
    assert np.mean(labels[0] == (truth > 0)) > 0.97
    assert numbers(run)["test"]["dice.whole"]["value"] > 0.7


def test_slices_of_volumes_train_a_network_of_two_dimensions(volumes: Path, tmp_path: Path) -> None:
    run = train(train_conf(volumes, tmp_path, "transforms.slices=axial", "plan.patch_px=[16,16]", "trainer.epochs=12"))
    plan = json.loads((run / "plan.json").read_text())
    assert plan["patch_px"] == [16, 16]
    assert numbers(run)["test"]["dice"]["value"] > 0.3


def test_minutes_become_a_fixed_number_of_steps(volumes: Path, tmp_path: Path) -> None:
    words = ("trainer.max_minutes=0.01", "trainer.epochs=100000", "plan.base_width=0", "plan.min_samples=10")
    run = train(train_conf(volumes, tmp_path, *words))
    plan = json.loads((run / "plan.json").read_text())
    assert plan["budget"] == "max_minutes"
    assert plan["steps"] == 1  # the minutes were over before the first step: imports count
    assert any(row["measured"] for row in plan["throughput"])


# Bad input


def changed(tmp_path: Path, count: int = 14) -> Path:
    return write_volumes(tmp_path / "data", count)


def save_mask(root: Path, number: int, labels: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    nib.save(nib.Nifti1Image(labels, affine), root / "masks" / f"v{number:02d}.nii.gz")


def test_a_mask_on_another_grid_leaves_its_case_out_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = changed(tmp_path)
    save_mask(root, 0, volume(0)[1], np.diag([1.5, 1.0, 1.2, 1.0]))
    run = train(train_conf(root, tmp_path / "runs", "data.max_rejected=0.2", "trainer.epochs=1"))
    assert "GEOMETRY_MISMATCH" in (run / "log.txt").read_text()
    assert "1 scans could not be used" in (run / "log.txt").read_text()


def test_values_that_nobody_named_stop_the_training(tmp_path: Path) -> None:
    root = changed(tmp_path)
    labels = volume(1)[1]
    labels[0, 0, 0] = 9
    save_mask(root, 1, labels)
    with pytest.raises(DataError, match=r"9 \(1 voxels\)"):
        train(train_conf(root, tmp_path / "runs", "+data.structures={dark: [1], bright: [2]}", "data.max_rejected=0.2"))


def test_a_structure_that_no_training_case_has_is_named(tmp_path: Path) -> None:
    root = changed(tmp_path)
    with pytest.raises(UserError, match="rare"):
        train(train_conf(root, tmp_path / "runs", "+data.structures={dark: [1], bright: [2], rare: [3]}"))


def test_empty_masks_are_healthy_cases(tmp_path: Path) -> None:
    root = changed(tmp_path)
    save_mask(root, 2, np.zeros((SIDE,) * 3, np.uint8))
    run = train(train_conf(root, tmp_path / "runs", "trainer.epochs=1"))
    assert "1 cases hold none of the structures" in (run / "log.txt").read_text()


def test_one_case_alone_says_what_is_missing(tmp_path: Path) -> None:
    root = changed(tmp_path)
    write_manifest(root, manifest_rows(root)[:1], COLUMNS)
    with pytest.raises(UserError, match="val"):
        train(train_conf(root, tmp_path / "runs"))


def test_constant_images_are_said_to_say_nothing(tmp_path: Path) -> None:
    root = changed(tmp_path)
    nib.save(nib.Nifti1Image(np.full((SIDE,) * 3, 7.0, np.float32), AFFINE), root / "images" / "v03.nii.gz")
    run = train(train_conf(root, tmp_path / "runs", "trainer.epochs=1"))
    assert "one value everywhere" in (run / "log.txt").read_text()


def test_a_patch_larger_than_the_volumes_trains(volumes: Path, tmp_path: Path) -> None:
    run = train(train_conf(volumes, tmp_path, "plan.patch_px=[32,24,24]", "trainer.epochs=1"))
    assert json.loads((run / "plan.json").read_text())["patch_px"] == [32, 24, 24]


def test_memory_too_small_for_the_smallest_plan_says_what_is_needed(volumes: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="MEMORY"):
        train(train_conf(volumes, tmp_path, "plan.memory_gb=0.000001"))


def test_a_classifier_for_a_task_of_masks_is_a_config_error(tmp_path: Path) -> None:
    from medcnn.config.errors import ConfigError

    with pytest.raises(ConfigError, match="does not fit a task of segmentation"):
        train_conf(tmp_path, tmp_path, "model=resnet18")


def test_the_words_of_the_tiny_training_are_all_settings(tmp_path: Path) -> None:
    assert len(train_words(tmp_path, tmp_path)) == len(set(train_words(tmp_path, tmp_path)))
