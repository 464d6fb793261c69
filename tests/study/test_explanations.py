"""What a report says of a model's heat maps, and what its package carries to every later prediction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medcnn.config.explain import WAYS
from medcnn.data.cache import Facts
from medcnn.data.manifest import Case
from medcnn.data.prepared import Prepared
from medcnn.explain.build import EXPLAINERS
from medcnn.inference.classifier import Classifier, OutputRule
from medcnn.study.classification.explanations import explained, explanations_section

SIDE = 16


class LooksAtOneCorner(nn.Module):
    """Class 1 where the first corner is bright; its convolution passes the scan on."""

    def __init__(self) -> None:
        super().__init__()
        self.pass_on = nn.Conv2d(1, 1, 1)
        self.head = nn.Linear(SIDE * SIDE, 2)
        corner = torch.zeros(SIDE, SIDE)
        corner[:4, :4] = 0.25
        with torch.no_grad():
            self.pass_on.weight.fill_(1)
            self.pass_on.bias.zero_()
            self.head.weight.copy_(torch.stack([-corner.ravel(), corner.ravel()]))
            self.head.bias.copy_(torch.tensor([2.0, -2.0]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.pass_on(image)).flatten(1))


class NoConvolution(nn.Module):
    """Without maps to look into."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(SIDE * SIDE, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(image.flatten(1))


def classifier(network: nn.Module) -> Classifier:
    return Classifier([network.eval()], OutputRule("binary", ("dark", "bright")), torch.device("cpu"))


def scans(count: int) -> Prepared:
    images = np.random.default_rng(0).random((count, 1, SIDE, SIDE), np.float32) * 0.1
    images[:, 0, :4, :4] += 1
    facts = Facts(pixels="", constant=False, low=0, high=1, modality="", body_part="")
    cases = [Case(f"case-{number}", {"": ""}, {"": "bright"}) for number in range(count)]
    return Prepared(cases, images, [facts] * count)


def test_every_way_that_a_config_may_name_can_be_built() -> None:
    assert tuple(EXPLAINERS) == WAYS


def test_a_network_that_looks_at_one_corner_is_believed() -> None:
    made = explained(classifier(LooksAtOneCorner()), scans(9), "calib", ["occlusion"], seed=0)
    assert made is not None
    assert made.words()["occlusion"].startswith("The map marks what decides")
    assert made.shown == "bright"
    assert made.found["occlusion"].num_cases == 4
    heat = made.found["occlusion"].heats[0]
    assert heat[:4, :4].mean() > 5 * heat[8:, 8:].mean()


def test_cases_are_spread_over_the_split() -> None:
    made = explained(classifier(LooksAtOneCorner()), scans(2), "calib", ["occlusion"], seed=0)
    assert made is not None
    assert made.found["occlusion"].num_cases == 2


@pytest.mark.parametrize("ways", [[], ["occlusion"]])
def test_nothing_asked_or_nothing_there(ways: list[str]) -> None:
    count = 0 if ways else 3
    assert explained(classifier(LooksAtOneCorner()), scans(count), "calib", ways, seed=0) is None


def test_a_network_without_convolutions_says_why_and_the_other_ways_go_on(tmp_path: Path) -> None:
    made = explained(classifier(NoConvolution()), scans(3), "test", ["gradcam", "occlusion"], seed=0)
    assert made is not None
    assert list(made.found) == ["occlusion"]
    section = explanations_section(made, tmp_path)
    assert "Grad-CAM needs a network with convolutions" in section.text
    assert not (tmp_path / "first_filters.png").exists()


def test_the_section_has_its_figures(tmp_path: Path) -> None:
    made = explained(classifier(LooksAtOneCorner()), scans(5), "test", ["gradcam", "occlusion"], seed=0)
    assert made is not None
    explanations_section(made, tmp_path)
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert drawn == {
        "test_explanations", "test_deletion_insertion", "test_shuffled_weights", "first_filters", "test_feature_maps",
    }  # fmt: skip


def test_words_travel_in_a_package(tmp_path: Path) -> None:
    words = {"gradcam": "The map marks what decides."}
    from medcnn.inference.expectation import Expectation
    from medcnn.model_package.classifier import ClassifierDescription
    from medcnn.transforms.preprocessing import Preprocessing

    expects = Expectation.of(modality=[], body_part=[], low=[0], high=[1], images=scans(2).images)
    from medcnn.config.transforms import TransformsConf
    from medcnn.io.options import Reading

    steps = Preprocessing.of(TransformsConf(size_px=[SIDE, SIDE]), reading=Reading(), num_channels=1)
    rule = OutputRule("binary", ("dark", "bright"))
    description = ClassifierDescription(
        task="t", intended_use="", class_codes={}, network={}, expects=expects, rule=rule, fitted_on="calib",
        preprocessing=steps, explained=words,
    )  # fmt: skip
    found = json.loads(json.dumps(description.as_json()))
    assert ClassifierDescription.from_json(found).explained == words
    del found["heat_maps"]  # as before format 3
    assert ClassifierDescription.from_json(found).explained == {}
