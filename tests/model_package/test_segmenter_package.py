"""The folder of a trained segmenter: there and back, what is refused, and what it says of a scan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packages import tiny_package, tiny_segmenter_package

from medcnn.errors import DataError, PackageError
from medcnn.geometry import Geometry
from medcnn.inference.mask_rule import MaskRule
from medcnn.inference.postprocessing import Mending, PostProcessing
from medcnn.inference.quality import QualityMap
from medcnn.inference.segmenter_settings import SegmenterSettings
from medcnn.model_package.classifier import ClassifierPackage
from medcnn.model_package.description import save_package
from medcnn.model_package.opening import load_classifier, load_package, load_segmenter, read_description
from medcnn.model_package.segmenter import SegmenterDescription, SegmenterPackage
from medcnn.scan import Scan

AFFINE = np.array([[0, -1.5, 0, 3.0], [0.8, 0, 0, -2], [0, 0, -2.25, 9], [0, 0, 0, 1]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_segmenter_package(tmp_path / "model", codes={"rim": "10200004"})


def scan_of(labels: np.ndarray, **facts: Any) -> Scan:
    voxels = np.array([40, 150, 230], np.float32)[labels][None]
    return Scan(voxels, Geometry(AFFINE, labels.shape), (0.8, 1.5, 2.25), **facts)


def labels_of(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, (9, 11, 7))


def change(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((folder / "model.json").read_text())
    edit(content)
    (folder / "model.json").write_text(json.dumps(content))


# There and back


def test_a_package_says_what_was_put_in(tmp_path: Path) -> None:
    first = read_description(tiny_segmenter_package(tmp_path / "first"))
    assert isinstance(first, SegmenterDescription)
    said: dict[str, Any] = {
        **{name: getattr(first, name) for name in ("task", "intended_use", "network", "expects", "preprocessing")},
        "class_codes": {"core": "1"},
        "rule": MaskRule(("rim", "core"), True, {"core": 0.4}, {"rim": (1, 2), "core": (2,)}),
        "settings": SegmenterSettings(
            (8, 8, 8), 0.25, "", (0, 2), ((1, 2),), 3, 4, 512, "bf16", "disagreement", half_above_mb=7
        ),
        "postprocessing": PostProcessing({"rim": Mending(fill_holes=True, largest=True, least_ml=0.5)}),
        "quality": QualityMap({"rim": ((0.1, 0.9), (0.2, 0.8))}),
        "fitted_on": "5 folds",
        "training": {"seed": 3},
    }
    save_package(tmp_path / "second", SegmenterDescription(**said), [b"no weights"])
    found = read_description(tmp_path / "second")
    assert {name: getattr(found, name) for name in said} == said
    content = json.loads((tmp_path / "second" / "model.json").read_text())
    assert (content["kind"], content["format_version"]) == ("segmentation", 2)
    assert content["output"]["codes_snomed_ct"] == {"core": "1"}


def test_what_is_opened_is_what_lies_there(folder: Path, tmp_path: Path) -> None:
    assert isinstance(load_package(folder, accelerator="cpu"), SegmenterPackage)
    assert load_segmenter(folder, accelerator="cpu").digest == load_package(folder, accelerator="cpu").digest
    classifier = tiny_package(tmp_path / "classifier")
    assert isinstance(load_package(classifier, accelerator="cpu"), ClassifierPackage)
    with pytest.raises(PackageError, match="this model segments"):
        load_classifier(folder, accelerator="cpu")
    with pytest.raises(PackageError, match="this model classifies"):
        load_segmenter(classifier, accelerator="cpu")


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda found: found.update(format_version=3), r"has format 3, this medcnn reads up to 2"),
        (lambda found: found.update(kind="detection"), "of no kind that is known"),
        (lambda found: found["preprocessing"].update(version=99), "made by a newer medcnn"),
        (lambda found: found["output"].pop("structures"), "is not complete"),
        (lambda found: found["inference"].update(overlap=1.5), "is not complete .overlap"),
        (lambda found: found["network"].update(num_outputs=2), "do not fit"),
        (lambda found: found.update(weights={}), "names no weights"),
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, edit: Callable[[dict[str, Any]], Any], says: str) -> None:
    change(folder, edit)
    with pytest.raises(PackageError, match=says):
        load_package(folder, accelerator="cpu")


def test_damaged_weights_are_refused(folder: Path) -> None:
    weights = folder / "weights_0.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
    with pytest.raises(PackageError, match="is damaged"):
        load_package(folder, accelerator="cpu")


# Answers


def test_masks_lie_in_the_scans_own_axes(folder: Path) -> None:
    labels = labels_of()
    said = load_segmenter(folder, accelerator="cpu").segment_scan(scan_of(labels))
    assert np.array_equal(said.segmentation.labels, labels[None])
    assert (said.flags, said.reason) == ((), "")
    volumes = said.segmentation.volumes_ml
    assert volumes is not None
    voxel_ml = 0.8 * 1.5 * 2.25 / 1000
    counts = {"rim": (labels == 1).sum() * voxel_ml, "core": (labels == 2).sum() * voxel_ml}
    assert volumes == pytest.approx(counts, rel=1e-6)


def test_members_answer_as_one_where_they_are_alike(folder: Path, tmp_path: Path) -> None:
    both = load_segmenter(tiny_segmenter_package(tmp_path / "both", members=2, steepness=0.02), accelerator="cpu")
    one = load_segmenter(tiny_segmenter_package(tmp_path / "one", steepness=0.02), accelerator="cpu")
    scan = scan_of(labels_of(1))
    keeps = [{name: np.zeros(scan.voxels.shape[1:], np.float32) for name in ("rim", "core")} for _ in range(2)]
    said = [package.segment_scan(scan, keep) for package, keep in zip((both, one), keeps, strict=True)]
    assert np.array_equal(said[0].segmentation.labels, said[1].segmentation.labels)
    np.testing.assert_allclose(keeps[0]["rim"], keeps[1]["rim"], atol=1e-6)
    assert keeps[0]["rim"].max() > 0.3


def test_what_the_model_does_not_know_is_said(tmp_path: Path) -> None:
    package = load_segmenter(tiny_segmenter_package(tmp_path, modality=("CT",)), accelerator="cpu")
    said = package.segment_scan(scan_of(labels_of(), modality="MR"))
    assert said.reason == "MODALITY: this scan says MR, the model knows CT"
    assert said.flags[0] == said.reason
    assert package.segment_scan(scan_of(labels_of(), modality="CT")).reason == ""


def test_a_picture_is_no_volume(folder: Path) -> None:
    with pytest.raises(DataError, match="a picture and the network takes a volume"):
        load_segmenter(folder, accelerator="cpu").segment_scan(Scan(np.zeros((1, 8, 8), np.float32)))
