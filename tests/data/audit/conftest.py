"""Functions that make evidence and small data sets with known faults."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medcnn.data.audit.evidence import Evidence, Measured
from medcnn.data.audit.finding import Finding
from medcnn.data.audit.record import Record
from medcnn.data.manifest import Case, Manifest

Make = Callable[..., Any]


def record(seed: int, **changes: Any) -> Record:
    """A chest-film-like record of its own: no two seeds share pixels or detail."""
    generator = np.random.default_rng(seed)
    signature = generator.integers(0, 256, (1, 64, 64), dtype=np.uint8)
    made = Record(
        shape=(1, 128, 128),
        spacing_mm=(0.5, 0.5),
        spacing_source="PixelSpacing",
        modality="DX",
        body_part="CHEST",
        value_range=(0.0, 4095.0),
        quantiles=(0.0, 1.0, 2.0, 3.0, 4.0),
        least=0.0,
        greatest=4000.0,
        mean=float(generator.normal(1000, 100)),
        std=300.0,
        nonzero=1.0,
        pixels=f"pixels-{seed}",
        orientation="",
        facts={"format": "DICOM"},
        signature=base64.b64encode(signature.tobytes()).decode(),
        thumbnail="",
    )
    return replace(made, **changes)


@pytest.fixture
def make_record() -> Make:
    return record


@pytest.fixture
def evidence(tmp_path: Path) -> Make:
    """From (label, patient, split) and a record each; further columns by name."""

    def make(
        rows: Sequence[tuple[str, str, str]],
        records: Sequence[Record] | None = None,
        columns: Sequence[dict[str, str]] | None = None,
        **more: Any,
    ) -> Evidence:
        cases = tuple(
            Case(f"c{n:04d}", {"": f"{n}.png"}, {"": label}, patient, split, free=columns[n] if columns else {})
            for n, (label, patient, split) in enumerate(rows)
        )
        made = records or [record(n) for n in range(len(rows))]
        measured = tuple(Measured(case, one) for case, one in zip(cases, made, strict=True))
        return Evidence(Manifest(tmp_path, cases), measured, **more)

    return make


@pytest.fixture
def clean_rows() -> Make:
    """(label, patient, split) of n patients with one picture each, classes and splits drawn at random."""

    def make(n: int = 400, seed: int = 0) -> list[tuple[str, str, str]]:
        generator = np.random.default_rng(seed)
        labels = generator.choice(["ill", "well"], n)
        splits = generator.choice(["train", "val", "calib", "test"], n, p=[0.6, 0.15, 0.1, 0.15])
        return [(str(label), f"p{k}", str(split)) for k, (label, split) in enumerate(zip(labels, splits, strict=True))]

    return make


@pytest.fixture
def codes() -> Callable[[Sequence[Finding]], set[str]]:
    return lambda findings: {finding.code for finding in findings}


def scene(seed: int, size: tuple[int, int] = (120, 132)) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture with structure at every scale, as anatomy has; each seed its own."""
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng(seed)
    layers = [
        gaussian_filter(generator.normal(size=size), sigma, mode="wrap") * sigma for sigma in (1.2, 2.5, 5, 10, 20)
    ]
    picture = np.sum(layers, axis=0)
    low, high = picture.min(), picture.max()
    return ((picture - low) / (high - low) * 255).astype(np.uint8)


@pytest.fixture
def make_scene() -> Make:
    return scene


@pytest.fixture
def write_scene(tmp_path: Path) -> Callable[[str, int], str]:
    """A PNG below tmp_path/data, old enough to be remembered; its reference."""

    def write(name: str, seed: int) -> str:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(seed, (60, 66))).save(path)
        settle(path)
        return name

    return write


def settle(path: Path) -> None:
    """As if it had been written an hour ago."""
    import os
    import time

    then = time.time_ns() - 3_600_000_000_000
    os.utime(path, ns=(then, then))
