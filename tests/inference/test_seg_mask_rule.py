"""From probabilities to masks, and to the numbers in a file."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from medcnn.inference.mask_rule import MaskRule

THREE = MaskRule(("a", "b", "c"), values={"a": (4,), "b": (300, 7), "c": (1,)})
TUMOUR = MaskRule(
    ("core", "whole", "enhancing"),
    overlapping=True,
    thresholds={"core": 0.8},
    values={"core": (1, 4), "whole": (1, 2, 4), "enhancing": (4,)},
)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1)


def test_the_most_probable_wins_background_included() -> None:
    assert THREE.decide(column(0.2, 0.3, 0.1)).item() == 0  # background has 0.4
    assert THREE.decide(column(0.2, 0.4, 0.1)).item() == 2
    assert THREE.decide(column(0.1, 0.1, 0.7)).item() == 3


def test_even_chances_are_background() -> None:
    for count in range(1, 21):
        rule = MaskRule(tuple(str(n) for n in range(count)))
        assert rule.decide(rule.probability(torch.zeros(1, count + 1, 2, 2))[0]).max() == 0


def test_softmax_without_its_background_and_sigmoid() -> None:
    logits = torch.tensor([0.0, math.log(2), 0.0, 0.0]).view(1, 4, 1, 1)
    torch.testing.assert_close(THREE.probability(logits).flatten(), torch.tensor([0.4, 0.2, 0.2]))
    logits = torch.tensor([0.0, math.log(3), -math.log(3)]).view(1, 3, 1, 1)
    torch.testing.assert_close(TUMOUR.probability(logits).flatten(), torch.tensor([0.5, 0.75, 0.25]))


def test_a_network_with_other_outputs_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="2 outputs, 3 structures need 4"):
        THREE.probability(torch.zeros(1, 2, 3, 3))


def test_overlapping_structures_hold_from_their_own_thresholds() -> None:
    assert TUMOUR.decide(column(0.79, 0.5, 0.49)).flatten().tolist() == [0, 1, 0]
    assert TUMOUR.decide(column(0.8, 0.1, 0.5)).flatten().tolist() == [1, 0, 1]


def test_file_values_of_exclusive_structures() -> None:
    found = THREE.to_file(np.array([[[0, 1], [2, 3]]], np.uint8))
    assert found.dtype == np.uint16
    assert found.tolist() == [[0, 4], [300, 1]]
    assert MaskRule(("x", "y")).to_file(np.array([[[0, 1, 2]]], np.uint8)).dtype == np.uint8


def test_nested_regions_are_painted_from_the_widest_inwards() -> None:
    assert TUMOUR.painted() == [("whole", 2), ("core", 1), ("enhancing", 4)]
    planes = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]], np.uint8)[:, None]
    assert TUMOUR.to_file(planes).tolist() == [[0, 2, 1, 4]]


def test_structures_with_a_file_each_fit_into_no_single_map() -> None:
    rule = MaskRule(("lung", "heart"), overlapping=True, values={"lung": (1,), "heart": (1,)})
    with pytest.raises(ValueError, match="a mask for each"):
        rule.to_file(np.zeros((2, 3, 3), np.uint8))


def test_masks_of_one_structure() -> None:
    assert THREE.mask(np.array([[[0, 2, 2, 3]]], np.uint8), "b").tolist() == [[False, True, True, False]]
    assert TUMOUR.mask(np.array([[[1]], [[0]], [[255]]], np.uint8), "enhancing").tolist() == [[False]]


@pytest.mark.parametrize("rule", [THREE, TUMOUR, MaskRule(("x",))])
def test_a_round_through_json(rule: MaskRule) -> None:
    assert MaskRule.from_json(json.loads(json.dumps(rule.as_json()))) == rule
