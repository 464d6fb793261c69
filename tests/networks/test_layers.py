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
from medcnn.networks.layers import ALL_BUT_HEAD, freeze, hold_norms, layer_groups, parameter_groups, thawed
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


def test_rates_fall_from_the_head_to_the_input() -> None:
    network = resnet()
    made = parameter_groups(network, 1e-2, 0.5, weight_decay=0.1)
    assert sorted({group["lr"] for group in made}) == pytest.approx([1e-2 * 0.5**n for n in (5, 4, 3, 2, 1, 0)])
    assert sum(len(group["params"]) for group in made) == len(list(network.parameters()))
    for group in made:
        assert group["lr"] == pytest.approx(1e-2 * group["lr_scale"])
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])
    rates = {id(p): group["lr"] for group in made for p in group["params"]}
    assert rates[id(network.get_parameter("body.conv1.weight"))] == pytest.approx(1e-2 / 32)
    assert rates[id(network.get_parameter("body.fc.weight"))] == 1e-2
    torch.optim.AdamW(made)  # takes them


def test_frozen_groups_are_not_learnt() -> None:
    network = resnet()
    made = parameter_groups(network, 1e-2, frozen=ALL_BUT_HEAD)
    assert [id(p) for group in made for p in group["params"]] == [id(p) for p in layer_groups(network)[-1]]
    assert len(parameter_groups(network, 1e-2, frozen=99)) == 2  # the head is never held


def test_the_linear_probe_moves_the_head_alone() -> None:
    network = resnet()
    assert freeze(network, ALL_BUT_HEAD) == 5
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    assert hold_norms(network) == 20  # one behind each convolution
    optimizer = torch.optim.SGD(parameter_groups(network, 0.1, frozen=ALL_BUT_HEAD))
    network(torch.randn(4, 1, 32, 32)).square().sum().backward()
    optimizer.step()
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"body.fc.weight", "body.fc.bias"}


def test_layers_are_freed_one_after_the_other() -> None:
    assert [thawed(6, epoch, 2) for epoch in range(12)] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    assert thawed(6, 100, 1) == 0
    network = resnet()
    freeze(network, 5)
    freeze(network, 3)
    learnt = [any(p.requires_grad for p in group) for group in layer_groups(network)]
    assert learnt == [False, False, False, True, True, True]
    network.train()
    assert hold_norms(network) == 10  # the stem's, and those of two stages, the second's shortcut among them
    freeze(network, 0)
    network.train()
    assert hold_norms(network) == 0
