"""What several networks, shown a tile in several ways, say of it together: the mean of their probabilities.

Means are taken of probabilities after softmax or sigmoid, in float32, over all passes of all members alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from medcnn.errors import UserError
from medcnn.inference.mask_rule import MaskRule
from medcnn.inference.passes import Pass

_AUTOCAST = {"bf16": torch.bfloat16, "16": torch.float16}


@dataclass(eq=False)
class Ensemble:
    """Tiles -> probabilities of the structures, and their moments where disagreement is asked for.

    flat      a spatial axis of one voxel, taken out for 2D networks and put back
    moments   two more channels: f and f squared, f the probability that a voxel is anything but background
    inputs_at_once   the most inputs in one forward pass; halved when a GPU's memory is full, and it goes on
    known     answers for tiles of nothing but one value: the same input is not computed twice. Empty background costs
              nothing, and the result is what it would have been
    """

    networks: Sequence[nn.Module]
    rule: MaskRule
    passes: Sequence[Pass]
    device: torch.device
    inputs_at_once: int
    precision: str = "32"
    flat: int | None = None
    moments: bool = False
    known: dict[tuple[float, ...], Tensor] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Of an answer."""
        return len(self.rule.names) + 2 * self.moments

    def __call__(self, tiles: Sequence[Tensor]) -> list[Tensor]:
        """(C, *sides) each -> (channels, *sides) float32 each."""
        keys = [single_value(tile) for tile in tiles]
        fresh = [n for n, key in enumerate(keys) if key is None or (key not in self.known and key not in keys[:n])]
        answers = dict(zip(fresh, self._computed([tiles[n] for n in fresh]), strict=True))
        for n in fresh:
            if (key := keys[n]) is not None:
                self.known[key] = answers[n].clone()  # not a view of the whole batch
        found = [answers[n] if key is None else self.known[key] for n, key in enumerate(keys)]
        while len(self.known) > 1:  # one is enough for a background, and an answer is large
            del self.known[next(iter(self.known))]
        return found

    @torch.no_grad()
    def _computed(self, tiles: Sequence[Tensor]) -> list[Tensor]:
        sums: list[Tensor | None] = [None] * len(tiles)
        work = [(n, way) for n in range(len(tiles)) for way in self.passes]
        while work:
            some = work[: self.inputs_at_once]
            try:
                said = self._said(tiles, some)
            except torch.OutOfMemoryError:
                self._smaller()
                continue
            for (n, way), answer in zip(some, said, strict=True):
                turned = way.back(answer)
                sums[n] = turned if sums[n] is None else sums[n].add_(turned)  # type: ignore[union-attr]
            work = work[len(some) :]
        times = len(self.passes) * len(self.networks)
        return [total.div_(times) for total in sums if total is not None]

    def _said(self, tiles: Sequence[Tensor], some: Sequence[tuple[int, Pass]]) -> Tensor:
        """One batch, one member after the other: the sum of what they say, (b, channels, *sides)."""
        batch = torch.stack([way.there(tiles[n].to(self.device)) for n, way in some])
        if self.flat is not None:
            batch = batch.squeeze(2 + self.flat)
        total: Tensor | None = None
        for network in self.networks:
            with torch.autocast(self.device.type, _AUTOCAST.get(self.precision), enabled=self.precision in _AUTOCAST):
                logits = network(batch)
            said = self.rule.probability(logits)
            del logits
            said = with_moments(said, self.rule) if self.moments else said
            total = said.contiguous() if total is None else total.add_(said)
        assert total is not None
        return total if self.flat is None else total.unsqueeze(2 + self.flat)

    def _smaller(self) -> None:
        if self.inputs_at_once == 1:
            raise UserError(
                "the device's memory is too small for one tile: take a smaller patch, or segment on the CPU"
            )
        self.inputs_at_once //= 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def with_moments(probability: Tensor, rule: MaskRule) -> Tensor:
    """(B, K, *S) -> (B, K + 2, *S): f and f squared behind; f is 1 - background, or that of the likeliest region."""
    found = probability.amax(dim=1, keepdim=True) if rule.overlapping else probability.sum(dim=1, keepdim=True)
    return torch.cat([probability, found, found**2], dim=1)


def single_value(tile: Tensor) -> tuple[float, ...] | None:
    """Each channel's value where it is the same in all voxels; None where any channel varies."""
    values = tile.reshape(len(tile), -1)
    first = values[:, :1]
    return tuple(first[:, 0].tolist()) if bool((values == first).all()) else None


@contextmanager
def at_rest(networks: Sequence[nn.Module]) -> Iterator[None]:
    """The networks as for evaluation; afterwards in the mode in which they were."""
    modes = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for network, mode in zip(networks, modes, strict=True):
            network.train(mode)
