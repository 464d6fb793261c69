"""Encoders that have learnt before: a ResNet's stages (He et al. 2016) for 2D U-Nets, and weights from a local file.

Nothing is downloaded and nothing is unpickled. B cases, C channels, HW pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from medcnn.config.errors import ConfigError

RESNET_BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
_LARGE_LEVELS = 6  # full resolution, then torchvision's stem, pooling and four stages
_SMALL_LEVELS = 4  # the stem of medcnn's ResNet for small pictures keeps the size
_PREFIXES = ("state_dict.", "module.", "model.", "network.", "body.")  # what others put before a layer's name
_NO_FILE = (
    "no such file. Nothing is downloaded: put a .safetensors file, or torchvision's resnet18 or resnet34 as a .pth, "
    "on this machine and give its path"
)
_NOTHING_FITS = (
    "nothing in this file fits the encoder. It must come from a ResNet of the same depth (model.encoder=resnet18 or "
    "resnet34), or from a plain CNN with the same widths (model.encoder=plain)"
)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut; the names of its layers are torchvision's."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential()
        if stride > 1 or channels != width:
            self.downsample.append(nn.Conv2d(channels, width, 1, stride=stride, bias=False))
            self.downsample.append(nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, width, H / stride, W / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        answer: Tensor = self.relu(self.bn2(self.conv2(y)) + self.downsample(x))
        return answer


def resnet_stages(
    name: str, in_channels: int, widths: Sequence[int], strides: Sequence[Sequence[int]]
) -> list[nn.Sequential]:
    """One stage for each level of a U-Net but, with six levels, the finest, which a ResNet does not have.

    Raises ValueError where widths and strides are not those of such a ResNet.
    """
    large = len(widths) == _LARGE_LEVELS
    base = widths[-4] if large or len(widths) == _SMALL_LEVELS else 0
    ladder = [base * 2**stage for stage in range(4)]
    if list(widths[-4:]) != ladder or (large and widths[1] != base):
        raise ValueError(
            f"widths: {name} has the levels [w, w, 2w, 4w, 8w] behind one at full resolution (w = 64 for torchvision's "
            f"weights), or [w, 2w, 4w, 8w] with the small stem; got {list(widths)}"
        )
    if any(tuple(stride) != (2, 2) for stride in strides[1:]):
        raise ValueError(f"strides: {name} halves both sides at every level, got {list(strides)}")
    first, *others = [
        nn.Sequential(*_blocks(ladder[max(0, stage - 1)], ladder[stage], 1 if stage == 0 else 2, blocks))
        for stage, blocks in enumerate(RESNET_BLOCKS[name])
    ]
    deeper = [_named(**{f"layer{number}": stage}) for number, stage in enumerate(others, start=2)]
    side, stride = (7, 2) if large else (3, 1)
    conv1 = nn.Conv2d(in_channels, base, side, stride=stride, padding=side // 2, bias=False)
    stem = {"conv1": conv1, "bn1": nn.BatchNorm2d(base), "relu": nn.ReLU(inplace=True)}
    if large:
        return [_named(**stem), _named(maxpool=nn.MaxPool2d(3, stride=2, padding=1), layer1=first), *deeper]
    return [_named(**stem, layer1=first), *deeper]


def _named(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _blocks(channels: int, width: int, stride: int, number: int) -> list[nn.Module]:
    return [BasicBlock(channels, width, stride), *(BasicBlock(width, width, 1) for _ in range(number - 1))]


def load_encoder(encoder: nn.Module, path: Path) -> int:
    """Start the encoder from a file of weights; how many of its tensors were found there.

    A ResNet's layers are found by their names (torchvision's, or those of a package of medcnn's ResNet); a plain
    encoder takes the convolutions of medcnn's plain CNN in their order. Raises ConfigError where nothing fits.
    """
    found = _without_prefixes(read_weights(path))
    named = any(".conv1." in name for name in encoder.state_dict())
    pairs = _by_name(encoder, found) if named else _by_order(encoder, found)
    if not pairs:
        raise ConfigError([f"model.encoder_weights: {_NOTHING_FITS}"])
    with torch.no_grad():
        for own, given in pairs:
            own.copy_(given)
    return len(pairs)


def read_weights(path: Path, setting: str = "model.encoder_weights") -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pt or .pth file that holds nothing but tensors.

    setting  what named the file, for the error
    """
    if not path.is_file():
        raise ConfigError([f"{setting}: {_NO_FILE}"])
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            tensors: dict[str, Tensor] = load_file(path)
            return tensors
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file provokes
        raise ConfigError([f"{setting}: the file cannot be read as weights without running code"]) from error
    held = held.get("state_dict", held) if isinstance(held, dict) else {}
    return {str(name): tensor for name, tensor in held.items() if isinstance(tensor, Tensor)}


def for_channels(kernel: Tensor, channels: int) -> Tensor:
    """A first layer's kernels (width, C, *S) for another number of channels.

    An image with the same picture in every channel gets the response that it had: colours are averaged, and the average
    is shared out.
    """
    if kernel.shape[1] == channels:
        return kernel
    share = kernel.sum(dim=1, keepdim=True) / channels
    return share.expand(-1, channels, *[-1] * (kernel.ndim - 2))


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    plain = {}
    for name, tensor in tensors.items():
        while (prefix := next((word for word in _PREFIXES if name.startswith(word)), None)) is not None:
            name = name.removeprefix(prefix)
        plain[name] = tensor
    return plain


def _by_name(encoder: nn.Module, found: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    pairs = []
    for name, own in encoder.state_dict().items():
        layer = name.partition(".")[2]  # without the number of the level
        if layer not in found:
            continue
        given = for_channels(found[layer], own.shape[1]) if layer == "conv1.weight" else found[layer]
        if given.shape != own.shape:
            sides = f"{tuple(given.shape)} in the file, the encoder has {tuple(own.shape)}"
            raise ConfigError([f"model.encoder_weights: {layer} is {sides}"])
        pairs.append((own, given))
    wanted = {name.partition(".")[2] for name in encoder.state_dict() if ".layer" in name and "num_batches" not in name}
    return pairs if wanted <= found.keys() else []


def _by_order(encoder: nn.Module, found: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    own = [tensor for tensor in encoder.state_dict().values() if tensor.ndim > 2]
    numbered = [name for name in found if name.startswith("features.") and name.split(".")[1].isdigit()]
    layers = sorted(numbered, key=lambda name: int(name.split(".")[1]))  # a file has them in the alphabet's order
    given = [found[name] for name in layers if found[name].ndim > 2]
    if given and own:
        given[0] = for_channels(given[0], own[0].shape[1]) if given[0].ndim == own[0].ndim else given[0]
    pairs = list(zip(own, given, strict=False))
    fits = len(given) >= len(own) and all(a.shape == b.shape for a, b in pairs)
    return pairs if fits else []
