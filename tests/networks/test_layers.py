"""Layers from the input to the head: held, freed one after the other, and learnt at rates of their own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medcnn.config.model import (
    ClassifierConf,
    ConvNeXtConf,
    DenseNetConf,
    EfficientNetConf,
    InceptionConf,
    MobileNetConf,
    PlainCNNConf,
    ResNetConf,
    VGGConf,
)
from medcnn.networks.build import build_network
from medcnn.networks.covariates import with_covariates
from medcnn.networks.layers import freeze, hold_norms, layer_groups
from medcnn.networks.weights_fit import head_of

NETWORKS: list[tuple[ClassifierConf, tuple[int, ...], int]] = [  # and how many groups
    (PlainCNNConf(widths=[4, 8], convolutions=1, hidden=[8]), (16, 16), 3),
    (ResNetConf(width=8, dropout=0.1), (32, 32), 6),
    (ResNetConf(width=8), (16, 16, 16), 6),
    (VGGConf(variant="vgg11"), (32, 32), 9),
    (DenseNetConf(), (32, 32), 9),
    (DenseNetConf(), (32, 32, 32), 9),
    (InceptionConf(variant="googlenet"), (32, 32), 13),
    (MobileNetConf(variant="mobilenetv3_small_100"), (32, 32), 9),
    (EfficientNetConf(), (32, 32), 10),
    (EfficientNetConf(), (32, 32, 32), 10),
    (ConvNeXtConf(variant="convnext_atto"), (32, 32), 6),
]
EACH = pytest.mark.parametrize(("conf", "size_px", "count"), NETWORKS)


def built(conf: ClassifierConf, size_px: tuple[int, ...]) -> nn.Module:
    torch.manual_seed(0)
    return build_network(conf, in_channels=1, num_outputs=2, size_px=size_px)


def resnet() -> nn.Module:
    return built(ResNetConf(width=8), (32, 32))


@EACH
def test_every_parameter_stands_in_one_group_in_the_order_of_the_way(
    conf: ClassifierConf, size_px: tuple[int, ...], count: int
) -> None:
    network = built(conf, size_px)
    groups = layer_groups(network)
    assert len(groups) == count
    assert [id(p) for group in groups for p in group] == [id(p) for p in network.parameters()]
    kernel = next(p for p in network.parameters() if p.ndim > 2)
    assert groups[0][0] is kernel  # the input's
    head = network.get_submodule(head_of(network))
    assert any(p is head.weight for p in groups[-1])
    assert all(any(p.ndim > 1 for p in group) for group in groups)  # no norm is alone


def test_what_joins_covariates_learns_with_the_head() -> None:
    alone = resnet()
    network = with_covariates(alone, 3)
    groups = layer_groups(network)
    assert len(groups) == len(layer_groups(alone))
    assert sorted(id(p) for group in groups for p in group) == sorted(id(p) for p in network.parameters())
    assert len(groups[-1]) == 2 + 6  # weight and bias of the head, and of the three layers beside it


def test_the_head_alone_moves_where_the_others_are_held() -> None:
    network = resnet()
    freeze(network, 5)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    assert hold_norms(network) == 20  # one behind each convolution
    optimizer = torch.optim.SGD(network.parameters(), 0.1, weight_decay=0.1)  # all are in it
    network(torch.randn(4, 1, 32, 32)).square().sum().backward()
    optimizer.step()
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"body.fc.weight", "body.fc.bias"}


def test_layers_are_held_and_freed_again() -> None:
    network = resnet()
    freeze(network, 5)
    freeze(network, 3)
    learnt = [any(p.requires_grad for p in group) for group in layer_groups(network)]
    assert learnt == [False, False, False, True, True, True]
    network.train()
    assert hold_norms(network) == 10  # the stem's, and those of two stages, the second's shortcut among them
    freeze(network, 99)
    assert [p.requires_grad for p in network.parameters()][-2:] == [True, True]  # the head is never held
    freeze(network, 0)
    network.train()
    assert hold_norms(network) == 0
