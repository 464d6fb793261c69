"""What a network's first layer looks for, and what its layers make of one scan: planes to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medcnn.explain.heat import Image
from medcnn.explain.layers import Passed, is_convolution, passed

Planes = npt.NDArray[np.float32]

MOST_FILTERS = 64
MOST_MAPS = 8  # of a layer
_MOST_LAYERS = 5


@dataclass(frozen=True, eq=False)
class Tiles:
    """Planes of one layer.

    layer    its name in the network
    planes   (k, h, w), of volumes the middle plane along the last axis
    indices  (k,) which filters or maps these are
    count    how many the layer has
    size     of its kernels or maps, all axes
    """

    layer: str
    planes: Planes
    indices: tuple[int, ...]
    count: int
    size: tuple[int, ...]


def first_filters(network: nn.Module, *, most: int = MOST_FILTERS) -> Tiles:
    """The first convolution's kernels, the mean over input channels. Raises ValueError where there is none."""
    found = [(name, module) for name, module in network.named_modules() if is_convolution(module)]
    if not found:
        raise ValueError("this network has no convolution whose filters could be drawn")
    name, module = found[0]
    weight = module.weight.detach().float().mean(dim=1).cpu().numpy()  # (K, *kernel)
    indices = tuple(range(min(most, len(weight))))
    return Tiles(name, middle_planes(weight[: len(indices)]), indices, len(weight), tuple(weight.shape[1:]))


def feature_maps(network: nn.Module, image: Image, layers: Sequence[str] = (), *, most: int = MOST_MAPS) -> list[Tiles]:
    """What these layers make of image (C, *size), each its most active maps; without layers, the last of every size.

    Raises ValueError for a layer that is not there or answers with no map.
    """
    device = next(network.parameters()).device
    batch = torch.from_numpy(np.ascontiguousarray(image))[None].to(device)
    known = {one.name: one for one in passed(network, batch) if len(one.size) == batch.ndim - 2}
    unknown = [name for name in layers if name not in known]
    if unknown:
        raise ValueError(f"no layer {unknown[0]!r} answers with a map: {', '.join(known) or 'none does'}")
    found: dict[str, Tiles] = {}

    def keep(name: str, output: torch.Tensor) -> None:
        found[name] = _strongest(name, output[0].detach().float().cpu().numpy(), most)

    names = list(layers) or _last_of_every_size(list(known.values()))
    hooks = [
        known[name].module.register_forward_hook(lambda module, given, output, name=name: keep(name, output))
        for name in names
    ]
    try:
        with torch.no_grad():
            network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return [found[name] for name in names]


def middle_planes(volumes: npt.NDArray[np.float32]) -> Planes:
    """(k, *size) -> (k, h, w): pictures as they are; of volumes, whose axes grow to R, A, S, the middle axial plane,
    anterior up and the patient's right side on the left.
    """
    if volumes.ndim == 3:
        return np.ascontiguousarray(volumes)
    return np.ascontiguousarray(volumes[:, ::-1, ::-1, volumes.shape[3] // 2].transpose(0, 2, 1))


def _strongest(name: str, maps: npt.NDArray[np.float32], most: int) -> Tiles:
    strength = np.abs(maps).mean(axis=tuple(range(1, maps.ndim)))
    chosen = np.argsort(-strength, kind="stable")[:most]
    indices = tuple(int(index) for index in chosen)
    return Tiles(name, middle_planes(maps[chosen]), indices, len(maps), tuple(maps.shape[1:]))


def _last_of_every_size(found: Sequence[Passed]) -> list[str]:
    """The layer that answers last at each size of map, from the largest on; maps of one point show nothing."""
    by_size = {one.size: one.name for one in found if prod(one.size) > 1}
    largest = sorted(by_size, key=prod, reverse=True)[:_MOST_LAYERS]
    return [by_size[size] for size in largest]
