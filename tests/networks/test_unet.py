"""The U-Net: shapes in two and three dimensions, anisotropic ones too, what it refuses, and that it learns."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medcnn.config.errors import ConfigError
from medcnn.config.fields import all_problems
from medcnn.config.losses import LossConf
from medcnn.config.model import UNetConf
from medcnn.losses.segmentation import build_segmentation_loss
from medcnn.networks.build import build_network, model_conf, num_parameters
from medcnn.networks.unet import UNet


def planned(axes: int, *, levels: int = 3, **settings: Any) -> UNetConf:
    """A small U-Net as a plan would write it."""
    one, two, three = [1] * axes, [2] * axes, [3] * axes
    widths = [4 * 2**level for level in range(levels)]
    given: dict[str, Any] = {"widths": widths, "kernels": [three] * levels, "strides": [one, *[two] * (levels - 1)]}
    return UNetConf(**{**given, "deep_supervision": 0, **settings})


def built(conf: UNetConf, size_px: tuple[int, ...], *, channels: int = 1, outputs: int = 3) -> UNet:
    torch.manual_seed(0)
    network = build_network(conf, in_channels=channels, num_outputs=outputs, size_px=size_px)
    assert isinstance(network, UNet)
    return network


@pytest.mark.parametrize("encoder", ["plain", "residual"])
@pytest.mark.parametrize("norm", ["instance", "group", "batch"])
@pytest.mark.parametrize(("size_px", "channels", "outputs"), [((16, 24), 1, 1), ((8, 12, 16), 2, 5)])
def test_logits_have_the_size_of_the_image(
    encoder: str, norm: str, size_px: tuple[int, ...], channels: int, outputs: int
) -> None:
    network = built(planned(len(size_px), encoder=encoder, norm=norm), size_px, channels=channels, outputs=outputs)
    image = torch.randn(2, channels, *size_px)
    logits = network(image)
    assert logits.shape == (2, outputs, *size_px)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


ANISOTROPIC = [
    ([[3, 3, 1], [3, 3, 3], [3, 3, 3]], [[1, 1, 1], [2, 2, 1], [2, 2, 2]], (4, 4, 2), (8, 12, 4)),
    ([[1, 3, 3], [1, 3, 3], [3, 3, 3]], [[1, 1, 1], [1, 2, 2], [1, 3, 2]], (1, 6, 4), (1, 12, 8)),
    ([[3, 3, 3], [5, 3, 1]], [[1, 1, 1], [4, 2, 1]], (4, 2, 1), (8, 4, 3)),
    ([[3, 3, 3]], [[1, 1, 1]], (1, 1, 1), (5, 3, 4)),
]


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("encoder", ["plain", "residual"])
@pytest.mark.parametrize(("kernels", "strides", "divisor", "size_px"), ANISOTROPIC)
def test_every_axis_has_its_own_kernels_and_strides(
    encoder: str,
    attention: bool,
    kernels: list[list[int]],
    strides: list[list[int]],
    divisor: tuple[int, ...],
    size_px: tuple[int, ...],
) -> None:
    levels = len(kernels)
    settings: dict[str, Any] = {"kernels": kernels, "strides": strides, "attention": attention, "encoder": encoder}
    network = built(planned(3, levels=levels, **settings), size_px)
    assert network.divisor == divisor
    assert network(torch.randn(2, 1, *size_px)).shape == (2, 3, *size_px)


def test_deep_supervision_answers_on_coarser_levels_while_training_only() -> None:
    conf = planned(3, levels=4, deep_supervision=2, strides=[[1, 1, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2]])
    network = built(conf, (16, 16, 8))
    image = torch.randn(2, 1, 16, 16, 8)
    answers = network(image)
    assert [tuple(answer.shape) for answer in answers] == [(2, 3, 16, 16, 8), (2, 3, 8, 8, 8), (2, 3, 4, 4, 4)]
    whole = network.eval()(image)
    assert isinstance(whole, Tensor)
    torch.testing.assert_close(whole, answers[0])


@pytest.mark.parametrize(("asked", "levels", "answers"), [(5, 4, 3), (1, 4, 2), (2, 2, 1), (0, 4, 1)])
def test_no_more_levels_answer_than_the_decoder_has(asked: int, levels: int, answers: int) -> None:
    assert len(built(planned(2, levels=levels, deep_supervision=asked), (32, 32)).heads) == answers


def test_a_fresh_network_is_sure_of_nothing() -> None:
    network = built(planned(3), (16, 16, 16), outputs=4).eval()
    with torch.no_grad():
        logits = network(torch.randn(2, 1, 16, 16, 16))
    surprise = -logits.log_softmax(dim=1).mean(dim=(0, 2, 3, 4))  # log 4 where all classes are as likely
    assert (surprise - math.log(4)).abs().max() < 1.5
    assert 0.3 < logits.std() < 3


def test_as_many_parameters_as_the_same_network_elsewhere() -> None:
    """1,401,187 is what MONAI's DynUNet has with these widths, instance norm, two convolutions a level."""
    conf = planned(3, levels=4, widths=[16, 32, 64, 128])
    assert num_parameters(built(conf, (16, 16, 16))) == 1_401_187


def test_convolutions_per_level_are_counted() -> None:
    conf = planned(2, encoder_convolutions=[1, 2, 3], decoder_convolutions=[3, 1])
    network = built(conf, (16, 16))
    assert [len(stage) for stage in network.encoder] == [1, 2, 3]  # type: ignore[arg-type]
    assert [len(stage) for stage in network.decoder] == [3, 1]  # type: ignore[arg-type]


def test_a_network_of_small_reach_sees_no_further() -> None:
    """Two convolutions of 3 and a stride of 2 look at most 10 voxels far, but for the norm: batch norm in eval."""
    network = built(planned(2, levels=2, norm="batch"), (64, 64)).eval()
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        before = network(image)
        image[..., 0, 0] += 100.0
        changed = (network(image) - before).abs().amax(dim=(0, 1)) > 1e-4
    rows, columns = changed.nonzero(as_tuple=True)
    assert 0 < rows.max() <= 14
    assert 0 < columns.max() <= 14


def test_features_are_the_map_before_the_head() -> None:
    network = built(planned(2), (16, 16)).eval()
    kept: list[Tensor] = []
    network.features.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    with torch.no_grad():
        logits = network(torch.randn(1, 1, 16, 16))
        torch.testing.assert_close(network.heads[0](kept[0]), logits)
    assert kept[0].shape == (1, 4, 16, 16)


def test_what_is_saved_comes_back() -> None:
    conf = planned(3, encoder="residual", deep_supervision=1, dropout=0.1)
    first = built(conf, (8, 8, 8)).eval()
    again = model_conf(asdict(conf))
    second = build_network(again, in_channels=1, num_outputs=3, size_px=(8, 8, 8)).eval()
    image = torch.randn(2, 1, 8, 8, 8)
    assert not torch.equal(first(image), second(image))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(image), second(image))
    assert all(tensor.is_contiguous() for tensor in first.state_dict().values())


def test_the_same_seed_gives_the_same_step() -> None:
    def step() -> list[Tensor]:
        network = built(planned(3, dropout=0.2, attention=True), (8, 8, 8))
        loss = network(torch.randn(2, 1, 8, 8, 8)).square().mean()
        return list(torch.autograd.grad(loss, list(network.parameters())))

    assert all(torch.equal(a, b) for a, b in zip(step(), step(), strict=True))


def test_one_volume_alone_gets_what_it_gets_among_two() -> None:
    network = built(planned(3, levels=2), (8, 8, 8)).eval()
    images = torch.randn(2, 1, 8, 8, 8)
    with torch.no_grad():
        pair, alone = network(images), network(images[:1])
    torch.testing.assert_close(alone, pair[:1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone, network(images[:1]).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("encoder", ["plain", "residual"])
def test_channels_stay_innermost_on_a_processor(encoder: str) -> None:
    network = built(planned(3, encoder=encoder), (8, 8, 8))
    formats: list[bool] = []
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            module.register_forward_hook(
                lambda _module, _inputs, output: formats.append(
                    output.is_contiguous(memory_format=torch.channels_last_3d) and not output.is_contiguous()
                )
            )
    network(torch.randn(2, 1, 8, 8, 8))
    assert len(formats) > 8
    assert all(formats)


def test_half_precision_stays_half_and_close() -> None:
    network = built(planned(3), (8, 8, 8)).eval()
    image = torch.randn(2, 1, 8, 8, 8)
    types: set[torch.dtype] = set()
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_hook(lambda _module, inputs, output: types.update({output.dtype}))
    with torch.no_grad():
        whole = network(image)
        types.clear()
        with torch.autocast("cpu", torch.bfloat16):
            half = network(image)
    assert half.dtype == torch.bfloat16
    assert types == {torch.bfloat16}
    assert (half.float() - whole).abs().max() < 0.15 * whole.std()
    assert (half.float() - whole).abs().mean() < 0.02 * whole.std()


def test_an_unplanned_network_is_not_built() -> None:
    with pytest.raises(ConfigError, match=r"needs widths, kernels and strides; the plan decides"):
        build_network(UNetConf(), in_channels=1, num_outputs=2, size_px=(8, 8))


@pytest.mark.parametrize(
    ("settings", "size_px", "words"),
    [
        ({}, (4, 4), r"\(4, 4\) are too small for 3 levels, which need at least \(4, 4\) and one side twice"),
        ({}, (2, 64), "too small for 3 levels"),
        ({}, (16, 18), r"\(16, 18\) must be multiples of \(4, 4\)"),
        ({}, (16, 16, 16), "kernels: needs 3 levels of 3 numbers"),
        ({"kernels": [[3, 3], [2, 3], [3, 3]]}, (16, 16), "every side must be odd"),
        ({"strides": [[2, 2], [2, 2], [2, 2]]}, (16, 16), "first level must all be 1"),
        ({"strides": [[1, 1], [2, 2]]}, (16, 16), "strides: needs 3 levels"),
        ({"encoder_convolutions": [2, 2]}, (16, 16), "encoder_convolutions: needs one number"),
    ],
)
def test_what_cannot_be_built_is_said(settings: dict[str, Any], size_px: tuple[int, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        built(planned(2, **settings), size_px)


def test_settings_that_contradict_each_other_are_listed() -> None:
    assert list(all_problems(planned(3))) == []
    assert list(all_problems(UNetConf())) == []
    wrong = replace(planned(2), kernels=[[3, 2]], strides=[[2, 1], [2, 2], [0, 2]], norm="layer")
    found = "\n".join(all_problems(wrong))
    for words in (
        "norm: 'layer'",
        "kernels: needs an entry",
        "kernels: every side",
        "strides: every",
        "strides: those",
    ):
        assert words in found


def test_lists_of_lists_are_settings() -> None:
    from omegaconf import OmegaConf

    schema = OmegaConf.structured(UNetConf)
    merged = OmegaConf.merge(schema, OmegaConf.from_dotlist(["kernels=[[1,3,3],[3,3,3]]", "widths=[8,16]"]))
    conf = OmegaConf.to_object(merged)
    assert isinstance(conf, UNetConf)
    assert conf.kernels == [[1, 3, 3], [3, 3, 3]]
    assert conf.strides == []


def test_a_small_one_learns_a_phantom_by_heart() -> None:
    """A ball and a box of other grey values in noise, three classes."""
    network = built(planned(3, widths=[8, 16, 32], deep_supervision=1), (16, 16, 16))
    grid = torch.stack(torch.meshgrid(*[torch.arange(16.0)] * 3, indexing="ij"))
    target = ((grid - 5).square().sum(dim=0) < 16).to(torch.uint8)
    target[10:14, 9:15, 8:13] = 2
    image = target.float() + 0.3 * torch.randn(2, 1, 16, 16, 16)  # two, each with its own noise
    loss = build_segmentation_loss(LossConf(), overlapping=False, spatial_dims=3)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        loss(network(image), target.expand(2, 1, 16, 16, 16)).backward()
        optimizer.step()
    with torch.no_grad():
        found = network.eval()(image).argmax(dim=1)[0]
    for structure in (1, 2):
        both = ((found == structure) & (target == structure)).sum()
        assert 2 * both / ((found == structure).sum() + (target == structure).sum()) > 0.95
