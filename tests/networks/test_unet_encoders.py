"""Encoders that have learnt before: torchvision's layers, grey images keep their response, files are only read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from medcnn.config.errors import ConfigError
from medcnn.config.model import ModelConf, PlainCNNConf, UNetConf
from medcnn.networks.build import build_network, load_encoder_weights
from medcnn.networks.encoders import for_channels
from medcnn.networks.unet import UNet


def unet(encoder: str, widths: list[int], *, channels: int = 1, weights: str = "") -> tuple[UNet, UNetConf]:
    levels = len(widths)
    conf = UNetConf(
        widths=widths,
        kernels=[[3, 3]] * levels,
        strides=[[1, 1], *[[2, 2]] * (levels - 1)],
        encoder=encoder,
        encoder_weights=weights,
        deep_supervision=0,
    )
    side = 2**levels
    network = build_network(conf, in_channels=channels, num_outputs=2, size_px=(side, side))
    assert isinstance(network, UNet)
    return network, conf


def stages(network: UNet, image: Tensor) -> list[Tensor]:
    """What each level's stage gives in a forward pass."""
    kept: list[Tensor] = []
    handles = [
        stage.register_forward_hook(lambda _module, _inputs, output: kept.append(output)) for stage in network.encoder
    ]
    with torch.no_grad():
        network.eval()(image)
    for handle in handles:
        handle.remove()
    return kept


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_the_stages_are_torchvisions(name: str, tmp_path: Path) -> None:
    from torchvision.models import get_model

    torch.manual_seed(0)
    theirs = get_model(name, weights=None).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.1)
    path = tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), path)
    network, conf = unet(name, [8, 64, 64, 128, 256, 512], channels=3, weights=str(path))
    assert load_encoder_weights(network, conf) == len(theirs.state_dict()) - 2  # all but the last layer's two
    image = torch.randn(1, 3, 64, 64)
    ours = stages(network, image)
    with torch.no_grad():
        x = theirs.relu(theirs.bn1(theirs.conv1(image)))
        torch.testing.assert_close(ours[1], x, rtol=1e-4, atol=1e-4)
        x = theirs.maxpool(x)
        for level, layer in enumerate((theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), start=2):
            x = layer(x)
            torch.testing.assert_close(ours[level], x, rtol=1e-3, atol=1e-3)
    assert network(image).shape == (1, 2, 64, 64)


def test_a_grey_image_has_the_response_of_a_grey_colour_image(tmp_path: Path) -> None:
    colour, _ = unet("resnet18", [4, 4, 4, 8, 16, 32], channels=3)
    path = tmp_path / "weights.safetensors"
    kept = {"body." + name.partition(".")[2]: tensor for name, tensor in colour.encoder.state_dict().items()}
    save_file({name: tensor.clone() for name, tensor in kept.items() if ".0.0" not in name}, path)
    grey, conf = unet("resnet18", [4, 4, 4, 8, 16, 32], weights=str(path))
    assert load_encoder_weights(grey, conf) > 100
    image = torch.randn(1, 1, 64, 64)
    for one, three in zip(stages(grey, image)[1:], stages(colour, image.expand(1, 3, 64, 64))[1:], strict=True):
        torch.testing.assert_close(one, three, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("have", "want"), [(3, 1), (3, 2), (1, 3), (3, 5), (2, 2)])
def test_kernels_keep_their_response_to_equal_channels(have: int, want: int) -> None:
    kernel, image = torch.randn(4, have, 3, 3), torch.randn(1, 1, 6, 6)
    before = nn.functional.conv2d(image.expand(1, have, 6, 6), kernel)
    after = nn.functional.conv2d(image.expand(1, want, 6, 6), for_channels(kernel, want))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_the_small_stem_keeps_the_size() -> None:
    network, _ = unet("resnet18", [4, 8, 16, 32])
    image = torch.randn(1, 1, 16, 16)
    assert [tuple(stage.shape[1:]) for stage in stages(network, image)] == [
        (4, 16, 16),
        (8, 8, 8),
        (16, 4, 4),
        (32, 2, 2),
    ]
    assert network.divisor == (8, 8)


def test_a_plain_encoder_starts_from_a_plain_classifier(tmp_path: Path) -> None:
    classifier = build_network(
        PlainCNNConf(widths=[4, 8, 16], hidden=[]), in_channels=1, num_outputs=2, size_px=(16, 16)
    )
    path = tmp_path / "weights_0.safetensors"
    save_file(classifier.state_dict(), path)
    network, conf = unet("plain", [4, 8, 16], weights=str(path))
    assert load_encoder_weights(network, conf) == 6
    kernels = [layer.weight for layer in network.encoder.modules() if isinstance(layer, nn.Conv2d)]
    theirs = [layer.weight for layer in classifier.modules() if isinstance(layer, nn.Conv2d)]
    assert all(torch.equal(a, b) for a, b in zip(kernels, theirs, strict=True))


def test_without_a_name_nothing_is_read() -> None:
    network, conf = unet("plain", [4, 8])
    assert load_encoder_weights(network, conf) == 0
    assert load_encoder_weights(network, ModelConf()) == 0


def test_a_package_needs_no_such_file() -> None:
    unet("resnet18", [4, 8, 16, 32], weights="/nowhere/weights.safetensors")  # is built, not loaded


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file. Nothing is downloaded: put a .safetensors file"),
        (b"not weights at all", "cannot be read as weights without running code"),
        ({"something.weight": torch.zeros(2, 2)}, "nothing in this file fits the encoder"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    content: bytes | dict[str, Tensor] | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save_file(content, path)
    for encoder, widths in (("resnet18", [4, 8, 16, 32]), ("plain", [4, 8])):
        network, conf = unet(encoder, widths, weights=str(path))
        with pytest.raises(ConfigError, match=words) as caught:
            load_encoder_weights(network, conf)
        assert str(tmp_path) not in str(caught.value)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": _Code(ran)}, path)
    network, conf = unet("resnet18", [4, 8, 16, 32], weights=str(path))
    with pytest.raises(ConfigError, match="without running code"):
        load_encoder_weights(network, conf)
    assert not ran.exists()


class _Code:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path, str]]:
        return Path.write_text, (self.path, "ran")


def test_another_width_is_said(tmp_path: Path) -> None:
    first, _ = unet("resnet18", [8, 16, 32, 64])
    path = tmp_path / "weights.safetensors"
    save_file({name.partition(".")[2]: tensor.clone() for name, tensor in first.encoder.state_dict().items()}, path)
    second, conf = unet("resnet18", [4, 8, 16, 32], weights=str(path))
    with pytest.raises(
        ConfigError, match=r"conv1.weight is \(8, 1, 3, 3\) in the file, the encoder has \(4, 1, 3, 3\)"
    ):
        load_encoder_weights(second, conf)


def test_a_ladder_that_is_no_resnets_is_said() -> None:
    with pytest.raises(ConfigError, match=r"\[w, w, 2w, 4w, 8w\] behind one at full resolution"):
        unet("resnet34", [8, 16, 32])
    with pytest.raises(ConfigError, match="is for pictures; volumes take plain or residual"):
        build_network(
            UNetConf(
                widths=[4, 8, 16, 32], kernels=[[3] * 3] * 4, strides=[[1] * 3] + [[2] * 3] * 3, encoder="resnet18"
            ),
            in_channels=1,
            num_outputs=2,
            size_px=(16, 16, 16),
        )
