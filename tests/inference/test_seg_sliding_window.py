"""Tile by tile in the memory of one layer is the same as all at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medcnn.inference.sliding_window import Answer, SlidingWindow, pieces
from medcnn.inference.tiles import Tiling

CPU = torch.device("cpu")
SIZE = (21, 30, 26)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def window(
    size: tuple[int, ...], patch: tuple[int, ...], at_once: int = 3, channels: int = 2, **more: int
) -> SlidingWindow:
    tiling = Tiling.of(size, patch, overlap=0.5, divisor=(1, 1, 1), stretch=1.0)
    return SlidingWindow(tiling, channels, at_once, CPU, **more)


def walked(walk: SlidingWindow, image: np.ndarray, answer: Answer) -> Tensor:
    rows = [rows.clone() for rows in walk.final_rows(image, answer)]
    return torch.cat(rows, dim=1).movedim(1, 1 + walk.slow)


def by(network: nn.Module) -> Answer:
    @torch.no_grad()
    def answer(tiles: Sequence[Tensor]) -> list[Tensor]:
        return list(network(torch.stack(list(tiles))))

    return answer


@pytest.mark.parametrize("patch", [(8, 10, 12), (4, 30, 26), (21, 7, 9), (40, 8, 40), (1, 16, 16)])
@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_a_constant_answer_comes_out_constant(patch: tuple[int, ...], at_once: int) -> None:
    walk = window(SIZE, patch, at_once)
    found = walked(walk, noise(1, *SIZE), lambda tiles: [torch.full((2, *patch), 0.3) for _ in tiles])
    torch.testing.assert_close(found, torch.full((2, *SIZE), 0.3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("patch", [(8, 10, 12), (12, 16, 8), (10, 30, 26)])
def test_a_network_of_one_3x3x3_convolution_equals_the_whole_volume(patch: tuple[int, ...]) -> None:
    """Also at the borders: the zeros around the volume are those around the tiles there.

    Only a tile's outermost voxels lack a neighbour, and those weigh about 1e-6 where another tile covers them.
    """
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.Sigmoid())
    image = noise(1, *SIZE)
    with torch.no_grad():
        whole = network(torch.from_numpy(image)[None])[0]
    torch.testing.assert_close(walked(window(SIZE, patch), image, by(network)), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("patch", [(8, 10, 12), (5, 30, 9), (21, 6, 26)])
@pytest.mark.parametrize("at_once", [1, 4, 1000])
def test_answers_that_differ_from_tile_to_tile_are_weighted_as_if_summed_up_at_once(
    patch: tuple[int, ...], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medcnn.inference.sliding_window._SMALL_RING_BYTES", 0)  # layers never share a ring
    walk = window(SIZE, patch, at_once)
    tiling, expected = walk.tiling, torch.zeros(2, *SIZE, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    said = {place: torch.rand(2, *tiling.sides, generator=generator) for place in tiling.places(walk.slow)}
    for place, answer in said.items():
        part = answer[(slice(None), *tiling.inside(place))].double()
        expected[(slice(None), *tiling.covered(place))] += part * tiling.weight(place).double()
    order = iter(walk.tiling.places(walk.slow))
    found = walked(walk, noise(1, *SIZE), lambda tiles: [said[next(order)] for _ in tiles])
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)


def test_half_precision_sums_lose_a_thousandth_at_most() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.Sigmoid())
    image = noise(1, *SIZE)
    half, full = (walked(window(SIZE, (8, 8, 8), half_above_mb=limit), image, by(network)) for limit in (0, 1000))
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), full, rtol=0, atol=2e-3)


def test_rows_become_final_along_the_axis_whose_layer_is_smallest() -> None:
    assert window((20, 30, 80), (16, 16, 16)).slow == 2
    assert window((80, 30, 20), (16, 16, 16)).slow == 0
    assert window((64, 64, 40), (64, 64, 1)).slow == 2  # slices


def test_memory_is_that_of_one_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medcnn.inference.sliding_window._SMALL_RING_BYTES", 0)
    walk = window((32, 32, 200), (16, 16, 16), at_once=7)
    sizes = [rows.untyped_storage().nbytes() for rows in walk.final_rows(noise(1, 32, 32, 200), by(nn.Conv3d(1, 2, 1)))]
    assert set(sizes) == {16 * 32 * 32 * 2 * 4}
    assert max(len(group) for group in walk.groups()) == 7


def test_slices_of_several_layers_share_a_batch() -> None:
    walk = window((16, 16, 40), (16, 16, 1), at_once=10)
    assert [len(group) for group in walk.groups()] == [10] * 4


def test_rows_in_a_ring() -> None:
    assert list(pieces(3, 5, 8)) == [(slice(3, 5), slice(0, 2))]
    assert list(pieces(14, 19, 8)) == [(slice(6, 8), slice(0, 2)), (slice(0, 3), slice(2, 5))]
