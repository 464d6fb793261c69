"""Whether a heat map depends on what was learnt (Adebayo et al. 2018): it is drawn again with the weights shuffled,
from the last layer towards the first. A map that stays the same would be drawn of any network, and explains none.

They draw the weights anew; here each tensor's own numbers change places. What was learnt is gone all the same, and the
scale stays, without which a deep network would answer with nothing, and an empty map would pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from medcnn.explain.build import Explainer
from medcnn.explain.heat import Heat, Image
from medcnn.explain.layers import passed
from medcnn.explain.similarity import rank_correlation, structural_similarity

STAGES, SHUFFLES = 5, 3
_ANOTHER, _THE_SAME = 0.5, 0.8  # rank correlation: up to here another map, from here the same one


@dataclass(frozen=True)
class Stage:
    """The network with its last layers shuffled.

    layers    how many, counted from the last
    down_to   the name of the first of them
    rank_correlation, ssim  with the trained network's map, means over the cases and the shuffles
    """

    layers: int
    down_to: str
    rank_correlation: float
    ssim: float


@dataclass(frozen=True)
class Sanity:
    """Maps of the trained network beside those of shuffled ones.

    is_empty  of no case the trained network's map shows anything
    """

    explainer: str
    stages: tuple[Stage, ...]
    num_cases: int
    is_empty: bool = False

    def words(self) -> str:
        """In plain words."""
        if self.is_empty:
            return f"{self.explainer} shows nothing of these cases, so whether it depends on what was learnt is open."
        last = self.stages[-1]
        found = (
            f"with all weights shuffled the rank correlation with it is {last.rank_correlation:.2f} and the structural "
            f"similarity {last.ssim:.2f}, where 1 is the same map ({self.num_cases} cases)."
        )
        if last.rank_correlation <= _ANOTHER:
            return f"The map of {self.explainer} depends on what the network learnt: {found}"
        if last.rank_correlation < _THE_SAME:
            return f"The map of {self.explainer} depends only partly on what the network learnt: {found}"
        return f"Do not believe the map of {self.explainer}, it does not depend on what the network learnt: {found}"


def sanity(
    explainer: Explainer,
    network: nn.Module,
    images: Image,
    class_indices: Sequence[int],
    *,
    stages: int = STAGES,
    shuffles: int = SHUFFLES,
    seed: int = 0,
) -> Sanity:
    """images (n, C, *size); the network stays as it is.

    Costs the explainer `stages * shuffles` + 1 times, and a copy of the weights. The means of several shuffles, since
    two coarse maps may well be alike by chance.
    """
    trained = explainer.heat([network], images, class_indices)
    shown = [index for index, heat in enumerate(trained) if heat.any()]
    layers = _layers(network, images)
    cuts, found = _cuts(len(layers), stages), []
    for shuffled in range(shuffles):
        generator = torch.Generator().manual_seed(seed + shuffled)
        heats = _cascade(
            explainer, network, images, class_indices, [layers[a:b] for a, b in pairwise([0, *cuts])], generator
        )
        found.append([[_alike(trained[index], heat[index]) for index in shown] or [(0.0, 0.0)] for heat in heats])
    means = np.mean(found, axis=(0, 2))  # (stages, 2)
    rows = [
        Stage(cut, layers[cut - 1], float(rank), float(ssim)) for cut, (rank, ssim) in zip(cuts, means, strict=True)
    ]
    return Sanity(explainer.title, tuple(rows), len(shown), is_empty=not shown)


def _cascade(
    explainer: Explainer,
    network: nn.Module,
    images: Image,
    class_indices: Sequence[int],
    groups: Sequence[Sequence[str]],
    generator: torch.Generator,
) -> list[Heat]:
    """The maps after each group of layers has been shuffled too."""
    shuffled, heats = deepcopy(network).eval(), []
    for names in groups:
        for name in names:
            shuffle(shuffled.get_submodule(name), generator)
        heats.append(explainer.heat([shuffled], images, class_indices))
    return heats


def _alike(first: Heat, second: Heat) -> tuple[float, float]:
    return rank_correlation(first, second), structural_similarity(first, second)


@torch.no_grad()
def shuffle(module: nn.Module, generator: torch.Generator) -> None:
    """The module's own weights, each tensor's in a random order; means and variances of a norm stay."""
    for weights in module.parameters(recurse=False):
        order = torch.randperm(weights.numel(), generator=generator).to(weights.device)
        weights.copy_(weights.reshape(-1)[order].reshape(weights.shape))


def _layers(network: nn.Module, images: Image) -> list[str]:
    """The names of modules with weights of their own, the last one that answers first."""
    device = next(network.parameters()).device
    batch = torch.from_numpy(np.ascontiguousarray(images[:1])).to(device)
    order = {one.name: place for place, one in enumerate(passed(network, batch))}
    own = [str(name) for name, module in network.named_modules() if list(module.parameters(recurse=False))]
    if all(name in order for name in own):  # else by their place in the code
        own.sort(key=lambda name: order[name])
    return own[::-1]


def _cuts(count: int, stages: int) -> list[int]:
    """After how many layers a map is drawn: after the last one, and evenly up to all of them."""
    return sorted({round(place) for place in np.linspace(1, count, min(stages, count))})
