"""How good a mask is likely to be, from the probabilities it was made of: an expected Dice per structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from medcnn.inference.mask_rule import MaskRule


class ExpectedDice:
    """2 sum(p m) / (sum p + sum m), m the mask that was decided for: the Dice to expect where p is calibrated.

    With p the chance of each voxel to be the structure, sum(p m) is the overlap to expect and sum p the size of the
    truth; their ratio stands for the ratio's mean, which is close where many voxels are unsure independently. Summed up
    over pieces of a volume.
    """

    def __init__(self, rule: MaskRule) -> None:
        self.rule = rule
        self.overlap, self.truth, self.mask = np.zeros((3, len(rule.names)))

    def add(self, probability: Tensor, labels: Tensor) -> None:
        """probability (K, *S), labels uint8 (M, *S) decided from it."""
        flat = probability.flatten(1)
        self.truth += flat.sum(dim=1).cpu().numpy()  # float32 within a piece: summing in float64 takes 30 times as long
        if self.rule.overlapping:
            masks = labels.flatten(1)
            self.overlap += (flat * masks).sum(dim=1).cpu().numpy()
            self.mask += masks.sum(dim=1).cpu().numpy()
            return
        which = labels.flatten()
        found = which.nonzero()[:, 0]
        structure = which[found].long() - 1
        count = len(self.rule.names)
        self.overlap += torch.bincount(structure.cpu(), flat[structure, found].cpu().double(), count).numpy()
        self.mask += torch.bincount(structure.cpu(), minlength=count).numpy()

    def value(self) -> dict[str, float]:
        """Structure -> expected Dice; nan where nothing was found, which has no overlap to speak of."""
        with np.errstate(invalid="ignore"):
            dice = np.where(self.mask > 0, 2 * self.overlap / (self.truth + self.mask), np.nan)
        return dict(zip(self.rule.names, dice.tolist(), strict=True))


@dataclass(frozen=True)
class QualityMap:
    """What expected Dice meant on cases whose truth is known: a rising curve (isotonic regression), per structure.

    curves  structure -> (expected, true) at its corners, both rising; straight between, constant beyond
    """

    curves: dict[str, tuple[tuple[float, ...], tuple[float, ...]]]

    @classmethod
    def fit(cls, pairs: Mapping[str, Sequence[tuple[float, float]]]) -> Self:
        """Structure -> (expected Dice, true Dice) of each case; pairs with a nan are left out."""
        finite = {name: [pair for pair in found if np.isfinite(pair).all()] for name, found in pairs.items()}
        return cls({name: rising(found) for name, found in finite.items() if found})

    def __call__(self, expected: Mapping[str, float]) -> dict[str, float]:
        """Expected Dice as it came out -> as it turned out; unchanged for a structure without a curve. nan stays."""
        return {
            name: float(np.interp(value, *self.curves[name])) if name in self.curves and np.isfinite(value) else value
            for name, value in expected.items()
        }

    def as_json(self) -> dict[str, Any]:
        """For model.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """From model.json."""
        return cls({name: (tuple(x), tuple(y)) for name, (x, y) in found["curves"].items()})


def rising(pairs: Sequence[tuple[float, float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The rising curve of least squared error: falling neighbours are averaged until none are left."""
    places, inverse, counts = np.unique([x for x, _ in pairs], return_inverse=True, return_counts=True)
    means = np.bincount(inverse, [y for _, y in pairs]) / counts
    blocks: list[tuple[float, float, int]] = []  # mean, weight, how many places
    for mean, count in zip(means.tolist(), counts.tolist(), strict=True):
        blocks.append((mean, count, 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (a, m, i), (b, n, j) = blocks[-2:]
            blocks[-2:] = [((a * m + b * n) / (m + n), m + n, i + j)]
    values = [mean for mean, _, places_in_block in blocks for _ in range(places_in_block)]
    return tuple(places.tolist()), tuple(values)
