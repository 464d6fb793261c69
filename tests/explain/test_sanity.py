"""Shuffled weights: maps of what was learnt change, maps of edges do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_networks import noise, two_stages
from torch import nn

from medcnn.explain.build import Explainer, build_explainer
from medcnn.explain.heat import relative
from medcnn.explain.sanity import sanity, shuffle
from medcnn.explain.similarity import rank_correlation, structural_similarity


def edges(network: nn.Module, images: np.ndarray, class_indices: object) -> tuple[np.ndarray, list[str]]:
    """What Adebayo et al. warn of: it looks as if it explained, and never asks the network."""
    slopes = np.gradient(images[:, 0], axis=tuple(range(1, images.ndim - 1)))
    return relative(np.abs(np.stack(slopes)).sum(axis=0)), [""] * len(images)


def pixel(network: nn.Module, images: np.ndarray, class_indices: object) -> tuple[np.ndarray, list[str]]:
    """The weights themselves as a map."""
    weights = network.get_submodule("0").weight.detach().numpy().reshape(-1)
    heat = np.resize(weights, images[:, 0].shape)
    return relative(heat - heat.min()), [""] * len(images)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_map_that_never_asks_the_network_is_found_out(dims: int) -> None:
    images = noise(2, 1, *[16] * dims)
    found = sanity(Explainer("edges", "Edges", "", edges), two_stages(dims), images, [0, 1])
    assert [stage.rank_correlation for stage in found.stages] == pytest.approx([1] * 5)
    assert [stage.ssim for stage in found.stages] == pytest.approx([1] * 5)
    assert found.words().startswith("Do not believe the map of Edges, it does not depend on what the network learnt")


def test_a_map_of_the_first_layer_changes_at_the_last_stage_only() -> None:
    found = sanity(Explainer("pixel", "Pixel", "", pixel), two_stages(2), noise(1, 1, 16, 16), [0], stages=6)
    ranks = [stage.rank_correlation for stage in found.stages]
    assert ranks[:-1] == pytest.approx([1] * 5)
    assert ranks[-1] < 0.5
    assert found.words().startswith("The map of Pixel depends on what the network learnt")
    assert [stage.layers for stage in found.stages] == [1, 2, 3, 4, 5, 6]
    assert [stage.down_to for stage in found.stages] == ["11", "8", "4", "3", "1", "0"]


@pytest.mark.parametrize("name", ["gradcam", "gradcam++", "occlusion", "integrated_gradients"])
def test_what_a_trained_network_marks_depends_on_its_weights(name: str) -> None:
    """Learns which of two corners is bright; a few steps suffice."""
    torch.manual_seed(0)
    network, random = two_stages(2, seed=2), np.random.default_rng(0)
    images, answers = random.normal(0, 0.3, (64, 1, 16, 16)).astype(np.float32), random.integers(0, 2, 64)
    for image, answer in zip(images, answers, strict=True):
        image[0, slice(2, 6) if answer else slice(10, 14), 2:6] += 2
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    network.train()
    for _ in range(30):
        loss = nn.functional.cross_entropy(network(torch.from_numpy(images)), torch.from_numpy(answers))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.3
    network.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = sanity(build_explainer(name), network, images[:4], answers[:4].tolist(), stages=2)
    assert found.stages[-1].rank_correlation < 0.6
    assert found.stages[-1].ssim < 0.8
    assert not found.words().startswith("Do not believe")
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert found == sanity(build_explainer(name), network, images[:4], answers[:4].tolist(), stages=2)


def test_of_an_empty_map_nothing_is_said() -> None:
    nothing = Explainer("none", "Nothing", "", lambda network, images, classes: (images[:, 0] * 0, [""]))
    found = sanity(nothing, two_stages(2), noise(1, 1, 16, 16), [0])
    assert "shows nothing of these cases" in found.words()


def test_shuffling_moves_numbers_and_invents_none() -> None:
    layer = nn.Conv2d(3, 4, 3)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    shuffle(layer, torch.Generator().manual_seed(0))
    for name, value in layer.state_dict().items():
        assert not torch.equal(before[name], value)
        assert torch.equal(before[name].flatten().sort().values, value.flatten().sort().values)


@pytest.mark.parametrize("size", [(20, 24), (10, 12, 14)])
def test_similarities_are_those_of_others(size: tuple[int, ...]) -> None:
    from monai.metrics import SSIMMetric
    from scipy.stats import spearmanr

    random = np.random.default_rng(0)
    a = random.random(size).astype(np.float32)
    b = (0.7 * a + 0.3 * random.random(size)).astype(np.float32)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic, abs=1e-9)
    metric = SSIMMetric(spatial_dims=len(size), data_range=1.0, kernel_type="uniform", win_size=7)
    expected = float(metric(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None]))
    assert structural_similarity(a, b) == pytest.approx(expected, abs=1e-4)
    assert structural_similarity(a, a) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    assert rank_correlation(a, a * 0) == 0
