"""Functions that make small data sets with known content."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medcnn.data.manifest import Case, Manifest


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """A data root with a manifest of the given header and rows, as text."""

    def write(header: Sequence[str], *rows: Sequence[Any], name: str = "manifest.csv") -> Path:
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([header, *rows])
        return tmp_path

    return write


@pytest.fixture
def write_picture(tmp_path: Path) -> Callable[..., str]:
    """A PNG below the data root, different for each seed; its reference."""

    def write(name: str, seed: int = 0, size: tuple[int, int] = (10, 12), constant: int | None = None) -> str:
        values = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
        if constant is not None:
            values[:] = constant
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
        return name

    return write


@pytest.fixture
def cases() -> Callable[..., list[Case]]:
    """Cases by (label, patient, split), numbered."""

    def make(*rows: tuple[str, str, str]) -> list[Case]:
        return [
            Case(f"c{number:03d}", {"": f"{number}.png"}, {"": label}, patient, split)
            for number, (label, patient, split) in enumerate(rows)
        ]

    return make


@pytest.fixture
def manifest(tmp_path: Path, cases: Callable[..., list[Case]]) -> Callable[..., Manifest]:
    def make(*rows: tuple[str, str, str]) -> Manifest:
        return Manifest(tmp_path, tuple(cases(*rows)))

    return make
