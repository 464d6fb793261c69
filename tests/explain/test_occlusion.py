"""Occlusion: captum's numbers, the boxes that are said, and no more passes than are said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_networks import Linear, LooksAtOneCorner, noise, two_stages
from torch import nn

from medcnn.explain.heat import blank
from medcnn.explain.occlusion import MOST_PASSES, boxes, coarse_grid, losses, occlusion
from medcnn.inference.questions import together


@pytest.mark.parametrize(("size", "grid"), [((24, 16), (4, 4)), ((12, 8, 16), (4, 4, 4))], ids=["2D", "3D"])
@pytest.mark.parametrize("fill", ["darkest", "mean", "zero"])
def test_the_same_as_captum(size: tuple[int, ...], grid: tuple[int, ...], fill: str) -> None:
    attr = pytest.importorskip("captum.attr")
    network, image = two_stages(len(size), channels=2), noise(2, *size)
    found = losses(network, image, 1, fill=fill, most_passes=int(np.prod(grid)), wide_strides=1.0)
    window = (1, *(side // count for side, count in zip(size, grid, strict=True)))
    expected = np.zeros(size, np.float32)
    baseline = torch.from_numpy(np.broadcast_to(blank(image[None], fill), (1, 2, *size)).copy())
    with torch.no_grad():
        expected = (
            attr.Occlusion(network)
            .attribute(
                torch.from_numpy(image)[None], (2, *window[1:]), target=1, strides=(2, *window[1:]), baselines=baseline
            )[0, 0]
            .numpy()
        )
    assert found.shape == grid
    wide = found
    for axis, sides in enumerate(window[1:]):
        wide = wide.repeat(sides, axis)
    np.testing.assert_allclose(wide, expected, atol=1e-5)


@pytest.mark.parametrize(("size", "grid"), [((28, 20), (16, 16)), ((10, 300), (10, 16)), ((64, 64, 5), (6, 6, 5))])
def test_the_boxes_cover_the_scan_evenly(size: tuple[int, ...], grid: tuple[int, ...]) -> None:
    assert coarse_grid(size, MOST_PASSES) == grid
    hidden, covered = list(boxes(size, grid, 2.0)), np.zeros(size, int)
    assert len(hidden) == np.prod(grid) <= MOST_PASSES
    for box in hidden:
        covered[box] += 1
    assert covered.min() >= 1
    assert (covered == covered[tuple(slice(None, None, -1) for _ in size)]).all()  # no side is favoured


@pytest.mark.parametrize("size", [(64, 48), (16, 18, 20)])
def test_no_more_passes_than_said_and_no_more_memory_than_a_question(size: tuple[int, ...]) -> None:
    asked: list[int] = []

    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            asked.append(len(image))
            return image.flatten(1).sum(1, keepdim=True) * self.weight

    occlusion(Counts(), noise(1, 1, *size), [0])
    most = together(size, torch.device("cpu"))
    assert set(asked) == {most}  # of one size, so that no other kernel computes the last one
    assert sum(asked) <= MOST_PASSES + 2 * most


@pytest.mark.parametrize("dims", [2, 3])
def test_of_a_linear_network_a_box_takes_what_lies_in_it(dims: int) -> None:
    size = (12,) * dims
    network, image = Linear(1, size), noise(1, *size)
    found = losses(network, image, 0, fill="zero", most_passes=3**dims, wide_strides=1.0)
    share = (network.weight[0, 0].detach().numpy() * image[0]).reshape([3, 4] * dims)
    np.testing.assert_allclose(found, share.sum(axis=tuple(range(1, 2 * dims, 2))), atol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_only_the_region_that_is_read_lights_up(dims: int) -> None:
    image = np.zeros((1, 1, *[32] * dims), np.float32)
    image[(0, 0, *[slice(2, 6)] * dims)] = 2.0
    image[(0, 0, *[slice(24, 30)] * dims)] = 2.0  # as bright, but read for the other class
    (heat,) = occlusion(LooksAtOneCorner(dims), image, [1])
    peak = np.array(np.unravel_index(heat.argmax(), heat.shape))
    assert (np.abs(peak - 3.5) <= (2 if dims == 2 else 4)).all()
    assert not heat[(slice(16, None),) * dims].any()
