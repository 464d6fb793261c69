"""Networks of one package that decide otherwise than each other: said of the case, and not of one where all agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from packages import tiny_package
from torch import Tensor, nn

from medcnn.data.cache import Facts
from medcnn.inference.classifier import Classifier
from medcnn.model_package.classifier import ClassifierPackage
from medcnn.model_package.opening import load_classifier


class Says(nn.Module):
    """Ill with odds of e to the image's mean, times a number."""

    def __init__(self, times: float) -> None:
        super().__init__()
        self.times = times

    def forward(self, image: Tensor) -> Tensor:
        mean = image.flatten(1).mean(dim=1, keepdim=True)
        return torch.cat([torch.zeros_like(mean), mean * self.times], dim=1)


def package(folder: Path, *times: float) -> ClassifierPackage:
    found = load_classifier(tiny_package(folder), accelerator="cpu")
    asked = Classifier([Says(one) for one in times], found.classifier.rule, torch.device("cpu"))
    return ClassifierPackage(found.description, asked, found.digest)


def flags(asked: ClassifierPackage, value: float) -> list[str]:
    facts = Facts(pixels="", constant=False, low=0.0, high=1.0, modality="", body_part="")
    (said,) = asked.predict_images(np.full((1, 1, 16, 16), value, np.float32), [facts])
    return [flag for flag in said.flags if flag.startswith("DISAGREEMENT")]


def test_members_that_contradict_each_other_are_a_flag(tmp_path: Path) -> None:
    expected = "DISAGREEMENT: 1 of 3 networks decide otherwise than the others (ill 2, normal 1)"
    assert flags(package(tmp_path / "a", 3.0, 2.0, -1.0), 2.0) == [expected]
    assert flags(package(tmp_path / "b", 3.0, 2.0, 1.0), 2.0) == []
    assert flags(package(tmp_path / "c", 3.0), 2.0) == []


def test_nothing_is_said_of_answers_that_are_no_numbers(tmp_path: Path) -> None:
    assert flags(package(tmp_path / "a", 3.0, float("nan")), 2.0) == []
