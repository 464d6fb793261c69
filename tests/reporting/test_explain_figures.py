"""Figures of explanations: each a readable PNG, and a CSV that holds what is drawn."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medcnn.reporting.explain_figures import (
    explanations_figure,
    faithfulness_figure,
    features_figure,
    filters_figure,
    sanity_figure,
)
from medcnn.reporting.figures import Drawn, save


@dataclass(frozen=True, eq=False)
class Line:
    share: np.ndarray
    score: np.ndarray
    area: float


@dataclass(frozen=True, eq=False)
class Found:
    deletion: Line
    insertion: Line
    random_deletion: Line
    random_insertion: Line


@dataclass(frozen=True)
class Step:
    layers: int
    down_to: str
    rank_correlation: float
    ssim: float


@dataclass(frozen=True, eq=False)
class Planes:
    layer: str
    planes: np.ndarray
    indices: tuple[int, ...]
    count: int
    size: tuple[int, ...]


def saved(draw: Callable[[], Drawn], folder: Path) -> list[dict[str, str]]:
    """Its rows, once it is what every figure must be."""
    found = save(draw(), folder, "figure")
    with Image.open(found.png) as picture:
        assert 600 <= picture.width <= 2200
        pixels = np.asarray(picture.convert("L"))
    assert len(np.unique(pixels)) > 20
    assert (pixels[:, [0, -1]] == 255).all(), "something is cut off at the sides"
    again = save(draw(), folder / "again", "figure")
    assert again.png.read_bytes() == found.png.read_bytes()
    with found.csv.open(newline="") as file:
        return list(csv.DictReader(file))


def line(power: float) -> Line:
    share = np.linspace(0, 1, 21)
    return Line(share, share**power, 1 / (1 + power))


def blob(at: tuple[int, int], sigma: float, size: tuple[int, int] = (64, 56)) -> np.ndarray:
    rows, columns = np.ogrid[: size[0], : size[1]]
    return np.exp(-((rows - at[0]) ** 2 + (columns - at[1]) ** 2) / (2 * sigma**2))


def test_maps_beside_each_other(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(size=(64, 56)) + 2 * blob((20, 30), 14)
    maps = {"Grad-CAM": blob((20, 31), 9), "Occlusion": blob((24, 28), 6), "Integrated gradients": blob((18, 30), 3)}
    rows = saved(lambda: explanations_figure(image, maps, case_id="c0ffee", text="ill 0.93"), tmp_path)
    assert [(row["explainer"], row["peak_row"], row["peak_column"]) for row in rows] == [
        ("Grad-CAM", "20", "31"),
        ("Occlusion", "24", "28"),
        ("Integrated gradients", "18", "30"),
    ]
    expected = float((maps["Occlusion"] >= 0.5).mean())
    assert float(rows[1]["share_above_half"]) == pytest.approx(expected)


def test_curves_with_their_areas(tmp_path: Path) -> None:
    found = {
        "Grad-CAM": Found(line(3), line(0.3), line(1), line(1)),
        "Occlusion": Found(line(4), line(0.2), line(1.2), line(0.9)),
    }
    drawn = faithfulness_figure(found, num_cases=8)
    rows = saved(lambda: faithfulness_figure(found, num_cases=8), tmp_path)
    assert len(rows) == 2 * 2 * 2 * 21
    one = [row for row in rows if row["explainer"] == "Occlusion" and row["curve"] == "deletion"]
    assert {(row["map"], row["area"]) for row in one} == {("explained", "0.2"), ("random", str(1 / 2.2))}
    texts = [text.get_text() for text in drawn.figure.axes[1].get_legend().get_texts()]
    assert texts == ["Grad-CAM: area 0.77, moved 0.50", "Occlusion: area 0.83, moved 0.53"]


def test_how_alike_maps_stay(tmp_path: Path) -> None:
    stages = [Step(1, "head.5", 0.7, 0.8), Step(6, "features.4", 0.2, 0.4), Step(12, "features.0", -0.1, 0.2)]
    rows = saved(lambda: sanity_figure({"Grad-CAM": stages, "Occlusion": stages[::-1]}, num_cases=8), tmp_path)
    assert [(row["layers_shuffled"], row["down_to"]) for row in rows[:2]] == [("1", "head.5"), ("6", "features.4")]
    assert float(rows[2]["rank_correlation"]) == -0.1


@pytest.mark.parametrize(("count", "size"), [(64, (7, 7)), (5, (3, 3)), (32, (3, 3, 3))])
def test_filters(tmp_path: Path, count: int, size: tuple[int, ...]) -> None:
    planes = np.random.default_rng(0).normal(size=(count, *size[:2])).astype(np.float32)
    filters = Planes("conv1", planes, tuple(range(count)), count, size)
    rows = saved(lambda: filters_figure(filters), tmp_path)
    drawn = filters_figure(filters)
    assert [int(row["index"]) for row in rows] == list(range(count))
    assert ("the middle plane" in drawn.caption) == (len(size) == 3)
    assert f"{count} filters" in drawn.caption


def test_feature_maps_of_several_layers(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    layers = [
        Planes("layer1", random.random((8, 64, 48)), (3, 1, 0, 5, 7, 2, 9, 4), 64, (64, 48)),
        Planes("layer4", random.random((4, 8, 6)), (8, 2, 0, 1), 4, (8, 6)),
    ]
    rows = saved(lambda: features_figure(layers, case_id="c0ffee"), tmp_path)
    assert [(row["layer"], row["index"]) for row in rows][7:9] == [("layer1", "4"), ("layer4", "8")]
    with pytest.raises(ValueError, match="no plane"):
        features_figure([], case_id="c0ffee")
