"""A network of pictures inflated to volumes: on equal slices it answers as on the slice, for every layer it knows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medcnn.config.errors import ConfigError
from medcnn.config.model import (
    ClassifierConf,
    ConvNeXtConf,
    DenseNetConf,
    EfficientNetConf,
    InceptionConf,
    MobileNetConf,
    PlainCNNConf,
    ResNetConf,
    ResNeXtConf,
    VGGConf,
)
from medcnn.networks.build import build_network
from medcnn.networks.inflate import InflatedConv, beyond, inflate, inflated, inflated_kernel

CLOSE, FAR = 1e-7, 1e-5  # in double precision
NETWORKS: list[tuple[ClassifierConf, int]] = [
    (PlainCNNConf(widths=[8, 16], hidden=[8], head="flatten", attention="cbam"), 24),
    (PlainCNNConf(widths=[8, 16], norm="group", pooling="average", head="max"), 24),
    (PlainCNNConf(widths=[8, 16], norm="instance", pooling="stride"), 24),
    (ResNetConf(width=16, stem="large", attention="se", drop_path=0.1), 40),
    (VGGConf(variant="vgg11_bn"), 33),
    (ResNeXtConf(variant="seresnext26d_32x4d"), 45),
    (InceptionConf(variant="googlenet"), 45),
    (InceptionConf(variant="inception_v3"), 80),
    (InceptionConf(variant="inception_v4"), 75),
    (InceptionConf(variant="inception_resnet_v2"), 75),
    (DenseNetConf(), 45),
    (MobileNetConf(variant="mobilenetv2_050"), 45),
    (MobileNetConf(variant="mobilenetv3_small_100"), 45),
    (MobileNetConf(variant="mobilenetv4_conv_small"), 45),
    (EfficientNetConf(variant="efficientnet_lite0"), 45),
    (EfficientNetConf(variant="efficientnet_b0"), 45),
    (EfficientNetConf(variant="efficientnetv2_rw_t"), 45),
    (ConvNeXtConf(variant="convnext_atto"), 45),
]


def name_of(value: object) -> str:
    return str(getattr(value, "variant", getattr(value, "name", value)))


def awake(network: nn.Module, image: Tensor) -> nn.Module:
    """As after a training: branches that start at nothing do something, and norms know what passes through them."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    for name, parameter in network.named_parameters():
        if name.endswith("gamma"):
            nn.init.ones_(parameter)
    network.train()(image)
    return network.eval()


def equal_slices(image: Tensor, slices: int) -> Tensor:
    return image[..., None].expand(*image.shape, slices)


@pytest.mark.parametrize(("conf", "side"), NETWORKS, ids=name_of)
def test_equal_slices_get_the_slices_answer(conf: ClassifierConf, side: int) -> None:
    torch.manual_seed(0)
    plane = build_network(conf, in_channels=2, num_outputs=3, size_px=(side, side)).double()
    with torch.no_grad():
        awake(plane, torch.randn(4, 2, side, side + 7, dtype=torch.float64))
        image = torch.randn(1, 2, side, side + 7, dtype=torch.float64)
        wanted = plane(image)
        volumes = inflate(plane)
        for slices in (1, 6):
            answer = volumes(equal_slices(image, slices))
            assert (answer - wanted).abs().max() < CLOSE * max(1, float(wanted.abs().max()))
        other = torch.cat([equal_slices(image, 3), torch.zeros(1, 2, side, side + 7, 3, dtype=torch.float64)], -1)
        assert (volumes(other) - wanted).abs().max() > FAR  # it looks at every slice
    layers = [module for module in volumes.modules() if not list(module.children())]
    assert not any(type(layer).__name__.endswith("2d") for layer in layers)


def test_an_inflated_network_learns_in_single_precision() -> None:
    conf = MobileNetConf(variant="mobilenetv3_small_100")
    network = build_network(conf, in_channels=1, num_outputs=2, size_px=(32, 32, 8))
    network(torch.randn(2, 1, 32, 32, 8)).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (7, 2, 3), (4, 4, 0), (1, 2, 0), (5, 3, 2)]
)
@pytest.mark.parametrize("slices", [1, 2, 5, 9])
def test_slices_are_divided_by_the_stride_and_rounded_up(kernel: int, stride: int, padding: int, slices: int) -> None:
    plane = nn.Conv2d(1, 2, kernel, stride=stride, padding=padding)
    image = torch.randn(1, 1, 16, 16)
    answer = InflatedConv(plane)(equal_slices(image, slices))
    assert answer.shape[-1] == -(-slices // stride)
    torch.testing.assert_close(answer, equal_slices(plane(image), answer.shape[-1]))


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (3, 2, 0)])
def test_pooling_goes_with_it(kernel: int, stride: int, padding: int, *, counts: bool, ceil_mode: bool) -> None:
    image = torch.randn(2, 3, 9, 8)
    average = nn.AvgPool2d(kernel, stride, padding, ceil_mode=ceil_mode and not padding, count_include_pad=counts)
    for plane in (average, nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)):
        for slices in (1, 4, 5):
            answer = inflated(plane)(equal_slices(image, slices))
            assert answer.shape[-1] == -(-slices // stride)
            torch.testing.assert_close(answer, equal_slices(plane(image), answer.shape[-1]))


def test_a_kernel_keeps_its_sum() -> None:
    kernel = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(inflated_kernel(kernel, 5).sum(dim=-1), kernel)


def test_what_lies_beyond_is_the_nearest_slice() -> None:
    x = torch.arange(4.0).reshape(1, 1, 1, 1, 4)
    assert beyond(x, 5, 1).flatten().tolist() == [0, 0, 0, 1, 2, 3, 3, 3]
    assert beyond(x, 1, 2) is x


def test_a_layer_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"how FractionalMaxPool2d is inflated"):
        inflate(nn.Sequential(nn.FractionalMaxPool2d(2, output_size=4)))
