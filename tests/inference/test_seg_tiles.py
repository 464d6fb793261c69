"""Tiles cover a grid, and their weights sum to one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medcnn.inference.tiles import Tiling, starts_along

ONES = (1, 1, 1)


@pytest.mark.parametrize("size", [(40, 33, 21), (8, 8, 8), (5, 50, 1), (3, 4, 5)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75])
def test_weights_of_all_tiles_sum_to_one_in_every_voxel(size: tuple[int, ...], overlap: float) -> None:
    tiling = Tiling.of(size, (16, 8, 12), overlap=overlap, divisor=ONES)
    total = torch.zeros(size)
    for place in tiling.places(0):
        total[tiling.covered(place)] += tiling.weight(place)
    torch.testing.assert_close(total, torch.ones(size), rtol=0, atol=1e-5)


def test_tiles_share_at_least_the_overlap_and_reach_both_ends() -> None:
    for length in range(20, 70):
        starts = starts_along(length, 16, 0.5)
        assert starts[0] == 0
        assert starts[-1] + 16 == length
        assert max(np.diff(starts)) <= 8


def test_tiles_come_in_order_along_the_slow_axis() -> None:
    tiling = Tiling.of((20, 20, 40), (8, 8, 8), overlap=0.5, divisor=ONES)
    along = [place[2] for place in tiling.places(2)]
    assert along == sorted(along)
    assert len(set(tiling.places(2))) == np.prod([len(starts) for starts in tiling.starts])


def test_a_little_longer_than_the_patch_is_one_tile_of_its_own_length_rounded_up() -> None:
    tiling = Tiling.of((18, 21, 16), (16, 16, 16), overlap=0.5, divisor=(4, 4, 4))
    assert tiling.sides == (20, 16, 16)  # 18 -> 20; 21 is more than a quarter longer
    assert tiling.starts == ((-1,), starts_along(21, 16, 0.5), (0,))


def test_a_grid_smaller_than_the_patch_lies_in_the_middle_of_zeros() -> None:
    tiling = Tiling.of((3, 4, 5), (8, 8, 8), overlap=0.5, divisor=ONES)
    tile = tiling.cut(np.ones((2, 3, 4, 5), np.float32), (0, 0, 0)).numpy()
    assert tile.shape == (2, 8, 8, 8)
    assert tile.sum() == 2 * 3 * 4 * 5
    np.testing.assert_array_equal(np.argwhere(tile[0]).min(axis=0), [2, 2, 1])
    assert tiling.inside((0, 0, 0)) == (slice(2, 5), slice(2, 6), slice(1, 6))


def test_weights_fall_from_the_centre_and_are_nearly_nothing_at_a_shared_edge() -> None:
    tiling = Tiling.of((64, 16, 16), (16, 16, 16), overlap=0.5, divisor=ONES)
    second = tiling.weights[0][1]
    assert second[:2].max() < 1e-2
    assert second[0] < 1e-5
    assert torch.all(second[:8].diff() >= -1e-6)
