"""Filters and feature maps: the network's own numbers, the planes that are said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_networks import Linear, noise, two_stages

from medcnn.explain.filters import feature_maps, first_filters, middle_planes


@pytest.mark.parametrize("dims", [2, 3])
def test_the_first_convolutions_kernels(dims: int) -> None:
    network = two_stages(dims, channels=2)
    found = first_filters(network, most=3)
    assert (found.layer, found.count, found.indices, found.size) == ("0", 4, (0, 1, 2), (3,) * dims)
    kernel = network[0].weight.detach().mean(dim=1)[1].numpy()
    np.testing.assert_allclose(found.planes[1], kernel if dims == 2 else kernel[::-1, ::-1, 1].T, atol=1e-7)
    with pytest.raises(ValueError, match="no convolution"):
        first_filters(Linear(1, (8, 8)))


@pytest.mark.parametrize("size", [(32, 24), (16, 12, 20)], ids=["2D", "3D"])
def test_maps_of_named_layers_strongest_first(size: tuple[int, ...]) -> None:
    network, image = two_stages(len(size)), noise(1, *size)
    first, last = feature_maps(network, image, ["1", "5"], most=2)
    with torch.no_grad():
        maps = network[:6](torch.from_numpy(image)[None])[0].numpy()
    strength = np.abs(maps).mean(axis=tuple(range(1, maps.ndim)))
    assert last.indices == tuple(np.argsort(-strength)[:2].tolist())
    np.testing.assert_allclose(last.planes, middle_planes(maps[list(last.indices)]), atol=1e-6)
    assert (first.layer, first.count, first.size) == ("1", 4, tuple(side // 2 for side in size))
    assert not any(module._forward_hooks for module in network.modules())


def test_without_names_the_last_layer_of_every_size() -> None:
    found = feature_maps(two_stages(2), noise(1, 32, 24))
    assert [tiles.layer for tiles in found] == ["2", "5", "6"]
    assert [tiles.size for tiles in found] == [(16, 12), (8, 6), (2, 2)]


def test_a_layer_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"no layer 'body\.layer4' answers with a map: 0, 1, 2, 3, 4, 5, 6"):
        feature_maps(two_stages(2), noise(1, 32, 24), ["body.layer4"])
    with pytest.raises(ValueError, match="no layer '8'"):
        feature_maps(two_stages(2), noise(1, 32, 24), ["8"])


def test_a_volume_is_hung_with_the_face_up_and_the_right_side_on_the_left() -> None:
    volume = np.zeros((1, 4, 6, 5), np.float32)
    volume[0, 3, 5, 2] = 1  # right, anterior, in the middle
    (plane,) = middle_planes(volume)
    assert plane.shape == (6, 4)
    assert plane[0, 0] == 1
