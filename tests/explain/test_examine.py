"""What is said of an explainer's maps: of a network that is known, the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_networks import LooksAtOneCorner, noise

from medcnn.explain.build import Explainer, build_explainer
from medcnn.explain.examine import examine
from medcnn.explain.heat import relative


def images(dims: int, count: int = 3) -> np.ndarray:
    made = np.abs(noise(count, 1, *[16] * dims)) * 0.05
    made[(slice(None), 0, *[slice(0, 4)] * dims)] += 2
    return made


def brightness_of_the_corner(dims: int):
    """What LooksAtOneCorner would say, as a probability of class 1."""

    def probability(asked: np.ndarray) -> np.ndarray:
        corner = asked[(slice(None), 0, *[slice(0, 4)] * dims)].reshape(len(asked), -1).mean(axis=1)
        p = np.clip(corner / 2, 0, 1)
        return np.stack([1 - p, p], axis=1).astype(np.float64)

    return probability


@pytest.mark.parametrize("name", ["gradcam", "occlusion"])
def test_a_map_of_what_decides(name: str) -> None:
    found = examine(build_explainer(name), [LooksAtOneCorner(2)], brightness_of_the_corner(2), images(2), [1, 1, 1])
    assert found.curves.better_deletion > 0.1
    assert found.curves.better_insertion > 0
    assert found.heats.shape == (3, 16, 16)
    assert found.num_cases == 3
    assert found.words().startswith("The map marks what decides")


def test_a_map_of_elsewhere_in_a_volume() -> None:
    def elsewhere(network: torch.nn.Module, asked: np.ndarray, classes: object) -> tuple[np.ndarray, list[str]]:
        return relative(asked[:, 0].max() - asked[:, 0]), [""] * len(asked)

    explainer = Explainer("elsewhere", "Elsewhere", "", elsewhere)
    found = examine(explainer, [LooksAtOneCorner(3)], brightness_of_the_corner(3), images(3, 1), [1])
    assert "no more of what decides than a random one" in found.words()
    assert "Do not believe the map of Elsewhere" in found.words()
