"""Tiny model packages with known weights, for tests that need a trained model and no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from medcnn.inference.classifier import OutputRule
from medcnn.inference.expectation import Expectation
from medcnn.io.options import Reading
from medcnn.model_package.classifier import ClassifierDescription
from medcnn.model_package.description import save_package
from medcnn.networks.build import build_network, model_conf
from medcnn.transforms.preprocessing import Preprocessing

WIDE = (-1e6, 1e6)


def tiny_package(
    folder: Path,
    *,
    size_px: tuple[int, ...] = (16, 16),
    class_names: tuple[str, ...] = ("normal", "ill"),
    kind: Any = "binary",
    modality: tuple[str, ...] = (),
    body_part: tuple[str, ...] = (),
    low: tuple[float, float] = WIDE,
    high: tuple[float, float] = WIDE,
    mean: tuple[float, float] = WIDE,
    spread: tuple[float, float] = WIDE,
    spacing_mm: tuple[float, ...] = (),
    seed: int = 0,
    weights: float | None = None,
) -> Path:
    """A plain CNN with random weights (all of them `weights`, if given), saved where it can be loaded."""
    network = {
        "name": "plain_cnn", "widths": [4, 8], "convolutions": 1, "hidden": [8], "head_grid": 2, "norm": "none",
        "dropout": 0.0,
    }  # fmt: skip
    shape = {"in_channels": 1, "size_px": list(size_px), "num_outputs": len(class_names)}
    torch.manual_seed(seed)
    built = build_network(model_conf(network), **shape)
    state = built.state_dict()
    if weights is not None:
        state = {name: torch.full_like(value, weights) for name, value in state.items()}
    description = ClassifierDescription(
        task="tiny",
        intended_use="Tests.",
        rule=OutputRule(kind, class_names),
        class_codes={},
        fitted_on="calib",
        network={**network, **shape},
        preprocessing=Preprocessing(size_px, spacing_mm, True, "percentiles", 0.5, 99.5, Reading(), 1),
        expects=Expectation(modality, body_part, len(size_px), low, high, mean, spread),
    )
    save_package(folder, description, [save(state)])
    return folder
