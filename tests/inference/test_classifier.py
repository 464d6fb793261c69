"""From prepared scans to probabilities and decisions, each scan by itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medcnn.config.model import PlainCNNConf
from medcnn.inference.classifier import Classifier, OutputRule, choose_device, mean_of_members, shifted
from medcnn.networks.build import build_network

CPU = torch.device("cpu")
BINARY = OutputRule("binary", ("normal", "ill"))
THREE = OutputRule("multiclass", ("a", "b", "c"))
SEVERAL = OutputRule("multilabel", ("mass", "oedema"))


class Says(nn.Module):
    """Answers each scan's mean, times given numbers."""

    def __init__(self, *times: float) -> None:
        super().__init__()
        self.times = torch.tensor(times)

    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(1).mean(dim=1, keepdim=True) * self.times


def network(seed: int = 0, outputs: int = 2, size_px: tuple[int, ...] = (16, 16)) -> nn.Module:
    torch.manual_seed(seed)
    conf = PlainCNNConf(widths=[4, 8], hidden=[8])
    return build_network(conf, in_channels=1, num_outputs=outputs, size_px=size_px).eval()


def scans(count: int, size_px: tuple[int, ...] = (16, 16), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 1, *size_px)).astype(np.float32)


def constant(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None, None, None] * np.ones((1, 1, 4, 4), np.float32)


# The output rule


def test_probabilities_of_classes_that_exclude_each_other() -> None:
    found = BINARY.probability(np.array([[0.0, math.log(3)], [50.0, -50.0]]))
    np.testing.assert_allclose(found, [[0.25, 0.75], [1, 0]], atol=1e-12)
    np.testing.assert_allclose(THREE.probability(np.log([[1.0, 2.0, 5.0]])), [[1 / 8, 2 / 8, 5 / 8]])


def test_probabilities_of_findings_by_themselves() -> None:
    np.testing.assert_allclose(SEVERAL.probability(np.array([[0.0, math.log(3)]])), [[0.5, 0.75]])


def test_a_temperature_divides_the_logits() -> None:
    hot = OutputRule("binary", ("n", "p"), temperature=2.0)
    np.testing.assert_allclose(hot.probability(np.array([[0.0, 2 * math.log(3)]])), [[0.25, 0.75]])


def test_logits_of_any_size_overflow_nowhere() -> None:
    for rule, logits in ((BINARY, [[1e4, -1e4]]), (SEVERAL, [[1e4, -1e4]])):
        with np.errstate(all="raise", under="ignore"):
            np.testing.assert_allclose(rule.probability(np.array(logits)), [[1, 0]])


@pytest.mark.parametrize(("threshold", "decision"), [(0.5, "normal"), (0.3, "ill"), (0.2, "ill"), (0.31, "normal")])
def test_a_binary_decision_is_about_the_last_class(threshold: float, decision: str) -> None:
    rule = OutputRule("binary", ("normal", "ill"), thresholds={"ill": threshold})
    assert rule.decisions(np.array([[0.7, 0.3]])) == [decision]
    expected = 0.3 if decision == "ill" else 0.7
    assert rule.confidence(np.array([[0.7, 0.3]])) == [pytest.approx(expected)]


def test_of_several_classes_the_most_probable() -> None:
    probability = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]])
    assert THREE.decisions(probability) == ["b", "a"]
    assert THREE.confidence(probability) == [0.5, 0.4]
    assert THREE.limits() == []


def test_findings_are_decided_each_at_its_own_threshold() -> None:
    rule = OutputRule("multilabel", ("mass", "oedema"), thresholds={"mass": 0.2})
    probability = np.array([[0.3, 0.9], [0.3, 0.4], [0.1, 0.5], [0.1, 0.1]])
    assert rule.decisions(probability) == ["mass+oedema", "mass", "oedema", "none"]
    np.testing.assert_allclose(rule.confidence(probability), [0.3, 0.3, 0.5, 0.9])
    assert rule.limits() == [0.2, 0.5]


# Networks


def test_logits_are_normalised_so_that_a_mean_of_members_means_something() -> None:
    one = Classifier([Says(0.0, 1.0)], BINARY, CPU)
    found = one.logits(constant(2.0))
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(
        BINARY.probability(found), [[1 / (1 + math.e**2), math.e**2 / (1 + math.e**2)]], rtol=1e-6
    )
    np.testing.assert_allclose(Classifier([Says(1.0, -3.0)], SEVERAL, CPU).logits(constant(2.0)), [[2, -6]])


def test_members_answer_together_as_a_geometric_mean() -> None:
    members = [Says(0.0, 1.0), Says(5.0, 3.0)]  # the second one's logits lie higher, which must not count
    together = BINARY.probability(Classifier(members, BINARY, CPU).logits(constant(1.0)))
    alone = np.stack([BINARY.probability(Classifier([m], BINARY, CPU).logits(constant(1.0))) for m in members])
    product = np.sqrt(alone.prod(axis=0))
    np.testing.assert_allclose(together, product / product.sum(), rtol=1e-6)


def test_what_each_member_says_is_kept_until_it_is_averaged() -> None:
    members, images = [network(0), network(1)], scans(11)
    both = Classifier(members, BINARY, CPU, shifts=2)
    alone = np.stack([Classifier([one], BINARY, CPU, shifts=2).logits(images) for one in members])
    np.testing.assert_array_equal(both.member_logits(images), alone)
    np.testing.assert_array_equal(both.logits(images), mean_of_members(alone))
    assert both.member_logits(images[:0]).shape == (2, 0, 2)


def test_one_member_twice_is_one_member() -> None:
    one, images = network(), scans(3)
    np.testing.assert_allclose(
        Classifier([one, one], BINARY, CPU).logits(images), Classifier([one], BINARY, CPU).logits(images), atol=1e-6
    )


@pytest.mark.parametrize("size_px", [(16, 16), (8, 10, 12)], ids=str)
def test_no_answer_depends_on_its_neighbours(size_px: tuple[int, ...]) -> None:
    images, one = scans(9, size_px), network(size_px=size_px)
    together = Classifier([one], BINARY, CPU, batch_cases=64).logits(images)
    for size in (1, 2, 4, 8):
        np.testing.assert_allclose(Classifier([one], BINARY, CPU, size).logits(images), together, atol=1e-5)
    order = np.random.default_rng(0).permutation(9)
    np.testing.assert_allclose(Classifier([one], BINARY, CPU).logits(images[order]), together[order], atol=1e-5)


def test_no_scans_no_answers() -> None:
    assert Classifier([network()], BINARY, CPU).logits(scans(0)).shape == (0, 2)


def test_answering_leaves_no_gradients_and_keeps_the_input() -> None:
    one, images = network(), scans(2)
    before = images.copy()
    Classifier([one], BINARY, CPU).logits(images)
    assert all(parameter.grad is None for parameter in one.parameters())
    assert np.array_equal(images, before)


def test_the_same_networks_read_by_another_rule() -> None:
    one = Classifier([network()], BINARY, CPU, batch_cases=3, shifts=2)
    other = one.with_rule(OutputRule("binary", ("normal", "ill"), temperature=3.0))
    assert (other.networks, other.batch_cases, other.shifts) == (one.networks, 3, 2)
    assert other.rule.temperature == 3.0


# Shifts


@pytest.mark.parametrize(("dims", "most"), [(2, 4), (3, 6)])
def test_copies_are_moved_by_one_pixel_with_the_border_continued(dims: int, most: int) -> None:
    batch = torch.arange(2 * 3**dims, dtype=torch.float32).reshape(2, 1, *[3] * dims)
    copies = shifted(batch, 6)
    assert len(copies) == 1 + most
    assert copies[0] is batch
    expected = torch.cat([batch[..., 1:], batch[..., -1:]], dim=-1)
    assert torch.equal(copies[1], expected)
    expected = torch.cat([batch[..., :1], batch[..., :-1]], dim=-1)
    assert torch.equal(copies[2], expected)
    expected = torch.cat([batch[..., 1:, :], batch[..., -1:, :]], dim=-2)
    assert torch.equal(copies[3], expected)
    assert [len(shifted(batch, count)) for count in range(4)] == [1, 2, 3, 4]


def test_answers_are_averaged_over_the_copies() -> None:
    one, images = network(), scans(3)
    moved = Classifier([one], BINARY, CPU, shifts=4).logits(images)
    each: list[Any] = []
    with torch.no_grad():
        for copy in shifted(torch.from_numpy(images), 4):
            each.append(torch.log_softmax(one(copy), dim=1).numpy())
    np.testing.assert_allclose(moved, np.mean(each, axis=0), atol=1e-6)


@pytest.mark.parametrize("accelerator", ["auto", "gpu", "mps", "cpu"])
def test_a_device_is_always_found(accelerator: str) -> None:
    device = choose_device(accelerator)
    assert device.type in ("cpu", "cuda", "mps")
    assert accelerator != "cpu" or device == CPU
