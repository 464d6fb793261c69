"""Scores of single structures: closed forms, and three implementations that are not ours."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medcnn.evaluation.segmentation.scores import IGNORE, CaseScores, score_case, score_structure
from medcnn.evaluation.segmentation.surfaces import _by_transform, _by_tree, surface, surface_distances
from medcnn.evaluation.segmentation.units import PICTURE, PICTURE_IN_PIXELS, VOLUME

ANISOTROPIC = (0.7, 1.3, 2.9)


def ball(radius_mm, centre_mm, *, shape=(48, 48, 48), spacing_mm=(1.0, 1.0, 1.0)):
    axes = [(np.arange(n) - (n - 1) / 2) * s - c for n, s, c in zip(shape, spacing_mm, centre_mm, strict=True)]
    return sum(a**2 for a in np.meshgrid(*axes, indexing="ij")) <= radius_mm**2


def blobs(seed, shape=(26, 22, 14)):
    """Ragged masks with islands and holes."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.7)
    return field > 0.08


def test_shifted_cubes_have_the_distances_that_one_counts():
    truth, predicted = np.zeros((30, 20, 20), bool), np.zeros((30, 20, 20), bool)
    truth[5:15, 5:15, 5:15] = predicted[8:18, 5:15, 5:15] = True
    found = score_structure(truth, predicted, spacing_mm=(2.0, 1.0, 0.5), tolerance=1.0)
    assert found.dice == pytest.approx(0.7)
    assert found.iou == pytest.approx(7 / 13)
    assert found.hd == pytest.approx(6.0)  # 3 voxels of 2 mm
    assert found.truth_size == found.predicted_size == pytest.approx(1.0)  # 1000 voxels of 1 mm3
    # Of the truth's 488 surface voxels, the 100 of its first plane lie 3 voxels before the shifted first plane, a full
    # square; of the next two planes only the rims, 36 each, are surface, 2 and 1 voxels before it. The rims of the
    # other seven planes lie on the shifted one's rims; the last plane's 64 inner voxels are nearest to a rim's walls.
    walls = [min(0.5 * min(b, 9 - b), 1.0 * min(a, 9 - a)) for a in range(1, 9) for b in range(1, 9)]
    one_way = [6.0] * 100 + [4.0] * 36 + [2.0] * 36 + [0.0] * (36 * 7) + walls
    assert len(one_way) == 488
    assert found.assd == pytest.approx(np.mean(one_way))
    assert found.hd95 == pytest.approx(6.0)
    assert found.nsd == pytest.approx(np.mean(np.array(one_way) <= 1.0))


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.8, 1.0, 1.6)])
def test_concentric_balls_lie_their_radii_apart(spacing_mm):
    truth, predicted = (ball(r, (0, 0, 0), spacing_mm=spacing_mm) for r in (16.0, 10.0))
    found = score_structure(truth, predicted, spacing_mm=spacing_mm)
    for distance in (found.assd, found.hd, found.hd95):
        assert distance == pytest.approx(6.0, abs=max(spacing_mm))
    assert found.truth_size == pytest.approx(4 / 3 * math.pi * 16**3 / 1000, rel=0.02)
    assert found.error == pytest.approx(4 / 3 * math.pi * (10**3 - 16**3) / 1000, rel=0.02)
    assert found.error_pct == pytest.approx(100 * ((10 / 16) ** 3 - 1), abs=1.5)
    assert found.dice == pytest.approx(2 * 10**3 / (10**3 + 16**3), abs=0.01)
    assert found.nsd == 0.0


def test_nsd_is_one_within_the_tolerance_and_rounding_of_voxel_edges_does_not_matter():
    truth, predicted = np.zeros((12, 12, 12), bool), np.zeros((12, 12, 12), bool)
    truth[3:9, 3:9, 3:9] = predicted[4:10, 3:9, 3:9] = True
    edge = float(np.float32(1.0000001))
    assert score_structure(truth, predicted, spacing_mm=(edge, 1.0, 1.0), tolerance=1.0).nsd == 1.0
    assert score_structure(truth, predicted, spacing_mm=(1.01, 1.0, 1.0), tolerance=1.0).nsd < 1.0


def test_tree_and_transform_agree():
    for seed in range(3):
        edges = [surface(blobs(2 * seed + k)) for k in (0, 1)]
        there, back = _by_tree(*edges, ANISOTROPIC)
        assert there == pytest.approx(_by_transform(edges[1], edges[0], ANISOTROPIC))
        assert back == pytest.approx(_by_transform(edges[0], edges[1], ANISOTROPIC))


def test_both_ways_of_measuring_are_taken():
    speckled = np.random.default_rng(0).random((20, 20, 20)) > 0.5
    assert all(one_way.max() < 3 for one_way in surface_distances(speckled, ~speckled, (1, 1, 1)))
    specks = np.zeros((2, 60, 60, 60), bool)
    specks[0, 0, 0, 0] = specks[1, 59, 59, 59] = True
    assert surface_distances(*specks, (1, 1, 1))[0] == pytest.approx([math.sqrt(3) * 59])


def test_a_mask_cut_by_the_image_has_a_surface_there():
    whole = np.ones((4, 4, 4), bool)
    assert surface(whole).sum() == 64 - 8
    assert not surface(whole)[1:3, 1:3, 1:3].any()


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_agreement_with_monai(seed):
    torch = pytest.importorskip("torch")
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

    masks = blobs(seed), blobs(seed + 1)
    found = score_structure(*masks, spacing_mm=ANISOTROPIC, tolerance=1.5)
    truth, predicted = (torch.from_numpy(m[None, None].astype(np.uint8)) for m in masks)
    pair = {"y_pred": predicted, "y": truth, "include_background": True, "spacing": ANISOTROPIC}
    assert found.nsd == pytest.approx(float(compute_surface_dice(**pair, class_thresholds=[1.5])), abs=1e-6)
    assert found.hd == pytest.approx(float(compute_hausdorff_distance(**pair)), rel=1e-5)
    assert found.hd95 == pytest.approx(float(compute_hausdorff_distance(**pair, percentile=95)), rel=1e-5)
    one_way = [
        float(compute_average_surface_distance(**(pair | {"y_pred": a, "y": b})))
        for a, b in ((truth, predicted), (predicted, truth))
    ]
    num = [int(surface(m).sum()) for m in masks]
    assert found.assd == pytest.approx(np.dot(one_way, num) / sum(num), rel=1e-5)
    symmetric = float(compute_average_surface_distance(**pair, symmetric=True))
    assert found.assd == pytest.approx(symmetric, rel=1e-5)


def test_agreement_with_simpleitk():
    itk = pytest.importorskip("SimpleITK")
    spacing_mm = (0.9, 1.1, 2.0)
    masks = (
        ball(11, (0, 0, 0), shape=(40, 36, 20), spacing_mm=spacing_mm),
        ball(9, (3, -2, 2), shape=(40, 36, 20), spacing_mm=spacing_mm),
    )
    found = score_structure(*masks, spacing_mm=spacing_mm)
    images = [itk.GetImageFromArray(m.transpose(2, 1, 0).astype(np.uint8)) for m in masks]
    for image in images:
        image.SetSpacing(spacing_mm)
    overlap, hausdorff = itk.LabelOverlapMeasuresImageFilter(), itk.HausdorffDistanceImageFilter()
    overlap.Execute(*images)
    hausdorff.Execute(*images)
    assert found.dice == pytest.approx(overlap.GetDiceCoefficient(), abs=1e-9)
    assert found.iou == pytest.approx(overlap.GetJaccardCoefficient(), abs=1e-9)
    assert found.hd == pytest.approx(hausdorff.GetHausdorffDistance(), rel=1e-5)  # equal for shapes without holes
    # ITK's own contours and distance maps
    contours = [itk.LabelContour(image) for image in images]
    maps = [itk.Abs(itk.SignedMaurerDistanceMap(c, squaredDistance=False, useImageSpacing=True)) for c in contours]
    edges, away = ([itk.GetArrayFromImage(x) for x in found] for found in (contours, maps))
    distances = np.concatenate([away[1][edges[0] == 1], away[0][edges[1] == 1]])
    assert found.assd == pytest.approx(distances.mean(), rel=1e-5)
    assert found.nsd == pytest.approx((distances <= 1 + 1e-4).mean())


def test_dice_is_scikit_learns_f1():
    from sklearn.metrics import f1_score, jaccard_score

    truth, predicted = blobs(8), blobs(9)
    found = score_structure(truth, predicted, spacing_mm=(1, 1, 1))
    assert found.dice == pytest.approx(f1_score(truth.ravel(), predicted.ravel()))
    assert found.iou == pytest.approx(jaccard_score(truth.ravel(), predicted.ravel()))


@pytest.mark.parametrize(
    ("truth", "predicted", "state", "overlap"),
    [(0, 0, "true_negative", math.nan), (0, 1, "false_positive", 0.0), (1, 0, "missed", 0.0)],
)
def test_the_rule_of_empty_masks(truth, predicted, state, overlap):
    masks = [np.full((10, 10, 10), bool(filled)) for filled in (truth, predicted)]
    found = score_structure(*masks, spacing_mm=(1, 1, 1))
    assert found.state == state
    assert [found.dice, found.iou, found.nsd] == pytest.approx([overlap] * 3, nan_ok=True)
    assert all(math.isnan(x) for x in (found.hd95, found.hd, found.assd))
    assert (found.truth_size, found.predicted_size) == (float(truth), float(predicted))
    assert found.error == pytest.approx(predicted - truth if truth or predicted else math.nan, nan_ok=True)
    assert found.error_pct == pytest.approx(-100.0 if truth else math.nan, nan_ok=True)


def test_ignored_voxels_are_in_neither_mask():
    truth, predicted = np.zeros((2, 1, 12, 12, 12), np.uint8)
    truth[0, 2:6, 2:6, 2:6] = predicted[0, 2:6, 2:6, 2:6] = 1
    predicted[0, 8:, 8:, 8:] = 1
    truth[0, 7:] = IGNORE
    found = score_case("c", truth, predicted, ["organ"], spacing_mm=(1, 1, 1)).structures["organ"]
    assert found.dice == found.nsd == 1.0
    assert found.predicted_size == pytest.approx(0.064)


def test_exclusive_classes_and_overlapping_planes_say_the_same():
    rng = np.random.default_rng(4)
    truth, predicted = rng.integers(0, 4, (2, 1, 9, 8, 7)).astype(np.uint8)
    names = ["a", "b", "c"]
    planes = [np.stack([x[0] == k for k in (1, 2, 3)]).astype(np.uint8) for x in (truth, predicted)]
    one = score_case("x", truth, predicted, names, spacing_mm=ANISOTROPIC, tolerance={"b": 3.0})
    assert one == score_case("x", *planes, names, spacing_mm=ANISOTROPIC, tolerance={"b": 3.0})
    assert [found.tolerance for found in one.structures.values()] == [1.0, 3.0, 1.0]
    assert one.units == VOLUME
    whole = score_structure(truth[0] == 2, predicted[0] == 2, spacing_mm=ANISOTROPIC, tolerance=3.0)
    assert one.structures["b"] == whole  # cropping changed nothing


def test_flips_and_turned_axes_change_nothing():
    masks = blobs(11), blobs(12)
    found = score_structure(*masks, spacing_mm=ANISOTROPIC)
    turned = score_structure(*(m.transpose(2, 0, 1)[::-1] for m in masks), spacing_mm=(2.9, 0.7, 1.3))
    assert vars(turned) == pytest.approx(vars(found))


def test_pictures_are_measured_in_pixels_unless_their_spacing_is_known():
    truth, predicted = np.zeros((2, 1, 30, 40), np.uint8)
    truth[0, 5:15, 5:25] = predicted[0, 5:15, 9:29] = 1
    one = score_case("x", truth, predicted, ["lung"], spacing_mm=None)
    assert one.units == PICTURE_IN_PIXELS
    assert one.structures["lung"].hd == 4.0
    assert one.structures["lung"].truth_size == 200
    known = score_case("x", truth, predicted, ["lung"], spacing_mm=(1.0, 2.0))
    assert known.units == PICTURE
    assert known.structures["lung"].hd == 8.0
    assert known.structures["lung"].truth_size == pytest.approx(4.0)  # cm2
    assert [one.units.name(m) for m in ("hd95", "error", "abs_error_pct", "dice")] == [
        "hd95_px", "area_error_px", "area_abs_error_pct", "dice",
    ]  # fmt: skip


def test_what_does_not_fit_is_refused():
    plane = np.zeros((1, 4, 4, 4), np.uint8)
    with pytest.raises(ValueError, match=r"\(1, 4, 4, 4\) and prediction \(1, 4, 4, 5\) must have one shape"):
        score_case("x", plane, np.zeros((1, 4, 4, 5), np.uint8), ["a"], spacing_mm=(1, 1, 1))
    with pytest.raises(ValueError, match=r"for 3 structures"):
        score_case("x", *[np.zeros((2, 4, 4, 4), np.uint8)] * 2, ["a", "b", "c"], spacing_mm=(1, 1, 1))
    with pytest.raises(ValueError, match="a volume is measured in mm"):
        score_case("x", plane, plane, ["a"], spacing_mm=None)
    with pytest.raises(ValueError, match=r"expected 3 numbers above 0, got \(1, 1\)"):
        score_case("x", plane, plane, ["a"], spacing_mm=(1, 1))


def test_mean_dice_is_over_what_is_there():
    truth, predicted = np.zeros((2, 1, 8, 8, 8), np.uint8)
    truth[0, :4] = predicted[0, :4] = 1
    truth[0, 6:] = 2
    found: CaseScores = score_case("x", truth, predicted, ["a", "b", "c"], spacing_mm=(1, 1, 1))
    assert found.mean_dice == 0.5  # a perfect, b missed, c nowhere
