"""The one door for a user's own network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from medcnn.config.errors import ConfigError
from medcnn.config.model import CustomConf
from medcnn.networks.build import build_network

SOURCE = """
from pathlib import Path

import torch
from torch import nn

Path(__file__).with_name("imported").touch()


class Mine(nn.Module):
    def __init__(self, in_channels, num_outputs, *, width=4):
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                   nn.Linear(width, num_outputs), nn.Dropout(0.5))

    def forward(self, image):
        return self.layer(image)


class TooMany(Mine):
    def forward(self, image):
        return torch.cat([self.layer(image), self.layer(image)], dim=1)


class Pair(Mine):
    def forward(self, image):
        return self.layer(image), image


class Broken(Mine):
    def forward(self, image):
        return image @ image[:, :, :3]


class NoModule:
    def __init__(self, in_channels, num_outputs):
        pass


def function(in_channels, num_outputs):
    return nn.Identity()


number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module with networks of one's own, fresh for each test."""
    name = f"my_networks_{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def build(module: str, class_name: str, *, allowed: tuple[str, ...] | None = None, **arguments: Any) -> torch.nn.Module:
    conf = CustomConf(module=module, class_name=class_name, arguments=arguments)
    modules = (module,) if allowed is None else allowed
    return build_network(conf, in_channels=2, num_outputs=3, size_px=(12, 16), modules=modules)


def test_ones_own_network_is_built_and_answers(module: str) -> None:
    network = build(module, "Mine", width=6)
    assert network(torch.zeros(2, 2, 12, 16)).shape == (2, 3)
    assert network.layer[0].out_channels == 6  # type: ignore[index, union-attr]
    assert network.training  # the check of its shape leaves it as it was


def test_a_module_that_was_not_named_is_not_even_imported(module: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"was not named by you. Add modules=\["):
        build(module, "Mine", allowed=())
    with pytest.raises(ConfigError, match="was not named by you"):
        build(module, "Mine", allowed=("another",))
    assert not (tmp_path / "imported").exists()
    build(module, "Mine")
    assert (tmp_path / "imported").exists()


@pytest.mark.parametrize("foreign", ["monai.networks.nets", "torch.nn", "os", "builtins", "medcnn.networks.resnet"])
def test_libraries_are_refused_even_when_named(foreign: str) -> None:
    with pytest.raises(ConfigError, match="was not named by you"):
        build(foreign, "ResNet")


@pytest.mark.parametrize("class_name", ["NoModule", "function", "number", "torch"])
def test_only_modules_of_torch_are_networks(module: str, class_name: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a torch\.nn\.Module"):
        build(module, class_name)


@pytest.mark.parametrize(
    ("class_name", "arguments", "words"),
    [
        ("Absent", {}, "cannot be imported"),
        ("Mine", {"widht": 3}, "refuses them"),
        ("TooMany", {}, r"answers \(2, 6\), expected \(2, 3\)"),
        ("Pair", {}, r"answers tuple, expected \(2, 3\)"),
        ("Broken", {}, r"fails on two scans of \(2, 12, 16\)"),
    ],
)
def test_what_does_not_fit_is_said(module: str, class_name: str, arguments: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(module, class_name, **arguments)


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="cannot be imported: No module named 'no_such_module_here'"):
        build("no_such_module_here", "Mine")
