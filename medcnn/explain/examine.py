"""Whether to believe an explainer's maps of one model: what is reported beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt
from torch import nn

from medcnn.explain.build import Explainer
from medcnn.explain.faithfulness import Faithfulness, faithfulness, mean_faithfulness
from medcnn.explain.heat import Heat, Image
from medcnn.explain.sanity import Sanity, sanity

Probability = Callable[[Image], npt.NDArray[np.float64]]  # scans (n, C, *size) -> (n, K), of the model as a whole

MOST_CASES = 8
LARGE_VOX = 2**16  # from here a pass is dear, and fewer curves must do
_SLOW = 2  # cases, for explainers that need many passes a map


@dataclass(frozen=True, eq=False)
class Examined:
    """One explainer and one model.

    heats   (n, *size) of the cases examined
    curves  means over them
    """

    title: str
    heats: Heat
    curves: Faithfulness
    sanity: Sanity
    num_cases: int

    def words(self) -> str:
        """In plain words, for a report and a model card."""
        return f"{self.curves.words()} {self.sanity.words()}"


def examine(
    explainer: Explainer,
    networks: Sequence[nn.Module],
    probability: Probability,
    images: Image,
    class_indices: Sequence[int],
    *,
    seed: int = 0,
) -> Examined:
    """images (n, C, *size), of which the first MOST_CASES are taken, and the class to explain of each.

    Deletion and insertion of the members' mean map against what they say together; sanity of the first member. Takes
    210 questions a case to a small network, 66 to one that sees a volume, and 15 maps a case.
    """
    images, indices = images[:MOST_CASES], list(class_indices[:MOST_CASES])
    heats = explainer.heat(networks, images, indices)
    large = prod(images.shape[2:]) >= LARGE_VOX
    steps, random_maps = (10, 2) if large else (20, 4)
    cases = [
        faithfulness(_of_class(probability, index), image, heat, steps=steps, random_maps=random_maps, seed=seed)
        for image, heat, index in zip(images, heats, indices, strict=True)
    ]
    if explainer.needs_convolutions:
        found = sanity(explainer, networks[0], images, indices, seed=seed)
    else:
        found = sanity(explainer, networks[0], images[:_SLOW], indices[:_SLOW], stages=3, shuffles=1, seed=seed)
    return Examined(explainer.title, heats, mean_faithfulness(cases), found, len(images))


def _of_class(probability: Probability, index: int) -> Callable[[Image], npt.NDArray[np.float64]]:
    return lambda images: probability(images)[:, index]
