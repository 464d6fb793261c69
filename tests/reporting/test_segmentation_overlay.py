"""Overlays: outlines where masks end, planes as radiologists hang them, true proportions."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medcnn.reporting.figures import save
from medcnn.reporting.overlay_figure import PREDICTION_INK, TRUTH_INK, gallery_figure, outline, overlay_figure
from medcnn.reporting.overlay_planes import SegmentedCase, planes_of

SHAPE = (40, 50, 30)


def block(*corners, shape=SHAPE):
    mask = np.zeros((1, *shape), np.uint8)
    mask[(0, *(slice(a, b) for a, b in corners))] = 1
    return mask


def volume(spacing_mm=(1.0, 1.0, 2.0), **more):
    """A gradient along each axis: brighter to the patient's right (i), front (j), head (k)."""
    i, j, k = np.indices(SHAPE).astype(float)
    truth, predicted = block((10, 20), (20, 40), (10, 15)), block((12, 22), (20, 40), (10, 15))
    return SegmentedCase(i + 100 * j + 10000 * k, truth, predicted, spacing_mm, "c0", "Dice 0.8", **more)


def colours(path):
    with Image.open(path) as picture:
        return {colour for _, colour in picture.convert("RGB").getcolors(maxcolors=1 << 20)}


def rgb(ink):
    return tuple(int(ink[at : at + 2], 16) for at in (1, 3, 5))


def test_an_outline_is_as_long_as_the_edge_of_the_mask():
    mask = np.zeros((6, 7), bool)
    mask[1:4, 2:7] = True
    mask[2, 4] = False  # a hole
    lines = outline(mask, (2.0, 0.5))
    length = sum(np.abs(end - start).sum() for start, end in lines)
    assert length == pytest.approx(2 * (3 * 2.0) + 2 * (5 * 0.5) + 2 * 2.0 + 2 * 0.5)
    points = np.concatenate(lines)
    assert (points.min(axis=0), points.max(axis=0)) == (pytest.approx([1.0, 2.0]), pytest.approx([3.5, 8.0]))


def test_planes_are_hung_with_the_right_on_the_left_and_the_head_on_top():
    axial, coronal, sagittal = planes_of(volume())
    assert [p.title for p in (axial, coronal, sagittal)] == ["axial", "coronal", "sagittal"]
    assert (axial.letters, coronal.letters, sagittal.letters) == ("RLAP", "RLSI", "APSI")
    for plane in (axial, coronal, sagittal):
        assert plane.image[0, 0] > plane.image[0, -1]  # right, or anterior, on the left: i and j fall to the right
        assert plane.image[0, 0] > plane.image[-1, 0]
    assert axial.edges == (1.0, 1.0)
    assert coronal.edges == sagittal.edges == (2.0, 1.0)


def test_planes_go_through_the_fullest_slices():
    truth = block((10, 20), (20, 40), (10, 15))
    truth[0, 15, 20:40, 10:20] = 1  # most voxels at i = 15
    case = SegmentedCase(np.indices(SHAPE)[0].astype(float), truth, truth, (1.0, 1.0, 1.0), "c")
    assert set(np.unique(planes_of(case)[2].image)) == {15.0}


def test_what_is_shown_holds_every_structure_and_some_of_its_surroundings():
    case = volume()
    for plane, size in zip(planes_of(case), ((12, 20), (12, 5), (20, 5)), strict=True):
        marked = (plane.truth[0] == 1) | (plane.predicted[0] == 1)
        assert marked.sum() == size[0] * size[1]
        assert not marked[0].any()
        assert marked.size > 2 * marked.sum()
    empty = SegmentedCase(case.image, 0 * case.truth, 0 * case.predicted, case.spacing_mm, "c")
    assert planes_of(empty)[0].image.shape == (50, 40)


def test_unknown_directions_are_not_labelled():
    assert {p.letters + p.title for p in planes_of(volume(oriented=False))} == {""}


def test_both_outlines_are_in_the_picture(tmp_path):
    saved = save(overlay_figure(volume()), tmp_path, "overlay")
    assert {rgb(TRUTH_INK), rgb(PREDICTION_INK)} <= colours(saved.png)
    assert "c0" in saved.csv.read_text()


def test_pictures_and_overlapping_structures_are_drawn(tmp_path):
    planes = np.zeros((2, 64, 48), np.uint8)
    planes[0, 10:40, 10:30] = planes[1, 20:30, 15:25] = 1
    planes[0, 0] = 255
    image = np.random.default_rng(0).random((64, 48))
    case = SegmentedCase(image, planes, np.roll(planes, 2, axis=1), None, "c1", "best: 0.9")
    saved = save(gallery_figure([case] * 4), tmp_path, "gallery")
    with Image.open(saved.png) as picture:
        assert picture.width > 1000
    assert {rgb(TRUTH_INK), rgb(PREDICTION_INK)} <= colours(saved.png)


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"image \(4, 4\), truth \(1, 5, 4\)"):
        SegmentedCase(np.zeros((4, 4)), np.zeros((1, 5, 4), int), np.zeros((1, 5, 4), int), None, "c")
    with pytest.raises(ValueError, match="no case to draw"):
        gallery_figure([])
