"""Grad-CAM of networks whose reasons are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_networks import LooksAtOneCorner, two_stages
from torch import nn

from medcnn.config.model import PlainCNNConf, ResNetConf
from medcnn.explain.gradcam import grad_cam, target_layer
from medcnn.networks.build import build_network


def image(dims: int, *, first: float = 0.0, last: float = 0.0) -> np.ndarray:
    made = np.zeros((1, *[16] * dims), np.float32)
    made[(0, *[slice(0, 4)] * dims)] = first
    made[(0, *[slice(-4, None)] * dims)] = last
    return made


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("class_index", [0, 1])
def test_only_the_corner_that_decides_lights_up(dims: int, class_index: int) -> None:
    """One bright corner; the map of the class that looks there is 1 in it and 0 everywhere else."""
    where = slice(0, 4) if class_index else slice(-4, None)
    shown = image(dims, first=3.0) if class_index else image(dims, last=3.0)
    heat = grad_cam(LooksAtOneCorner(dims), shown, class_index)
    expected = np.zeros([16] * dims, np.float32)
    expected[(where,) * dims] = 1.0
    np.testing.assert_allclose(heat, expected, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_nothing_lights_up_where_nothing_speaks_for_the_class(dims: int) -> None:
    heat = grad_cam(LooksAtOneCorner(dims), image(dims), 1)
    assert heat.shape == (16,) * dims
    assert not heat.any()


NETWORKS = [(PlainCNNConf(widths=[4, 8], hidden=[8]), (24, 32)), (ResNetConf(width=4), (32, 24)),
            (PlainCNNConf(widths=[4, 8], hidden=[8]), (12, 16, 20)), (ResNetConf(width=4), (16, 16, 20))]  # fmt: skip


@pytest.mark.parametrize(("conf", "size_px"), NETWORKS, ids=["plain 2D", "resnet 2D", "plain 3D", "resnet 3D"])
def test_every_network_of_ours_has_a_map_of_the_scans_size(conf: PlainCNNConf, size_px: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = build_network(conf, in_channels=1, num_outputs=3, size_px=size_px).eval()
    scan = np.random.default_rng(0).standard_normal((1, *size_px)).astype(np.float32)
    heats = [grad_cam(network, scan, index) for index in range(3)]
    for heat in heats:
        assert heat.shape == size_px
        assert heat.min() >= 0
        assert heat.max() in (0, 1)
    assert max(heat.max() for heat in heats) == 1
    assert not np.array_equal(heats[0], heats[1])


def test_it_is_the_paper_by_hand() -> None:
    """Weights: the gradient averaged over the map; heat: the weighted sum of maps above zero, stretched linearly."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 2))
    scan = np.random.default_rng(0).standard_normal((1, 12, 12)).astype(np.float32)
    maps = network[:2](torch.from_numpy(scan)[None])
    score = network[2:](maps)[0, 1]
    (gradient,) = torch.autograd.grad(score, maps)
    heat = (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True).relu()
    heat = nn.functional.interpolate(heat, size=(12, 12), mode="bilinear", align_corners=False)[0, 0].detach()
    assert heat.max() > 0
    np.testing.assert_allclose(grad_cam(network, scan, 1), (heat / heat.max()).numpy(), atol=1e-5)


def test_it_works_while_gradients_are_off() -> None:
    scan = image(2, first=1.0)
    with torch.no_grad():
        assert grad_cam(LooksAtOneCorner(2), scan, 1).max() == 1


def test_a_network_is_left_as_it_was() -> None:
    """A thousand scans must not leave a thousand hooks, nor gradients, nor another mode."""
    network = two_stages(2)
    seen: list[int] = []
    own = network.get_submodule(target_layer(network)).register_forward_hook(lambda *given: seen.append(1))
    scan = np.random.default_rng(0).standard_normal((1, 16, 16)).astype(np.float32)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for _ in range(3):
        grad_cam(network.eval(), scan, 1)
    hooks = [len(module._forward_hooks) + len(module._backward_hooks) for module in network.modules()]
    assert sum(hooks) == 1  # the one that was there before
    assert len(seen) == 4  # and the first time once more, to find the layer
    own.remove()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network.training
