"""Integrated gradients: the pixels add up, captum's numbers, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_networks import Linear, noise, two_stages
from torch import nn

from medcnn.explain.heat import blank
from medcnn.explain.integrated_gradients import Completeness, attributions, integrated_gradients

SIZES = [(14, 12), (8, 9, 7)]


@pytest.mark.parametrize("size", SIZES, ids=["2D", "3D"])
@pytest.mark.parametrize("baseline", ["zero", "darkest", "mean"])
def test_of_a_linear_network_each_pixel_adds_its_weight_times_its_value(size: tuple[int, ...], baseline: str) -> None:
    network, image = Linear(2, size), noise(2, *size)
    added, check = attributions(network, image, 1, baseline=baseline)
    empty = blank(image[None], baseline)[0]
    np.testing.assert_allclose(added, network.weight[1].detach().numpy() * (image - empty), atol=1e-5)
    assert check.intervals == 15  # the first sum came out
    assert check.gap < 1e-5


class Square(nn.Module):
    """Half the sum of squares: each pixel adds half its square on the way from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image**2).flatten(1).sum(1, keepdim=True) / 2 * self.weight


def test_of_squares_each_pixel_adds_half_its_square() -> None:
    image = noise(1, 6, 5)
    np.testing.assert_allclose(attributions(Square(), image, 0, baseline="zero")[0], image**2 / 2, atol=1e-5)


@pytest.mark.parametrize("size", SIZES, ids=["2D", "3D"])
def test_the_same_as_captum(size: tuple[int, ...]) -> None:
    attr = pytest.importorskip("captum.attr")
    network, image = two_stages(len(size)), noise(1, *size)
    added, check = attributions(network, image, 1, tolerance=0.002, most_intervals=2000)
    assert check.holds(0.002)
    empty = torch.from_numpy(np.broadcast_to(blank(image[None], "darkest"), (1, 1, *size)).copy())
    expected, delta = attr.IntegratedGradients(network).attribute(
        torch.from_numpy(image)[None], empty, target=1, n_steps=400, return_convergence_delta=True
    )
    assert abs(float(delta)) < 0.01
    np.testing.assert_allclose(added, expected[0].detach().numpy(), atol=0.02 * float(expected.abs().max()))


def test_the_way_is_walked_in_smaller_steps_until_the_sum_comes_out() -> None:
    network, image = two_stages(2, seed=4), noise(1, 16, 16)
    checks = [attributions(network, image, 0, tolerance=tolerance)[1] for tolerance in (0.2, 0.0005)]
    assert checks[0].intervals < checks[1].intervals
    with torch.no_grad():
        empty = np.broadcast_to(blank(image[None], "darkest"), (1, 1, 16, 16))
        logits = network(torch.from_numpy(np.concatenate([image[None], empty])))[:, 0]
    assert checks[0].growth == pytest.approx(float(logits[0] - logits[1]), abs=1e-5)


def test_a_gap_is_said() -> None:
    assert Completeness(240, 1.0, 0.2).words().endswith("differ from the answer's growth by 20.0% after 240 steps, "
                                                        "more than 5%: the map is not exact")  # fmt: skip
    assert "not exact" not in Completeness(15, 1.0, 0.01).words()


def test_what_speaks_against_is_no_heat() -> None:
    network = Linear(1, (8, 8))
    image = noise(1, 1, 8, 8)
    heat, checks = integrated_gradients(network, image, [0])
    added = attributions(network, image[0], 0)[0][0]
    assert ((heat[0] > 0) == (added > 0)).all()
    assert heat.max() == 1
    assert len(checks) == 1


def test_a_scan_that_is_blank_already() -> None:
    heat, checks = integrated_gradients(two_stages(2), np.ones((1, 1, 16, 16), np.float32), [0])
    assert not heat.any()
    assert checks[0].holds()
