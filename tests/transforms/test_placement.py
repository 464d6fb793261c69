"""Turning to the nearest RAS and back: beside nibabel, and by the positions of single voxels."""

from __future__ import annotations

import json
from itertools import permutations, product

import nibabel
import numpy as np
import pytest

from medcnn.geometry import Geometry
from medcnn.transforms.placement import Placement, nearest_ras, turned

SHAPE = (3, 4, 5)
ORIENTATIONS = [
    np.eye(3)[list(order)] * np.array(signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]


def geometry(directions: np.ndarray, edges_mm: tuple[float, ...] = (0.8, 1.5, 3.0)) -> Geometry:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions * np.array(edges_mm), (-12.0, 7.0, 30.0)
    return Geometry(affine, SHAPE)


def oblique(seed: int) -> np.ndarray:
    """A rotation by up to about 40 degrees, some with a little shear."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(np.eye(3) + 0.35 * rng.standard_normal((3, 3)))
    rotation *= np.sign(np.diag(rotation))
    sheared = rotation @ (np.eye(3) + 0.1 * np.triu(rng.standard_normal((3, 3)), 1) * (seed % 2))
    return ORIENTATIONS[seed % 48].T @ sheared @ ORIENTATIONS[(7 * seed) % 48]


def placement_of(grid: Geometry) -> Placement:
    axes, flipped = nearest_ras(grid)
    shape = tuple(grid.shape_vox[axis] for axis in axes)
    return Placement(grid.shape_vox, axes, flipped, tuple((0, side) for side in shape), shape)


@pytest.mark.parametrize("number", range(48))
@pytest.mark.parametrize("tilt", ["straight", "oblique"])
def test_axes_turn_as_nibabels_closest_canonical(number: int, tilt: str) -> None:
    directions = ORIENTATIONS[number] if tilt == "straight" else oblique(number)
    grid = geometry(directions)
    voxels = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    theirs = nibabel.as_closest_canonical(nibabel.Nifti1Image(voxels, grid.affine))
    ours = placement_of(grid).turned(voxels[None])[0]
    assert np.array_equal(ours, np.asarray(theirs.dataobj))


@pytest.mark.parametrize("number", [0, 5, 17, 30, 47])
def test_axes_turn_as_monais_orientation(number: int) -> None:
    import torch
    from monai.data import MetaTensor
    from monai.transforms import Orientation

    grid = geometry(oblique(number))
    voxels = np.random.default_rng(number).random((2, *SHAPE), np.float32)
    labels = (("L", "R"), ("P", "A"), ("I", "S"))
    tensor = MetaTensor(torch.from_numpy(voxels), affine=torch.from_numpy(grid.affine))
    assert np.array_equal(placement_of(grid).turned(voxels), Orientation("RAS", labels=labels)(tensor).numpy())


def test_between_two_equally_near_axes_the_files_order_stays() -> None:
    half = np.sqrt(0.5)
    directions = np.array([[half, -half, 0], [half, half, 0], [0, 0, 1]])
    assert nearest_ras(geometry(directions)) == ((0, 1, 2), (False, False, False))


@pytest.mark.parametrize("number", range(48))
def test_turning_back_is_the_inverse_and_neither_copies(number: int) -> None:
    placement = placement_of(geometry(ORIENTATIONS[number]))
    voxels = np.random.default_rng(number).random((2, *SHAPE))
    there = placement.turned(voxels)
    back = placement.turned_back(there)
    assert there.shape == (2, *placement.turned_shape)
    assert np.array_equal(back, voxels)
    assert np.shares_memory(there, voxels)
    assert np.shares_memory(back, voxels)


def test_a_picture_turns_by_its_axes() -> None:
    picture = np.arange(6).reshape(1, 2, 3)
    assert np.array_equal(turned(picture, (0, 1), (False, False)), picture)
    placement = Placement((2, 3), (1, 0), (True, False), ((0, 3), (0, 2)), (3, 2))
    assert placement.turned(picture)[0].tolist() == [[2, 5], [1, 4], [0, 3]]
    assert np.array_equal(placement.turned_back(placement.turned(picture)), picture)


def test_the_box_is_cut_from_the_turned_array() -> None:
    placement = Placement((4, 5), (1, 0), (False, True), ((1, 4), (0, 2)), (6, 4))
    picture = np.arange(20).reshape(1, 4, 5)
    assert placement.turned_shape == (5, 4)
    assert placement.box_shape == (3, 2)
    assert placement.cut(placement.turned(picture))[0].tolist() == [[16, 11], [17, 12], [18, 13]]


def test_it_comes_back_from_json() -> None:
    placement = Placement((4, 5, 6), (2, 0, 1), (False, True, False), ((1, 4), (0, 2), (0, 5)), (6, 4, 9))
    assert Placement.from_json(json.loads(json.dumps(placement.as_json()))) == placement
