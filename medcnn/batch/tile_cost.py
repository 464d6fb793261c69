"""What one input to the networks takes, measured once when a model is opened, for estimates. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import torch

from medcnn.inference.ensemble import Ensemble, at_rest
from medcnn.inference.passes import Pass
from medcnn.inference.segmenter import Segmenter
from medcnn.inference.tile_memory import bytes_per_tile

_ENOUGH_S = 1.0  # of trying; the first answer warms up and does not count where there is time for another
_MOST_TRIES = 4


@dataclass(frozen=True)
class TileCost:
    """Of one tile, shown once to every member.

    seconds    the least of a few tries
    memory_mb  of the widest member, 10^6 bytes, as the batches of tiles are reckoned
    """

    seconds: float
    memory_mb: float


def tile_cost(segmenter: Segmenter, channels: int) -> TileCost:
    """With the networks on their device; noise, since tiles of one value are not computed."""
    patch = segmenter.settings.patch
    said = 3 * 4 * (segmenter.rule.num_logits + 2) * int(torch.tensor(patch).prod())
    tile = torch.randn(channels, *patch, generator=torch.Generator().manual_seed(0))
    one_by_one = Ensemble(
        segmenter.networks, segmenter.rule, [Pass()], segmenter.device, 1, segmenter.settings.precision
    )
    with at_rest(segmenter.networks):
        shape = (channels, *patch)
        costs = [bytes_per_tile(each, shape, segmenter.divisor, segmenter.device) for each in segmenter.networks]
        took: list[float] = []
        while len(took) < 2 or (len(took) < _MOST_TRIES and sum(took) < _ENOUGH_S):
            began = perf_counter()
            one_by_one([tile])[0].cpu()
            took.append(perf_counter() - began)
    return TileCost(min(took), (said + max(costs)) / 1e6)
