"""What kind of scan a model knows, and what it flags."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from medcnn.inference.expectation import Expectation


def images(count: int = 20, seed: int = 0) -> np.ndarray:
    """Pictures of mean -0.3 and spread 0.5, a little different each."""
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal((count, 1, 16, 16))
    shift = generator.uniform(-0.05, 0.05, (count, 1, 1, 1))
    return (0.5 * noise - 0.3 + shift).astype(np.float32)


def known(**given: Any) -> Expectation:
    facts: dict[str, Any] = {
        "modality": ["CR", "DX", "CR"],
        "body_part": ["CHEST"] * 3,
        "low": [0.0, 10.0, 5.0],
        "high": [900.0, 1000.0, 950.0],
        "images": images(),
    }
    return Expectation.of(**{**facts, **given})


def test_it_learns_ranges_and_words() -> None:
    found = known()
    assert (found.modality, found.body_part, found.spatial_dims) == (("CR", "DX"), ("CHEST",), 2)
    assert (found.low, found.high) == ((0.0, 10.0), (900.0, 1000.0))
    assert found.mean == pytest.approx((-0.3, -0.3), abs=0.12)
    assert found.mean[0] < found.mean[1]
    assert found.spread == pytest.approx((0.5, 0.5), abs=0.1)
    assert known(images=np.zeros((2, 1, 4, 4, 4), np.float32)).spatial_dims == 3


def test_another_modality_or_body_part_is_a_misfit() -> None:
    assert list(known().misfits("CR", "CHEST")) == []
    assert list(known().misfits("MR", "BRAIN")) == [
        "MODALITY: this scan says MR, the model knows CR, DX",
        "BODY_PART: this scan says BRAIN, the model knows CHEST",
    ]


def test_what_a_scan_does_not_say_is_not_held_against_it() -> None:
    assert list(known().misfits("", "")) == []


def test_what_was_not_said_of_every_training_scan_is_not_checked() -> None:
    silent = known(modality=["CR", "", "CR"], body_part=["", "", ""])
    assert (silent.modality, silent.body_part) == ((), ())
    assert list(silent.misfits("MR", "BRAIN")) == []


def test_training_scans_themselves_are_not_odd() -> None:
    for image in images():
        assert list(known().oddities(5.0, 950.0, image)) == []


def test_new_scans_of_the_same_kind_are_not_odd() -> None:
    for image in images(50, seed=7):
        assert list(known().oddities(-100.0, 1200.0, image)) == []


@pytest.mark.parametrize(("low", "high"), [(0.0, 255 * 255.0), (-3000.0, 900.0), (0.0, 1.0), (float("nan"), 900.0)])
def test_intensities_of_another_kind_are_flagged(low: float, high: float) -> None:
    (flag,) = known().oddities(low, high, images()[0])
    assert flag.startswith("INTENSITY_RANGE: values from ")
    assert "0 and 10" in flag
    assert "900 and 1000" in flag


@pytest.mark.parametrize(
    "image", [-images()[0], np.zeros((1, 16, 16), np.float32), np.full((1, 16, 16), np.nan, np.float32)],
    ids=["inverted", "empty", "not a number"],
)  # fmt: skip
def test_a_picture_of_another_shape_of_grey_is_flagged(image: np.ndarray) -> None:
    (flag,) = known().oddities(5.0, 950.0, image)
    assert flag.startswith("INTENSITY_SHAPE: mean ")


def test_it_survives_json() -> None:
    found = known()
    assert Expectation.from_json(json.loads(json.dumps(found.as_json()))) == found
