"""Contours lie where the mask lies in the patient, on planes that show it."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medcnn.batch.colours import rgb, structure_colour
from medcnn.batch.outlines import MaskWords, fullest, outlines_page, painted
from medcnn.batch.planes import panels
from medcnn.batch.view import MOST_PX, View
from medcnn.geometry import Geometry
from medcnn.inference.mask_rule import MaskRule
from medcnn.scan import Scan
from medcnn.transforms.placement import Placement, nearest_ras

RULE = MaskRule(("rim", "core"))
WORDS = MaskWords("c-1", "rim, core", "Expected Dice: rim 0.9", ("rim 2 ml", "core: not found"), "Tests.", ("X: y",))


def placed(scan: Scan) -> Placement:
    shape = scan.voxels.shape[1:]
    axes, flipped = nearest_ras(scan.geometry) if scan.geometry else (tuple(range(len(shape))), (False,) * len(shape))
    turned = tuple(shape[axis] for axis in axes)
    return Placement(shape, axes, flipped, tuple((0, side) for side in turned), turned)


def bright_andpainted(scan: Scan, labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per panel the pixels that are bright, and those within the contour of the first structure."""
    placement = placed(scan)
    view, turned = View.of_placed(scan, placement), placement.turned(labels)
    shown = panels(view, fullest(view, turned) if view.grey.ndim == 3 else ())
    found = []
    for panel in shown:
        drawn = painted(panel, view, turned, RULE)
        found.append((panel.grey > 128, np.abs(drawn.astype(float) - panel.grey[..., None]).max(axis=2) > 1))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_contour_surrounds_what_is_bright_in_every_plane(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axes, signs = rng.permutation(3), rng.choice([-1.0, 1.0], 3)
    affine = np.eye(4)
    affine[:3, :3] = 0
    affine[axes, range(3)] = signs * (1.0, 1.5, 2.0)
    voxels = np.zeros((20, 24, 28), np.float32)
    box = (slice(3, 9), slice(14, 22), slice(5, 16))
    voxels[box] = 100
    scan = Scan(voxels[None], Geometry(affine, voxels.shape), (1.0, 1.5, 2.0))
    for bright, outlined in bright_andpainted(scan, (voxels > 0)[None].astype(np.uint8)):
        assert bright.any()
        assert (bright & outlined).sum() / (bright | outlined).sum() > 0.9


def test_a_large_picture_and_its_contour_are_shrunk_alike() -> None:
    voxels = np.zeros((3000, 2000), np.float32)
    voxels[400:900, 300:1100] = 100
    scan = Scan(voxels[None], spacing_mm=(0.1, 0.1))
    assert max(View.of_placed(scan, placed(scan)).grey.shape) <= MOST_PX
    ((bright, outlined),) = bright_andpainted(scan, (voxels > 0)[None].astype(np.uint8))
    assert (bright & outlined).sum() / (bright | outlined).sum() > 0.98


def test_planes_are_cut_where_most_is_found() -> None:
    scan = Scan(np.zeros((1, 9, 10, 11), np.float32), Geometry(np.eye(4), (9, 10, 11)), (1.0, 1.0, 1.0))
    view = View.of_placed(scan, placed(scan))
    labels = np.zeros((2, 9, 10, 11), np.uint8)
    assert fullest(view, labels) == [4, 5, 5]
    labels[1, 2, 1:9, 1:8] = 1
    labels[0, 7, 3, 3] = 1
    first, *_ = fullest(view, labels)
    assert first == 2


def test_a_page_holds_each_colour_that_it_names() -> None:
    scan = Scan(np.random.default_rng(0).random((1, 30, 40)).astype(np.float32))
    labels = np.zeros((1, 30, 40), np.uint8)
    labels[0, 5:15, 5:15], labels[0, 20:25, 20:35] = 1, 2
    view = View.of_placed(scan, placed(scan))
    page = np.asarray(Image.open(io.BytesIO(outlines_page(view, labels, RULE, WORDS).png())))
    for number in range(2):
        assert (page == rgb(structure_colour(number))).all(axis=2).sum() > 500
    assert not (page == rgb(structure_colour(2))).all(axis=2).any()
    withheld = outlines_page(view, None, RULE, replace(WORDS, is_warning=True)).png()
    assert not (np.asarray(Image.open(io.BytesIO(withheld))) == rgb(structure_colour(0))).all(axis=2).any()
    assert withheld == outlines_page(view, None, RULE, replace(WORDS, is_warning=True)).png()
