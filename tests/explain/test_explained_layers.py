"""Which layer is looked at, in networks as people build them."""

from __future__ import annotations

import pytest
import torch
from known_networks import two_stages
from torch import Tensor, nn

from medcnn.explain.layers import has_maps, passed, target_layer


class Residual(nn.Module):
    """A block with a gate of squeeze and excitation, whose 1 x 1 convolutions see a single point, and one of space."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1), nn.Sigmoid())
        self.spatial = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        found = self.conv(image)
        found = found * self.squeeze(found)
        found = found * self.spatial(found.mean(dim=1, keepdim=True)).sigmoid()
        return (found + image).relu()


class PoolsFirst(nn.Module):
    """As MobileNetV3: the last convolution comes after the pooling. With a head that answers twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.stage = nn.Sequential(Residual(4), Residual(4))
        self.last = nn.Conv2d(4, 8, 1)
        self.act = nn.ReLU()
        self.head = nn.Linear(8, 2)

    def forward(self, image: Tensor) -> Tensor:
        maps = self.stage(self.act(self.stem(image)))
        pooled = self.act(self.last(maps.mean(dim=(2, 3), keepdim=True)))
        return self.head(pooled.flatten(1))


def test_past_gates_and_sums_to_the_end_of_the_stage() -> None:
    network = PoolsFirst().eval()
    assert target_layer(network, torch.zeros(1, 1, 12, 12)) == "stage"
    names = [one.name for one in passed(network, torch.zeros(1, 1, 12, 12))]
    assert "act" not in names  # which of its two answers?
    assert names.index("stage.0.conv") < names.index("stage.0") < names.index("stage") < names.index("last")


@pytest.mark.parametrize("dims", [2, 3])
def test_past_norm_and_activation_up_to_the_pooling(dims: int) -> None:
    network = two_stages(dims)
    assert target_layer(network, torch.zeros(1, 1, *[16] * dims)) == "5"
    assert target_layer(network, torch.zeros(1, 1, *[1] * dims)) == "5"  # a single point, but there is no other
    assert target_layer(network) == "3"


def test_a_network_without_maps() -> None:
    assert not has_maps(nn.Linear(2, 2))
    assert has_maps(two_stages(2))
    with pytest.raises(ValueError, match="needs a network with convolutions"):
        target_layer(nn.Linear(2, 2))


def test_a_convolution_used_twice_is_no_place_to_look() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, image: Tensor) -> Tensor:
            return self.conv(self.conv(image)).flatten(1)[:, :2]

    with pytest.raises(ValueError, match="no convolution that answers once"):
        target_layer(Twice(), torch.zeros(1, 1, 8, 8))


TIMM = {
    "resnet18": "layer4", "densenet121": "features", "mobilenetv3_small_050": "blocks", "efficientnet_lite0": "bn2",
    "convnext_atto": "norm_pre", "seresnet18": "layer4", "inception_v3": "Mixed_7c", "vgg11": "features.19",
}  # fmt: skip


@pytest.mark.parametrize("name", TIMM)
def test_families_that_people_expect(name: str) -> None:
    timm = pytest.importorskip("timm")
    size = 139 if name == "inception_v3" else 64
    network = timm.create_model(name, pretrained=False, num_classes=2, in_chans=1).eval()
    assert target_layer(network, torch.zeros(1, 1, size, size)) == TIMM[name]
