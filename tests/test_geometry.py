"""Grids in RAS+ mm, and the one mirror between LPS and RAS."""

from __future__ import annotations

import numpy as np
import pytest

from medcnn.geometry import LPS_TO_RAS, Geometry


def oblique() -> np.ndarray:
    """A rotation about (1, 2, 3) by 0.7 rad, spacing 0.5, 2 and 3 mm, an origin off zero; by Rodrigues' formula."""
    axis = np.array([1.0, 2, 3]) / np.sqrt(14)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    rotation = np.eye(3) + np.sin(0.7) * cross + (1 - np.cos(0.7)) * cross @ cross
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([0.5, 2.0, 3.0])
    affine[:3, 3] = [-10, 20, 5]
    return affine


def test_lps_and_ras_mirror_each_other() -> None:
    left_posterior_up = np.array([3.0, 4.0, 5.0, 1.0])
    assert (LPS_TO_RAS @ left_posterior_up).tolist() == [-3.0, -4.0, 5.0, 1.0]
    assert np.array_equal(LPS_TO_RAS @ LPS_TO_RAS, np.eye(4))


def test_spacing_of_an_oblique_grid() -> None:
    np.testing.assert_allclose(Geometry(oblique(), (4, 5, 6)).spacing_mm(), [0.5, 2.0, 3.0], rtol=1e-12)


def test_corners_of_a_plain_grid() -> None:
    affine = np.diag([1.0, 2.0, 4.0, 1.0])
    affine[:3, 3] = [10, 20, 30]
    corners = Geometry(affine, (3, 2, 2)).corners_mm()
    assert corners.shape == (8, 3)
    assert corners[0].tolist() == [10, 20, 30]
    assert corners[1].tolist() == [10, 20, 34]  # the last index runs fastest
    assert corners[-1].tolist() == [12, 22, 34]


def test_a_shift_moves_every_corner_by_itself() -> None:
    one = Geometry(oblique(), (4, 5, 6))
    moved = oblique()
    moved[:3, 3] += [3, 4, 0]
    assert one.corner_distance_mm(Geometry(moved, (4, 5, 6))) == pytest.approx(5.0)
    assert one.corner_distance_mm(one) == 0.0


def test_a_wider_voxel_shows_at_the_far_corner() -> None:
    one, other = np.eye(4), np.diag([1.1, 1, 1, 1])
    distance = Geometry(one, (11, 3, 3)).corner_distance_mm(Geometry(other, (11, 3, 3)))
    assert distance == pytest.approx(1.0)  # ten steps of 0.1 mm


def test_other_shapes_are_infinitely_far() -> None:
    assert Geometry(np.eye(4), (2, 2, 2)).corner_distance_mm(Geometry(np.eye(4), (2, 2, 3))) == float("inf")


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (np.eye(3), "finite 4 x 4"),
        (np.diag([1, 1, np.nan, 1.0]), "finite 4 x 4"),
        (np.diag([1, 1, np.inf, 1.0]), "finite 4 x 4"),
        (np.diag([1, 0, 1, 1.0]), "singular"),
        (np.array([[1.0, 2, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "singular"),
    ],
)
def test_half_valid_grids_do_not_exist(affine: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Geometry(affine, (2, 2, 2))
