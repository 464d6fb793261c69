"""What one input to the networks takes, measured once when a model is opened, for estimates. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from statistics import median
from time import perf_counter

import torch

from medcnn.inference.ensemble import Ensemble, at_rest
from medcnn.inference.passes import Pass
from medcnn.inference.segmenter import Segmenter
from medcnn.inference.tile_memory import bytes_per_tile

_TOGETHER = 4  # tiles in a batch, if as many fit: one alone stays in the processor's cache and seems faster
_ENOUGH_S = 1.0  # of trying; the first answer only warms up
_MOST_TRIES = 5


@dataclass(frozen=True)
class TileCost:
    """Of one tile, shown once to every member.

    seconds    in the middle of a few tries
    memory_mb  of the widest member, 10^6 bytes, as the batches of tiles are reckoned
    """

    seconds: float
    memory_mb: float


def tile_cost(segmenter: Segmenter, channels: int) -> TileCost:
    """With the networks on their device; noise, since tiles of one value are not computed."""
    patch = segmenter.settings.patch
    shape = (channels, *patch)
    count = min(_TOGETHER, segmenter.tiles_at_once(channels, patch))
    generator = torch.Generator().manual_seed(0)
    tiles = [torch.randn(shape, generator=generator) for _ in range(count)]
    ask = Ensemble(segmenter.networks, segmenter.rule, [Pass()], segmenter.device, count, segmenter.settings.precision)
    said = 3 * 4 * (segmenter.rule.num_logits + 2) * prod(patch)  # as Segmenter.tiles_at_once counts answers
    with at_rest(segmenter.networks):
        costs = [bytes_per_tile(each, shape, segmenter.divisor, segmenter.device) for each in segmenter.networks]
        ask(tiles)
        took: list[float] = []
        while not took or (len(took) < _MOST_TRIES and sum(took) < _ENOUGH_S):
            began = perf_counter()
            ask(tiles)[-1].cpu()
            took.append(perf_counter() - began)
    return TileCost(median(took) / count, (said + max(costs)) / 1e6)
