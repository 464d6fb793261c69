"""Classifying masks: what its task and its recipe set."""

from __future__ import annotations

import pytest

from medcnn.config.compose import CommandLine, checked


def test_the_recipe_leaves_values_and_sides_alone() -> None:
    words = ["+task=shape_cls", "data=adrenalmnist3d", "data.root=/data"]
    conf = checked("train", CommandLine.of("train", words))
    random = conf.transforms.random
    assert conf.task.kind == "classification"
    assert len(conf.transforms.size_px) == 3
    assert conf.transforms.intensity.scale == "range"
    assert random.mirror.probability == random.gamma.probability == random.contrast.probability == 0
    assert conf.trainer.keep == "last"


@pytest.mark.parametrize("model", ["resnet18", "densenet"])
def test_the_recipe_goes_with_other_networks(model: str) -> None:
    words = ["+task=shape_cls", "data=adrenalmnist3d", "data.root=/data", f"model={model}"]
    assert checked("train", CommandLine.of("train", words)).trainer.precision == "bf16"
