"""Made-up facts of cases, shaped like data sets whose nnU-Net plans are published."""

from __future__ import annotations

from math import prod
from typing import Any

from medcnn.config.model import UNetConf
from medcnn.config.planning import PlanConf
from medcnn.config.trainer import TrainerConf
from medcnn.config.transforms import TransformsConf
from medcnn.planning.budget import Overheads
from medcnn.planning.candidate import Throughput
from medcnn.planning.draft import Draft, draft
from medcnn.planning.fingerprint import Fingerprint
from medcnn.planning.memory import Device

Sides = tuple[int, ...]
CHANNEL = {"mean": 100.0, "std": 20.0, "low": 50.0, "high": 150.0, "min": 0.0, "max": 300.0}
UNITS_PER_SECOND = 1e12


def case(shape: Sides, spacing: tuple[float, ...] = (), channels: int = 1, **changes: Any) -> dict[str, Any]:
    """One case with one structure of 2 % of the voxels."""
    facts = {
        "case_id": "case-1",
        "shape_vox": shape,
        "spacing_mm": spacing,
        "intensity": [dict(CHANNEL) for _ in range(channels)],
        "nonzero_share": 1.0,
        "structure_voxels": {"lesion": round(0.02 * prod(shape))},
        "structure_ml": {"lesion": 1.5},
        "components": {"lesion": 1},
    }
    return {**facts, **changes}


def alike(
    count: int, shape: Sides, spacing: tuple[float, ...] = (), modality: str = "MR", **changes: Any
) -> Fingerprint:
    """Many cases of one kind."""
    return Fingerprint.of([case(shape, spacing, **changes)] * count, modality=modality)


def hippocampus(count: int = 208) -> Fingerprint:
    return alike(count, (35, 50, 36), (1.0, 1.0, 1.0))


def drafted(
    fingerprint: Fingerprint,
    *,
    kind: str = "cuda",
    gb: float | None = 8,
    minutes: float | None = None,
    model: UNetConf | None = None,
    trainer: TrainerConf | None = None,
    transforms: TransformsConf | None = None,
    precisions: tuple[str, ...] = ("bf16",),
    **conf: Any,
) -> Draft:
    """nnU-Net's defaults: 8 GB on a GPU in 16 bit, no minutes."""
    return draft(
        fingerprint,
        PlanConf(memory_gb=gb, **conf),
        transforms=transforms or TransformsConf(),
        trainer=trainer or TrainerConf(max_minutes=minutes, epochs=100_000),
        model=model or UNetConf(),
        device=Device(kind, memory_gb=16),
        num_outputs=2,
        precisions=precisions,
    )


def measured(found: Draft, units_per_second: float = UNITS_PER_SECOND) -> list[Throughput]:
    """Every candidate, on a machine that does so much in a second."""
    return [Throughput(one, one.units / units_per_second) for one in found.candidates]


NOTHING_ELSE = Overheads()
