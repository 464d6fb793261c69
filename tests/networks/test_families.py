"""The published families: each answers, is as large as published, and says what is too small for it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import nn

from medcnn.config.errors import ConfigError
from medcnn.config.fields import all_problems
from medcnn.config.model import (
    FAMILIES,
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
    variants,
)
from medcnn.networks.attention import BranchEnd, ConvolutionalAttention, SqueezeExcitation
from medcnn.networks.build import build_network, carried_settings, model_conf
from medcnn.networks.cost import cost_of, minimum_px
from medcnn.networks.memory_format import channels_last, network_channels_last
from medcnn.networks.stochastic_depth import StochasticDepth

SMALL: dict[str, ClassifierConf] = {  # of each family, its smallest
    "vgg": VGGConf(variant="vgg11_bn"),
    "resnext": ResNeXtConf(variant="seresnext26d_32x4d"),
    "inception": InceptionConf(variant="googlenet"),
    "densenet": DenseNetConf(),
    "mobilenet": MobileNetConf(variant="mobilenetv3_small_100"),
    "efficientnet": EfficientNetConf(variant="efficientnet_lite0"),
    "convnext": ConvNeXtConf(variant="convnext_atto"),
}
EACH = pytest.mark.parametrize("conf", SMALL.values(), ids=SMALL.keys())


def built(conf: ClassifierConf, size_px: tuple[int, ...], channels: int = 1, outputs: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return build_network(conf, in_channels=channels, num_outputs=outputs, size_px=size_px)


def test_every_family_is_tried_here() -> None:
    assert list(SMALL) == [kind().name for kind in FAMILIES]


@EACH
@pytest.mark.parametrize("channels", [1, 4])
def test_any_number_of_channels_at_any_size(conf: ClassifierConf, channels: int) -> None:
    network = built(conf, (32, 32), channels, outputs=3).eval()
    for size_px in ((32, 32), (41, 57)):
        logits = network(torch.randn(2, channels, *size_px))
        assert logits.shape == (2, 3)
        assert torch.isfinite(logits).all()


@EACH
def test_the_same_seed_is_the_same_network_and_its_settings_make_it_again(conf: ClassifierConf) -> None:
    first, second = built(conf, (32, 32)), built(model_conf(asdict(conf)), (32, 32))  # type: ignore[arg-type]
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@EACH
def test_a_state_goes_to_a_file_and_back(conf: ClassifierConf) -> None:
    from safetensors.torch import load, save

    first = built(conf, (32, 32)).eval()
    torch.manual_seed(1)
    second = build_network(conf, in_channels=1, num_outputs=2, size_px=(32, 32)).eval()
    second.load_state_dict(load(save({name: tensor.contiguous() for name, tensor in first.state_dict().items()})))
    image = torch.randn(1, 1, 40, 40)
    assert torch.equal(first(image), second(image))


@EACH
def test_the_gradient_reaches_every_kernel_in_channels_last(conf: ClassifierConf) -> None:
    network = network_channels_last(built(conf, (64, 64)), 2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # those at the end of a ResNeXt's branches start at 0
    network(channels_last(torch.randn(3, 1, 64, 64))).square().sum().backward()
    still = [name for name, p in network.named_parameters() if p.ndim > 1 and (p.grad is None or not p.grad.any())]
    assert still == []


PUBLISHED: list[tuple[ClassifierConf, int, float, float]] = [  # side, millions of weights, 10^9 multiply-adds
    (ResNetConf(), 224, 11.69, 1.81),
    (ResNetConf(depth=50), 224, 25.56, 4.09),
    (ResNetConf(depth=50, attention="se"), 224, 28.09, 4.09),
    (ResNeXtConf(), 224, 25.03, 4.23),
    (InceptionConf(), 299, 23.83, 5.71),
    (DenseNetConf(), 224, 7.98, 2.83),
    (MobileNetConf(variant="mobilenetv2_100"), 224, 3.50, 0.30),
    (MobileNetConf(), 224, 5.48, 0.22),
    (EfficientNetConf(), 224, 5.29, 0.39),
    (ConvNeXtConf(), 224, 28.59, 4.46),
]


@pytest.mark.parametrize(("conf", "side", "millions", "billions"), PUBLISHED)
def test_as_large_and_as_dear_as_published(conf: ClassifierConf, side: int, millions: float, billions: float) -> None:
    cost = cost_of(conf, in_channels=3, num_outputs=1000, size_px=(side, side))
    assert cost.parameters / 1e6 == pytest.approx(millions, abs=0.01)
    assert cost.multiply_adds / 1e9 == pytest.approx(billions, abs=0.01)


def test_the_cost_of_a_network_that_can_be_counted_by_hand() -> None:
    conf = PlainCNNConf(widths=[4], convolutions=1, kernel_px=3, hidden=[], norm="none")
    cost = cost_of(conf, in_channels=2, num_outputs=3, size_px=(16, 16))
    assert cost.parameters == 4 * 2 * 9 + 4 + 4 * 3 + 3
    assert cost.multiply_adds == 16 * 16 * 4 * 2 * 9 + 4 * 3


# Least sizes


@EACH
def test_below_the_least_size_the_error_names_it(conf: ClassifierConf) -> None:
    with pytest.raises(ConfigError, match=r"wants at least 32 pixels a side, got \[31, 40\]"):
        built(conf, (31, 40))


def test_inception_wants_more_and_is_tried_at_both_sides_of_it() -> None:
    conf = InceptionConf()
    assert minimum_px(conf, 2) == 75
    assert built(conf, (75, 75)).eval()(torch.zeros(1, 1, 75, 75)).shape == (1, 2)
    with pytest.raises(ConfigError, match="at least 75 pixels"):
        built(conf, (74, 75))


def test_of_an_inflated_network_only_the_plane_has_a_least_size() -> None:
    conf = SMALL["mobilenet"]
    assert built(conf, (32, 32, 2)).eval()(torch.zeros(1, 1, 32, 32, 2)).shape == (1, 2)
    with pytest.raises(ConfigError, match="at least 32"):
        built(conf, (31, 32, 40))
    with pytest.raises(ConfigError, match=r"model\.volumes=inflated, for which one slice is enough"):
        built(DenseNetConf(), (64, 64, 6))


def test_a_package_carries_no_path() -> None:
    conf = ResNetConf(pretrained="/home/me/run", weights_folder="/home/me/weights")
    assert model_conf(carried_settings(conf)) == ResNetConf()
    kept = carried_settings(ResNetConf(pretrained="imagenet"))
    assert (kept["pretrained"], kept["name"]) == ("imagenet", "resnet")


# Regularisation and attention


@pytest.mark.parametrize("conf", [c for c in SMALL.values() if hasattr(c, "drop_path")], ids=lambda c: c.name)
def test_stochastic_depth_is_on_while_training_only(conf: Any) -> None:
    network = built(replace(conf, drop_path=0.5), (64, 64))
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.0  # or the norm's memory would move
        if type(module).__name__ == "Dropout":
            module.eval()
    image = torch.randn(4, 1, 64, 64)
    network.eval()
    assert torch.equal(network(image), network(image))
    drops = [m for m in network.modules() if type(m).__name__ == "DropPath"]
    assert max(m.drop_prob for m in drops) >= 0.4  # type: ignore[type-var]
    assert not any(type(m).__name__ == "DropPath" for m in built(conf, (64, 64)).modules())


@pytest.mark.parametrize("conf", SMALL.values(), ids=SMALL.keys())
def test_dropout_makes_two_answers_differ(conf: ClassifierConf) -> None:
    network = built(replace(conf, dropout=0.5), (64, 64))
    image = torch.randn(2, 1, 64, 64)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))
    certain = built(conf, (64, 64)).train()
    assert torch.equal(certain(image), certain(image))


def test_stochastic_depth_keeps_the_mean() -> None:
    torch.manual_seed(0)
    branch = torch.ones(4000, 1, 1, 1)
    kept = StochasticDepth(0.25)(branch)
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert kept.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(StochasticDepth(0.25).eval()(branch), branch)


@pytest.mark.parametrize("size_px", [(32, 32), (16, 16, 8)], ids=str)
@pytest.mark.parametrize(("attention", "kind"), [("se", SqueezeExcitation), ("cbam", ConvolutionalAttention)])
def test_attention_in_every_block(attention: str, kind: type[nn.Module], size_px: tuple[int, ...]) -> None:
    resnet = built(ResNetConf(width=8, attention=attention), size_px)
    assert sum(isinstance(m, kind) for m in resnet.modules()) == 8
    plain = built(PlainCNNConf(widths=[8, 8], attention=attention), size_px)
    assert sum(isinstance(m, kind) for m in plain.modules()) == 2
    for network in (resnet, plain):
        assert network(torch.randn(2, 1, *size_px)).shape == (2, 2)


def test_stochastic_depth_of_a_resnet_grows() -> None:
    network = built(ResNetConf(width=8, drop_path=0.7), (32, 32))
    ends = [m for m in network.modules() if isinstance(m, BranchEnd)]
    assert [round(end.drop_path.probability, 6) for end in ends] == [round(0.1 * n, 6) for n in range(8)]


@pytest.mark.parametrize("kind", [SqueezeExcitation, ConvolutionalAttention])
def test_attention_is_a_gate_by_channel(kind: type[nn.Module]) -> None:
    """With weights of zero every gate is a half: SE has one, CBAM two."""
    gate = kind(2, 16)
    for parameter in gate.parameters():
        nn.init.zeros_(parameter)
    image = torch.randn(2, 16, 5, 5)
    torch.testing.assert_close(gate(image), image / (2 if kind is SqueezeExcitation else 4))


# Volumes


@pytest.mark.parametrize("conf", [DenseNetConf(), EfficientNetConf(drop_path=0.2)], ids=lambda c: c.name)
def test_volumes_of_the_familys_own(conf: ClassifierConf) -> None:
    network = built(conf, (32, 32, 32), channels=2, outputs=3)
    assert type(network).__module__.startswith("monai.")
    assert network.eval()(torch.randn(1, 2, 32, 32, 32)).shape == (1, 3)
    inflated = built(replace(conf, volumes="inflated"), (32, 32, 32))
    assert not type(inflated).__module__.startswith("monai.")
    from_pictures = built(replace(conf, pretrained="imagenet"), (32, 32, 32))  # what a package of such a run builds
    assert from_pictures.state_dict().keys() == inflated.state_dict().keys()


def test_a_family_without_volumes_says_so() -> None:
    with pytest.raises(ConfigError, match=r"has no volumes of its own. Set model.volumes=inflated"):
        built(VGGConf(volumes="native"), (32, 32, 32))


def test_the_stem_of_imagenet_is_the_large_one() -> None:
    network = built(ResNetConf(pretrained="imagenet"), (32, 32))
    assert network.get_submodule("body.conv1").kernel_size == (7, 7)
    assert built(ResNetConf(), (32, 32)).get_submodule("body.conv1").kernel_size == (3, 3)


# Names


def test_a_variant_that_is_not_there_names_the_nearest() -> None:
    (problem,) = all_problems(DenseNetConf(variant="densnet121"))
    assert "variant: 'densnet121' is not one of densenet121, densenet161" in problem
    assert "Did you mean densenet121?" in problem


def test_every_default_is_one_of_the_variants() -> None:
    assert all(kind().variant in variants(kind) for kind in FAMILIES)
