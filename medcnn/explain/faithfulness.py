"""Deletion and insertion (Petsiuk et al. 2018): whether a class's score follows what a heat map marks.

Deletion greys the scan from the hottest pixel on: of a map to be believed the score falls early, and the area under its
curve is small. Insertion starts from the blurred scan and puts the sharp pixels back, hottest first: a large area.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from medcnn.explain.heat import Heat, Image, blank
from medcnn.inference.questions import together

Scores = npt.NDArray[np.float64]
Score = Callable[[Image], Scores]  # scans (n, C, *size) -> (n,), the probability of the class that the map explains

STEPS, RANDOM_MAPS = 20, 4
_ALIKE = 0.02  # areas that differ by less are the same, for a verdict
_BLUR = 0.08  # sigma, as a share of each side: the shape of organs goes too
_NEVER_BLURRED = 2.0  # sigma in pixels at least


@dataclass(frozen=True, eq=False)
class Curve:
    """share (n,) of pixels from 0 to 1, score (n,) with so many deleted or inserted."""

    share: Scores
    score: Scores

    @property
    def area(self) -> float:
        """Under the curve."""
        return float(((self.score[1:] + self.score[:-1]) / 2) @ np.diff(self.share))


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """A map's curves beside the mean ones of random maps: the same map, moved to random places."""

    deletion: Curve
    insertion: Curve
    random_deletion: Curve
    random_insertion: Curve

    @property
    def better_deletion(self) -> float:
        """By how much more the score falls than at random, in area; above 0 speaks for the map."""
        return self.random_deletion.area - self.deletion.area

    @property
    def better_insertion(self) -> float:
        """By how much more it grows."""
        return self.insertion.area - self.random_insertion.area

    def words(self) -> str:
        """In plain words."""
        deleted = f"deleting what it marks leaves an area of {self.deletion.area:.2f} ({_random(self.random_deletion)})"
        inserted = f"inserting it first gives {self.insertion.area:.2f} ({_random(self.random_insertion)})"
        votes = (self.better_deletion > _ALIKE) + (self.better_insertion > _ALIKE)
        verdict = (
            "The map marks no more of what decides than a random one",
            "The map is only partly better than a random one",
            "The map marks what decides, more than a random one",
        )[votes]
        return f"{verdict}: {deleted}, {inserted}."


def faithfulness(
    score: Score, image: Image, heat: Heat, *, steps: int = STEPS, random_maps: int = RANDOM_MAPS, seed: int = 0
) -> Faithfulness:
    """image (C, *size) and its heat (*size); score is asked about (2 * random_maps + 2) * (steps + 1) scans."""
    random = np.random.default_rng(seed)
    grey, blurred = np.broadcast_to(blank(image[None], "mean")[0], image.shape), _blurred(image)
    maps = [heat, *(_moved(heat, random) for _ in range(random_maps))]
    orders = [_hottest_first(one, random) for one in maps]
    deletions = [_curve(score, image, grey, order, steps) for order in orders]
    insertions = [_curve(score, blurred, image, order, steps) for order in orders]
    return Faithfulness(deletions[0], insertions[0], mean_curve(deletions[1:]), mean_curve(insertions[1:]))


def mean_faithfulness(cases: Sequence[Faithfulness]) -> Faithfulness:
    """Of several cases, all with the same number of steps."""
    return Faithfulness(
        mean_curve([case.deletion for case in cases]),
        mean_curve([case.insertion for case in cases]),
        mean_curve([case.random_deletion for case in cases]),
        mean_curve([case.random_insertion for case in cases]),
    )


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Place by place."""
    return Curve(curves[0].share, np.mean([curve.score for curve in curves], axis=0))


def _curve(score: Score, start: Image, end: Image, order: npt.NDArray[np.intp], steps: int) -> Curve:
    """From start to end (C, *size), a share of the pixels at a time."""
    share = np.linspace(0, 1, steps + 1)
    counts = np.rint(share * len(order)).astype(int)
    now, most = np.array(start, np.float32, order="C"), together(start.shape[1:], torch.device("cpu"))
    found: list[Scores] = []
    copies: list[Image] = []
    for index, count in enumerate(counts):  # reshaping `now`, which lies in one piece, gives a view of it
        changed = order[counts[index - 1] if index else 0 : count]
        now.reshape(len(now), -1)[:, changed] = end.reshape(len(end), -1)[:, changed]
        copies.append(now.copy())
        if len(copies) == most or index == steps:
            found.append(np.asarray(score(np.stack(copies)), np.float64))
            copies = []
    return Curve(share, np.concatenate(found))


def _hottest_first(heat: Heat, random: np.random.Generator) -> npt.NDArray[np.intp]:
    """Flat indices; between equals by chance, since a row of zeros read from the top would be an order of its own."""
    return np.lexsort((random.random(heat.size), -heat.ravel()))


def _moved(heat: Heat, random: np.random.Generator) -> Heat:
    """The map rolled by at least a quarter of each side: as smooth and as wide, only elsewhere."""
    shifts = [int(random.integers(max(1, side // 4), max(2, side - side // 4 + 1))) for side in heat.shape]
    return np.roll(heat, shifts, axis=tuple(range(heat.ndim)))


def _blurred(image: Image) -> Image:
    from scipy.ndimage import gaussian_filter

    sigmas = (0.0, *(max(_NEVER_BLURRED, _BLUR * side) for side in image.shape[1:]))
    return np.asarray(gaussian_filter(image, sigmas, mode="nearest"), np.float32)


def _random(curve: Curve) -> str:
    return f"{curve.area:.2f} at random"
