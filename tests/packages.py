"""Tiny model packages with known weights, for tests that need a trained model and no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from medcnn.inference.classifier import OutputRule
from medcnn.inference.expectation import Expectation
from medcnn.inference.mask_rule import MaskRule
from medcnn.inference.segmenter_settings import SegmenterSettings
from medcnn.io.options import Reading
from medcnn.model_package.classifier import ClassifierDescription
from medcnn.model_package.description import save_package
from medcnn.model_package.segmenter import SegmenterDescription
from medcnn.networks.build import build_network, model_conf
from medcnn.transforms.preprocessing import Preprocessing
from medcnn.transforms.scaling import Statistics
from medcnn.transforms.whole_grid import WholeGrid

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
    network: dict[str, Any] | None = None,
) -> Path:
    """A small plain CNN, or another network by its settings, with random weights (all of them `weights`, if given),
    saved where it can be loaded.
    """
    network = network or {
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


def tiny_segmenter_package(
    folder: Path,
    *,
    spatial_dims: int = 3,
    patch: tuple[int, ...] = (),
    rule: MaskRule | None = None,
    lines: tuple[tuple[float, float], ...] = (),
    steepness: float = 4.0,
    codes: dict[str, str] | None = None,
    modality: tuple[str, ...] = (),
    spacing_mm: tuple[float, ...] = (),
    crop: str = "none",
    settings: dict[str, Any] | None = None,
    members: int = 1,
    task: str = "tiny",
) -> Path:
    """One convolution of 1 x 1 x 1, so that every voxel's label is known from its value v from 0 to 250.

    lines  the logits are steepness * (a v + b) for each (a, b). As they are: background below 100, the first structure
           up to 200, the second beyond
    """
    rule = rule or MaskRule(("rim", "core"), values={"rim": (3,), "core": (7,)})
    lines = lines or ((0.0, 0.0), (1.0, -100.0), (2.0, -300.0))
    patch = patch or (8,) * spatial_dims
    network = {
        "name": "unet", "widths": [1], "kernels": [[1] * spatial_dims], "strides": [[1] * spatial_dims],
        "encoder_convolutions": [1], "norm": "batch",
    }  # fmt: skip
    shape = {"in_channels": 1, "size_px": list(patch), "num_outputs": rule.num_logits}
    torch.manual_seed(0)
    state = build_network(model_conf(network), **shape).state_dict()
    for name, value in state.items():
        if name.endswith("linear.weight"):
            value[:, 0] = torch.tensor([steepness * a for a, _ in lines])
        elif name.endswith("linear.bias"):
            value[:] = torch.tensor([steepness * b for _, b in lines])
        elif value.ndim > 2:  # the convolution
            value.fill_(1.0)
    description = SegmenterDescription(
        task=task,
        intended_use="Tests.",
        rule=rule,
        class_codes=codes or {},
        network={**network, **shape},
        preprocessing=WholeGrid(
            spatial_dims, spacing_mm, "dataset", 0.5, 99.5, crop, "", 1, Reading(),
            Statistics((0.0,), (250.0,), (0.0,), (1.0,)),
        ),
        settings=SegmenterSettings(patch, **(settings or {})),
        expects=Expectation(modality, (), spatial_dims, WIDE, WIDE, WIDE, WIDE),
    )  # fmt: skip
    save_package(folder, description, [save(state)] * members)
    return folder
