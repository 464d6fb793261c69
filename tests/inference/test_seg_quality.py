"""Expected Dice beside the true one where probabilities are calibrated by construction; maps of uncertainty."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression

from medcnn.inference.mask_rule import MaskRule
from medcnn.inference.quality import ExpectedDice, QualityMap
from medcnn.inference.uncertainty import as_bytes, disagreement, entropy

TWO = MaskRule(("a", "b"))
REGIONS = MaskRule(("whole", "core"), overlapping=True)


def probabilities(generator: np.random.Generator, rule: MaskRule, sharpness: float) -> torch.Tensor:
    logits = torch.from_numpy(generator.normal(0, sharpness, (1, rule.num_logits, 12, 12, 12)))
    return rule.probability(logits)[0]


def drawn(generator: np.random.Generator, probability: torch.Tensor, rule: MaskRule) -> np.ndarray:
    """A truth of which each voxel has exactly these chances."""
    luck = generator.random((1, *probability.shape[1:]))
    if rule.overlapping:
        return np.asarray(luck < probability.numpy(), np.uint8)
    above = luck > 1 - probability.numpy()[::-1].cumsum(axis=0)
    return np.asarray(above.sum(axis=0, keepdims=True), np.uint8)


@pytest.mark.parametrize("rule", [TWO, REGIONS])
@pytest.mark.parametrize("sharpness", [1.0, 4.0])
def test_expected_dice_is_the_mean_dice_where_probabilities_are_calibrated(rule: MaskRule, sharpness: float) -> None:
    generator = np.random.default_rng(0)
    probability = probabilities(generator, rule, sharpness)
    labels = rule.decide(probability)
    expected = ExpectedDice(rule)
    for part, piece in zip(torch.split(probability, 5, dim=1), torch.split(labels, 5, dim=1), strict=True):
        expected.add(part, piece)
    for name, value in expected.value().items():
        true = []
        for _ in range(50):
            truth = rule.mask(drawn(generator, probability, rule), name)
            mask = rule.mask(labels.numpy(), name)
            true.append(2 * (truth & mask).sum() / (truth.sum() + mask.sum()))
        assert value == pytest.approx(np.mean(true), abs=0.005)


def test_expected_dice_of_nothing_is_not_a_number() -> None:
    expected = ExpectedDice(TWO)
    probability = torch.zeros(2, 3, 3, 3)
    probability[1, 0] = 1
    expected.add(probability, TWO.decide(probability))
    assert math.isnan(expected.value()["a"])
    assert expected.value()["b"] == 1


def test_the_rising_curve_equals_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    x = np.round(generator.random(40), 1)  # with ties
    y = x**2 + generator.normal(0, 0.2, 40)
    curve = QualityMap.fit({"a": list(zip(x, y, strict=True))})
    oracle = IsotonicRegression(out_of_bounds="clip").fit(x, y)
    for value in np.linspace(-0.2, 1.2, 30):
        assert curve({"a": value})["a"] == pytest.approx(oracle.predict([value])[0], abs=1e-9)


def test_a_map_mends_overconfidence_and_leaves_what_it_does_not_know() -> None:
    curve = QualityMap.fit({"a": [(0.9, 0.7), (0.95, 0.8), (math.nan, 0.1)], "b": [(math.nan, 1.0)]})
    read = curve({"a": 0.925, "b": 0.4, "c": math.nan})
    assert read["a"] == pytest.approx(0.75)
    assert read["b"] == 0.4
    assert math.isnan(read["c"])
    assert QualityMap.from_json(json.loads(json.dumps(curve.as_json()))) == curve


def test_entropy_of_certainty_of_even_chances_and_of_regions() -> None:
    thirds = torch.full((2, 1), 1 / 3)
    torch.testing.assert_close(entropy(thirds, TWO), torch.ones(1))
    torch.testing.assert_close(entropy(torch.tensor([[1.0], [0.0]]), TWO), torch.zeros(1))
    torch.testing.assert_close(entropy(torch.tensor([[0.5], [1.0]]), REGIONS), torch.ones(1))
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    torch.testing.assert_close(entropy(torch.tensor([[0.25], [1.0]]), REGIONS), torch.tensor([quarter]))


def test_disagreement_is_twice_the_standard_deviation() -> None:
    said = torch.tensor([[0.0, 1.0, 0.3], [1.0, 1.0, 0.5]])
    found = disagreement(said.mean(dim=0), (said**2).mean(dim=0))
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, 0.2]))
    assert as_bytes(found).tolist() == [255, 0, 51]
