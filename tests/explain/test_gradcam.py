"""Grad-CAM of networks whose reasons are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medcnn.config.model import PlainCNNConf, ResNetConf
from medcnn.explain.gradcam import grad_cam, target_layer
from medcnn.networks.build import build_network


class LooksAtOneCorner(nn.Module):
    """Class 1 is the brightness of the first corner, class 0 that of the last; nothing else is looked at."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.conv = (nn.Conv2d if dims == 2 else nn.Conv3d)(1, 2, 1, bias=False)
        self.conv.weight.data.fill_(1.0)
        self.dims = dims

    def forward(self, image: Tensor) -> Tensor:
        maps = self.conv(image).relu()
        quarter = [side // 4 for side in image.shape[2:]]
        first = (slice(None), 0, *[slice(0, q) for q in quarter])
        last = (slice(None), 1, *[slice(-q, None) for q in quarter])
        return torch.stack([maps[last].flatten(1).sum(1), maps[first].flatten(1).sum(1)], dim=1)


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
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 2))
    scan = np.random.default_rng(0).standard_normal((1, 12, 12)).astype(np.float32)
    maps = network[0](torch.from_numpy(scan)[None])
    score = network[1:](maps)[0, 1]
    (gradient,) = torch.autograd.grad(score, maps)
    heat = (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True).relu()
    heat = nn.functional.interpolate(heat, size=(12, 12), mode="bilinear", align_corners=False)[0, 0].detach()
    np.testing.assert_allclose(grad_cam(network, scan, 1), (heat / heat.max()).numpy(), atol=1e-5)


def test_the_layer_that_is_looked_at() -> None:
    plain = build_network(PlainCNNConf(widths=[4, 8], hidden=[]), in_channels=1, num_outputs=2, size_px=(16, 16))
    assert isinstance(plain.get_submodule(target_layer(plain)), nn.Conv2d)
    assert plain.get_submodule(target_layer(plain)).out_channels == 8
    resnet = build_network(ResNetConf(width=4), in_channels=1, num_outputs=2, size_px=(16, 16))
    assert target_layer(resnet) == "body.layer4"
    with pytest.raises(ValueError, match="needs a network with convolutions"):
        target_layer(nn.Linear(2, 2))


def test_a_network_is_left_as_it_was() -> None:
    """A thousand scans must not leave a thousand hooks, nor gradients, nor another mode."""
    network = build_network(PlainCNNConf(widths=[4, 8], hidden=[8]), in_channels=1, num_outputs=2, size_px=(16, 16))
    seen: list[int] = []
    own = network.get_submodule(target_layer(network)).register_forward_hook(lambda *given: seen.append(1))
    scan = np.random.default_rng(0).standard_normal((1, 16, 16)).astype(np.float32)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for _ in range(3):
        grad_cam(network.eval(), scan, 1)
    hooks = [len(module._forward_hooks) + len(module._backward_hooks) for module in network.modules()]
    assert sum(hooks) == 1  # the one that was there before
    assert len(seen) == 3
    own.remove()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network.training


def test_it_works_while_gradients_are_off() -> None:
    scan = image(2, first=1.0)
    with torch.no_grad():
        assert grad_cam(LooksAtOneCorner(2), scan, 1).max() == 1
