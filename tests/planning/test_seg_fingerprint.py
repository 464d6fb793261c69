"""What the training cases are like, pooled from the facts of each."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from seg_cases import CHANNEL, alike, case, drafted, hippocampus

from medcnn.data.fingerprint import CaseFingerprint
from medcnn.planning.fingerprint import Fingerprint
from medcnn.planning.refusal import PlanError
from medcnn.planning.segmentation_plan import finish
from medcnn.planning.spacing import target_spacing_mm


def test_medians_and_extremes_are_numpys() -> None:
    shapes = [(30 + n, 50, 2 * n + 20) for n in range(11)]
    found = Fingerprint.of([case(shape, (1.0, 0.5, 2.0)) for shape in shapes])
    assert found.shape_vox.median == tuple(np.median(shapes, axis=0))
    assert found.shape_vox.p5 == tuple(np.percentile(shapes, 5, axis=0))
    assert found.shape_vox.p95 == tuple(np.percentile(shapes, 95, axis=0))
    assert found.extent.largest == (40.0, 25.0, 80.0)
    assert (found.cases, found.dims, found.channels, found.anisotropy) == (11, 3, 1, 4.0)
    assert found.voxels == sum(i * j * k for i, j, k in shapes)


def test_intensities_are_those_of_all_foreground_voxels_together() -> None:
    """Mean and standard deviation from those of the parts, exactly."""
    generator = np.random.default_rng(0)
    parts = [generator.normal(mean, 3, size) for mean, size in ((10, 500), (20, 1500), (0, 4))]
    cases = []
    for values in parts:
        low, high = np.percentile(values, (0.5, 99.5))
        numbers = (values.mean(), values.std(), low, high, values.min(), values.max())
        intensity = [dict(zip(CHANNEL, map(float, numbers), strict=True))]
        cases.append(case((20, 20, 20), intensity=intensity, structure_voxels={"lesion": values.size}))
    pooled, everything = Fingerprint.of(cases).intensity[0], np.concatenate(parts)
    assert pooled["mean"] == pytest.approx(everything.mean(), rel=1e-6)
    assert pooled["std"] == pytest.approx(everything.std(), rel=1e-6)
    assert (pooled["min"], pooled["max"]) == pytest.approx((everything.min(), everything.max()))


def test_empty_masks_and_numbers_that_are_none_do_not_spoil_the_pool() -> None:
    broken = [{**CHANNEL, "mean": float("nan")}]
    empty = case((9, 9, 9), structure_voxels={"lesion": 0}, intensity=[{**CHANNEL, "mean": 1e9}])
    found = Fingerprint.of([case((9, 9, 9)), empty, case((9, 9, 9), intensity=broken)])
    assert found.intensity[0] == CHANNEL
    assert Fingerprint.of([empty]).intensity == ({},)


def test_structures_are_counted_over_the_cases_that_have_them() -> None:
    voxels = [{"core": 10, "rim": 0}, {"core": 30, "rim": 5}, {"core": 0, "rim": 0}]
    cases = [case((10, 10, 10), structure_voxels=counts, structure_ml={"core": 2.0, "rim": None},
                  components={"core": 4, "rim": 1}) for counts in voxels]  # fmt: skip
    core, rim = Fingerprint.of(cases).structures
    assert (core.name, core.cases, core.median_voxels, core.median_ml, core.median_components) == ("core", 2, 20, 2, 4)
    assert core.share == pytest.approx(40 / 3000)
    assert (rim.cases, rim.median_ml, rim.most_components) == (1, None, 1)


def test_the_order_of_cases_changes_nothing() -> None:
    facts = [case((30 + n, 40, 50), (1.0, 1.0, 1.0 + n)) for n in range(5)]
    found = Fingerprint.of(facts)
    assert Fingerprint.of(facts[::-1]).digest == found.digest
    assert Fingerprint.of(facts[1:]).digest != found.digest


def test_the_facts_that_data_measures_are_understood() -> None:
    facts = case((30, 40, 50), (1.0, 1.0, 1.0))
    measured = CaseFingerprint(**facts, intensity_over="foreground", structure_boxes={"lesion": None})
    assert Fingerprint.of([measured]) == Fingerprint.of([facts])


def test_the_real_hippocampus_gets_nnunets_patch_and_the_batch_of_its_share(medcnn_data: Path) -> None:
    """Headers of the 208 cases; 5 % of their voxels are 7 patches."""
    headers = [nibabel.load(path) for path in sorted((medcnn_data / "hippocampus/labelsTr").glob("*.nii.gz"))]
    found = Fingerprint.of([case(image.shape, tuple(map(float, image.header.get_zooms()))) for image in headers])
    assert (found.cases, found.shape_vox.median, found.shape_vox.largest) == (208, (35, 50, 36), (42, 58, 45))
    plan = finish(drafted(found))
    assert (plan.patch_px, plan.batch_patches, plan.spacing_mm) == ([40, 56, 40], 7, [1, 1, 1])


@pytest.mark.parametrize("fingerprint", [hippocampus(3), alike(2, (96, 96), modality="CR")])
def test_json_and_back(fingerprint: Fingerprint) -> None:
    assert Fingerprint.from_json(json.loads(json.dumps(fingerprint.as_json()))) == fingerprint


@pytest.mark.parametrize(
    ("cases", "code"),
    [
        ([], "NO_CASES"),
        ([case((9, 9)), case((9, 9, 9))], "AXES"),
        ([case((9, 9, 9, 9))], "AXES"),
        ([case((9, 9, 9)), case((9, 9, 9), channels=2)], "FACTS"),
        ([case((9, 9, 9), channels=0)], "FACTS"),
        ([case((9, 0, 9))], "FACTS"),
        ([case((9, 9, 9), (1.0, 1.0))], "FACTS"),
        ([case((9, 9, 9), (1.0, 1.0, float("nan")))], "FACTS"),
        (["case-1"], "FACTS"),
    ],
)
def test_facts_that_cannot_be_are_refused(cases: list[object], code: str) -> None:
    with pytest.raises(PlanError, match=code) as refused:
        Fingerprint.of(cases)
    assert isinstance(refused.value, ValueError)
    assert refused.value.code == code


def test_one_case_without_a_spacing_leaves_all_unresampled() -> None:
    found = Fingerprint.of([case((96, 96, 40), (1.0, 1.0, 3.0)), case((96, 96, 40))])
    assert found.spacing_mm is None
    assert target_spacing_mm(found)[0] == ()


def test_equal_spacings_stay_exactly_what_they_are() -> None:
    assert target_spacing_mm(alike(3, (90, 90, 90), (0.9, 0.9, 0.9)))[0] == (0.9, 0.9, 0.9)
    near = Fingerprint.of([case((90, 90, 90), (edge, 1.0, 1.0)) for edge in (0.998, 1.0, 1.002)])
    assert target_spacing_mm(near)[0] == (1.0, 1.0, 1.0)


def test_the_coarse_axis_takes_the_tenth_percentile() -> None:
    """nnU-Net's rule: more than three times as coarse and less than a third of the voxels."""
    thick = [1.0, 2.0, *[5.0] * 8]
    found = Fingerprint.of([case((320, 320, 20), (0.6, 0.6, edge)) for edge in thick])
    assert target_spacing_mm(found)[0] == pytest.approx((0.6, 0.6, np.percentile(thick, 10)))
    many_slices = Fingerprint.of([case((320, 320, 200), (0.6, 0.6, edge)) for edge in thick])
    assert target_spacing_mm(many_slices)[0] == (0.6, 0.6, 5.0)
    not_so_coarse = Fingerprint.of([case((320, 320, 20), (2.0, 2.0, edge)) for edge in thick])
    assert target_spacing_mm(not_so_coarse)[0] == (2.0, 2.0, 5.0)


def test_the_coarse_axis_never_gets_finer_than_the_others() -> None:
    found = Fingerprint.of([case((320, 320, 20), (0.6, 0.6, edge)) for edge in (0.1, 0.1, 5.0, 5.0, 5.0)])
    assert target_spacing_mm(found)[0] == (0.6, 0.6, 0.6)


def test_the_box_around_a_head_is_taken_for_that_of_an_ellipsoid() -> None:
    found = alike(3, (100, 100, 100), nonzero_share=np.pi / 6 * 0.125)
    assert found.cropped_share == pytest.approx(0.125, abs=1e-5)
    assert found.cropped_extent.median == pytest.approx((50, 50, 50), abs=0.01)
    known = alike(3, (100, 100, 100), cropped_shape_vox=(50, 20, 100), nonzero_share=0.01)
    assert known.cropped_extent.median == (50.0, 20.0, 100.0)
    assert known.cropped_share == pytest.approx(0.1)
