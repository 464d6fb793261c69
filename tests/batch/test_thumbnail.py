"""A thumbnail shows the plane with the finding, in its colours, and is small."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from medcnn.batch import outlines
from medcnn.batch.colours import STRUCTURE_COLOURS, rgb, structure_colour
from medcnn.batch.thumbnail import LONGER_SIDE_PX, thumbnail
from medcnn.batch.view import Step, View
from medcnn.inference.mask_rule import MaskRule

RULE = MaskRule(("rim", "core"))
ONE = Step(1.0, 0.0)


def picture(content: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(content))
    assert image.format == "WEBP"
    return np.asarray(image.convert("RGB"), np.float64)


def coloured(shown: np.ndarray) -> np.ndarray:
    """Pixels that are not grey."""
    return shown.max(axis=2) - shown.min(axis=2) > 40


def test_structures_have_the_colours_of_the_overlays() -> None:
    assert getattr(outlines, "_COLOURS", STRUCTURE_COLOURS) == STRUCTURE_COLOURS
    assert structure_colour(8) == STRUCTURE_COLOURS[0]
    assert rgb("#56b4e9") == (86, 180, 233)


def test_the_masks_lie_where_they_are_in_the_plane_with_most_of_them() -> None:
    """Axial plane 30 of cubic voxels; x to the right is drawn leftwards, y to the front upwards."""
    view = View(np.full((64, 64, 64), 90, np.uint8), (1.0, 1.0, 1.0), (ONE,) * 3, oriented=True)
    labels = np.zeros((1, 64, 64, 64), np.uint8)
    labels[0, 4:24, 36:60, 30] = 1
    labels[0, 40:60, 4:28, 30] = 2
    labels[0, 30:34, 30:34, :30] = 1
    shown = picture(thumbnail(view, labels, RULE))
    assert shown.shape == (128, 128, 3)
    expected = np.zeros((64, 64), bool)
    expected[4:24, 36:60] = expected[40:60, 4:28] = True
    drawn = np.kron(expected.T[::-1, ::-1], np.ones((2, 2), bool))
    assert (coloured(shown) & drawn).sum() / (coloured(shown) | drawn).sum() > 0.85
    blue, orange = shown[28, 100], shown[96, 26]  # within the first (left in the patient), the second
    assert blue[2] > blue[0] + 30
    assert orange[0] > orange[2] + 30


def test_thick_slices_are_shown_as_they_were_taken() -> None:
    """Sagittal slices of 5 mm: the picture is y by z, whatever lies in the axial plane."""
    view = View(np.zeros((10, 100, 50), np.uint8), (5.0, 1.0, 1.0), (ONE,) * 3, oriented=True)
    shown = picture(thumbnail(view, np.zeros((1, 10, 100, 50), np.uint8), RULE))
    assert shown.shape[:2] == (64, LONGER_SIDE_PX)


def test_heat_glows_where_it_is_hottest() -> None:
    view = View(np.full((200, 100), 60, np.uint8), (1.0, 1.0), (Step(0.16, -0.42), Step(0.32, -0.34)), oriented=False)
    heat = np.zeros((32, 32), np.float32)
    heat[24:28, 4:8] = 1.0
    shown = picture(thumbnail(view, heat=heat))
    assert shown.shape == (128, 64, 3)
    rows, columns = np.nonzero(coloured(shown))
    assert rows.mean() == pytest.approx(26 / 32 * 128, abs=3)
    assert columns.mean() == pytest.approx(6 / 32 * 64, abs=3)


def test_a_scan_alone_is_grey() -> None:
    grey = np.tile(np.arange(0, 240, 2, dtype=np.uint8), (90, 1))
    shown = picture(thumbnail(View(grey, (1.0, 1.0), (ONE,) * 2, oriented=False)))
    assert not coloured(shown).any()
    assert shown[48, 10, 0] < shown[48, 110, 0]


def test_it_is_small_and_the_same_every_time() -> None:
    noise = np.random.default_rng(0).normal(100, 25, (96, 96, 96)).clip(0, 255).astype(np.uint8)
    view = View(noise, (1.0, 1.0, 1.0), (ONE,) * 3, oriented=True)
    labels = np.zeros((1, 96, 96, 96), np.uint8)
    labels[0, 30:60, 30:60, 40:50] = 1
    content = thumbnail(view, labels, RULE)
    assert content == thumbnail(view, labels, RULE)
    assert len(content) < 8000
