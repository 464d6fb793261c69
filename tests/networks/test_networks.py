"""The plain CNN and the ResNets, for pictures and volumes: shapes, gradients, the stem that follows the size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from medcnn.config.errors import ConfigError
from medcnn.config.model import ModelConf, PlainCNNConf, ResNetConf
from medcnn.networks.build import build_network, model_conf, num_parameters
from medcnn.networks.plain_cnn import stem_stride


def plain(size_px: tuple[int, ...], *, channels: int = 1, outputs: int = 2, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    conf = PlainCNNConf(**{"widths": [4, 8, 8], "hidden": [8], **settings})
    return build_network(conf, in_channels=channels, num_outputs=outputs, size_px=size_px)


def resnet(size_px: tuple[int, ...], *, channels: int = 1, outputs: int = 2, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    conf = ResNetConf(**{"width": 4, **settings})
    return build_network(conf, in_channels=channels, num_outputs=outputs, size_px=size_px)


def answer(network: nn.Module, channels: int, size_px: tuple[int, ...], cases: int = 2) -> torch.Tensor:
    result: torch.Tensor = network(torch.randn(cases, channels, *size_px))
    return result


SIZES = [(8, 8), (28, 28), (96, 96), (224, 224), (512, 512), (31, 57), (8, 8, 8), (28, 28, 28), (33, 17, 40)]


@pytest.mark.parametrize("size_px", SIZES, ids=str)
@pytest.mark.parametrize("build", [plain, resnet])
def test_logits_for_every_size(build: Any, size_px: tuple[int, ...]) -> None:
    network = build(size_px, channels=2, outputs=3)
    logits = answer(network, 2, size_px)
    assert logits.shape == (2, 3)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("build", [plain, resnet])
def test_any_number_of_channels(build: Any, channels: int) -> None:
    assert answer(build((16, 16), channels=channels), channels, (16, 16)).shape == (2, 2)


@pytest.mark.parametrize("build", [plain, resnet])
@pytest.mark.parametrize("size_px", [(28, 28), (12, 12, 12), (224, 224)], ids=str)
def test_the_gradient_reaches_every_parameter(build: Any, size_px: tuple[int, ...]) -> None:
    network = build(size_px, dropout=0.0)
    answer(network, 1, size_px, cases=4).square().sum().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    biases = [name for name in still if name.endswith("bias")]  # those of dead units may rest
    assert [name for name in still if name not in biases] == []


# The plain CNN's options


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh"])
def test_each_activation(activation: str) -> None:
    network = plain((16, 16), activation=activation)
    kinds = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU}
    kind = kinds.get(activation, nn.Tanh)
    assert sum(isinstance(module, kind) for module in network.modules()) == 7  # six convolutions, one hidden layer
    assert answer(network, 1, (16, 16)).shape == (2, 2)


@pytest.mark.parametrize(
    ("norm", "kind", "count"),
    [
        ("batch", nn.BatchNorm2d, 6),
        ("instance", nn.InstanceNorm2d, 6),
        ("group", nn.GroupNorm, 6),
        ("none", nn.Module, 0),
    ],
)
def test_each_norm(norm: str, kind: type[nn.Module], count: int) -> None:
    network = plain((16, 16), norm=norm)
    if count:
        assert sum(isinstance(module, kind) for module in network.modules()) == count
    else:
        assert not any("Norm" in type(module).__name__ for module in network.modules())
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert all((module.bias is None) == (norm != "none") for module in convolutions)
    assert answer(network, 1, (16, 16)).shape == (2, 2)


@pytest.mark.parametrize("widths", [[5], [6, 12], [7, 9]])
def test_group_norm_finds_groups_for_any_width(widths: list[int]) -> None:
    assert answer(plain((16, 16), norm="group", widths=widths), 1, (16, 16)).shape == (2, 2)


@pytest.mark.parametrize("pooling", ["max", "average", "stride"])
@pytest.mark.parametrize("size_px", [(16, 16), (9, 9, 9)], ids=str)
def test_each_pooling_halves(pooling: str, size_px: tuple[int, ...]) -> None:
    network = plain(size_px, pooling=pooling)
    features = network.features(torch.randn(1, 1, *size_px))  # type: ignore[operator]
    assert features.shape == (1, 8, *[2] * len(size_px))  # 16, 8, 4, 2 or 9, 5, 3, 2


@pytest.mark.parametrize(("head", "inputs"), [("flatten", 8 * 9), ("average", 8), ("max", 8)])
def test_each_head(head: str, inputs: int) -> None:
    network = plain((16, 16), head=head, head_grid=3)
    first = next(module for module in network.head.modules() if isinstance(module, nn.Linear))  # type: ignore[union-attr]
    assert first.in_features == inputs
    assert answer(network, 1, (16, 16)).shape == (2, 2)


def test_the_heads_are_what_they_are_called() -> None:
    image = torch.randn(2, 1, 16, 16)
    for head, whole in (("average", torch.mean), ("max", torch.amax)):
        network = plain((16, 16), head=head, hidden=[], dropout=0.0).eval()
        last = network.head[-1]  # type: ignore[index]
        expected = last(whole(network.features(image), dim=(2, 3)))  # type: ignore[operator]
        torch.testing.assert_close(network(image), expected)


def test_depth_and_hidden_layers() -> None:
    network = plain((16, 16), convolutions=3, hidden=[6, 5], kernel_px=5, dropout=0.25)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size[0]) for c in convolutions] == [(4, 5)] * 3 + [(8, 5)] * 6
    linear = [module.out_features for module in network.modules() if isinstance(module, nn.Linear)]
    assert linear == [6, 5, 2]
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.25] * 3


@pytest.mark.parametrize(
    ("size_px", "stride"),
    [((8, 8), 1), ((96, 96), 1), ((191, 500), 1), ((192, 192), 2), ((224, 224), 2), ((383, 383), 2), ((384, 999), 4),
     ((512, 512), 4), ((768, 768), 8), ((64, 64, 64), 1), ((192, 192, 40), 1)],
)  # fmt: skip
def test_the_stem_follows_the_shortest_side(size_px: tuple[int, ...], stride: int) -> None:
    assert stem_stride(size_px) == stride


def test_the_stem_looks_at_every_pixel() -> None:
    """One impulse anywhere changes the answer: a stride never skips pixels."""
    network = plain((512, 512), norm="none", activation="tanh", pooling="average").eval()
    stem = network.features[0]  # type: ignore[index]
    assert (stem.stride, stem.kernel_size) == ((4, 4), (7, 7))
    impulses = torch.zeros(16, 1, 16, 16)
    for index in range(16):
        impulses[index, 0, 4 + index // 4, 4 + index % 4] = 1.0
    with torch.no_grad():
        moved = (stem(impulses) - stem(torch.zeros(1, 1, 16, 16))).abs().amax(dim=(1, 2, 3))
    assert (moved > 0).all()


@pytest.mark.parametrize("size_px", [(16, 16), (40, 24), (100, 100)], ids=str)
def test_another_size_than_the_one_it_was_built_for(size_px: tuple[int, ...]) -> None:
    network = plain((28, 28)).eval()
    assert answer(network, 1, size_px).shape == (2, 2)


# ResNets


@pytest.mark.parametrize(
    ("depth", "blocks", "kind"), [(18, 8, "ResNetBlock"), (34, 16, "ResNetBlock"), (50, 16, "ResNetBottleneck")]
)
@pytest.mark.parametrize("size_px", [(32, 32), (16, 16, 16)], ids=str)
def test_each_depth(depth: int, blocks: int, kind: str, size_px: tuple[int, ...]) -> None:
    network = resnet(size_px, depth=depth, outputs=3)
    assert sum(type(module).__name__ == kind for module in network.modules()) == blocks
    assert answer(network, 1, size_px).shape == (2, 3)


def test_resnet18_has_as_many_weights_as_the_paper() -> None:
    """11,689,512 (torchvision, 1000 classes) with a colour stem and the large one."""
    network = resnet((224, 224), channels=3, outputs=1000, width=64, stem="large")
    assert num_parameters(network) == 11_689_512


@pytest.mark.parametrize(
    ("size_px", "stem", "kernel", "stride", "side"),
    [
        ((28, 28), "auto", 3, 1, 4),
        ((63, 200), "auto", 3, 1, 8),
        ((64, 64), "auto", 7, 2, 2),
        ((96, 96), "small", 3, 1, 12),
        ((32, 32), "large", 7, 2, 1),
    ],
)
def test_the_stem_of_a_resnet(size_px: tuple[int, ...], stem: str, kernel: int, stride: int, side: int) -> None:
    network = resnet(size_px, stem=stem)
    first = network.body.conv1  # type: ignore[union-attr]
    assert (first.kernel_size[0], first.stride[0]) == (kernel, stride)
    seen: list[torch.Size] = []
    network.features.register_forward_hook(lambda module, given, result: seen.append(result.shape))  # type: ignore[operator, union-attr]
    answer(network.eval(), 1, size_px)
    assert seen[0][2] == side


def test_dropout_of_a_resnet_is_off_when_evaluated() -> None:
    network = resnet((16, 16), dropout=0.5)
    image = torch.randn(2, 1, 16, 16)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


# From settings and back


@pytest.mark.parametrize("build", [plain, resnet])
def test_the_same_seed_gives_the_same_weights(build: Any) -> None:
    one, other = build((16, 16)).state_dict(), build((16, 16)).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_settings_of_a_package_become_the_network_again() -> None:
    from dataclasses import asdict

    for conf in (PlainCNNConf(widths=[4, 4], norm="group"), ResNetConf(depth=34, width=8)):
        assert model_conf(asdict(conf)) == conf


def test_a_network_nobody_knows() -> None:
    with pytest.raises(ConfigError, match="knows no network 'transformer'"):
        model_conf({"name": "transformer"})
    with pytest.raises(ConfigError, match="no network is built from ModelConf"):
        build_network(ModelConf(), in_channels=1, num_outputs=2, size_px=(8, 8))
