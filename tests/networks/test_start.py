"""Weights that know normalised pictures answer alike on medcnn's own scale."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from medcnn.config.model import MobileNetConf
from medcnn.networks.build import build_network
from medcnn.networks.pretrained import Pretrained
from medcnn.networks.start import expect_from_minus_one_to_one, start_from

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("dims", [2, 3])
def test_inside_the_border_the_answer_is_the_same(dims: int, *, has_bias: bool) -> None:
    torch.manual_seed(0)
    convolution = (nn.Conv2d, nn.Conv3d)[dims - 2]
    norm = (nn.BatchNorm2d, nn.BatchNorm3d)[dims - 2]
    network = nn.Sequential(convolution(3, 5, 3, padding=1, bias=has_bias), norm(5), nn.ReLU(), convolution(5, 2, 1))
    network(torch.rand(4, 3, *[12] * dims))  # the norm has seen something
    network.eval()
    values = torch.rand(2, 3, *[10] * dims)
    shape = (1, 3, *[1] * dims)
    wanted = network((values - torch.tensor(MEAN).reshape(shape)) / torch.tensor(STD).reshape(shape))
    expect_from_minus_one_to_one(network, Pretrained("x", 1, mean=MEAN, std=STD))
    inside = (slice(None), slice(None), *[slice(1, -1)] * dims)
    torch.testing.assert_close(network(2 * values - 1)[inside], wanted[inside], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("scale", "is_left_alone"), [("range", False), ("percentiles", False), ("zscore", True)])
def test_what_zscore_makes_is_what_such_weights_know(tmp_path: Path, scale: str, *, is_left_alone: bool) -> None:
    conf = MobileNetConf(variant="mobilenetv2_050", pretrained=str(tmp_path / "w.safetensors"))
    network = build_network(conf, in_channels=1, num_outputs=2, size_px=(32, 32))
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, conf.pretrained)
    kernel = next(network.parameters()).detach().clone()
    start_from(network, conf, scale=scale)
    assert torch.equal(next(network.parameters()), kernel) == is_left_alone


def test_weights_of_that_scale_stay_as_they_are() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    expect_from_minus_one_to_one(network, Pretrained("x", 1, mean=(0.5,), std=(0.5,)))
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-7)
