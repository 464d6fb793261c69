"""What the training cases are like, in numbers: all that a plan needs to know of them.

After the data set fingerprint of nnU-Net (Isensee et al. 2021). Axes are turned to the nearest RAS.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from math import isfinite, pi, prod
from typing import Any

import numpy as np

from medcnn.planning.refusal import PlanError

_ELLIPSOID = {2: pi / 4, 3: pi / 6}  # share of its box that an ellipse or ellipsoid fills: a head, a trunk
_INTENSITY = ("mean", "std", "low", "high", "min", "max")


@dataclass(frozen=True)
class Spread:
    """How a quantity with one number per axis varies over the cases."""

    smallest: tuple[float, ...]
    p5: tuple[float, ...]
    p10: tuple[float, ...]
    median: tuple[float, ...]
    p95: tuple[float, ...]
    largest: tuple[float, ...]

    @classmethod
    def of(cls, values: Any) -> Spread:
        """values (cases, axes)."""
        rows = np.percentile(np.asarray(values, float), [0, 5, 10, 50, 95, 100], axis=0)
        return cls(*(tuple(round(float(number), 6) for number in row) for row in rows))


@dataclass(frozen=True)
class StructureFacts:
    """One structure over all cases; medians are of the cases that have it.

    share  of all voxels
    """

    name: str
    cases: int
    share: float
    median_voxels: float
    median_ml: float | None
    median_components: float
    most_components: int


@dataclass(frozen=True)
class Fingerprint:
    """All training cases together.

    spacing_mm        None where at least one case does not know its spacing
    extent            size of the cases in mm; in voxels where the spacing is unknown
    cropped_share     what the median case keeps when it is cut to the box around what differs from the surround
    cropped_extent    the extents then
    anisotropy        median coarsest over median finest spacing
    intensity         per channel over the structures' voxels: mean, std, min, max of all cases together, low and high
                      the medians of the cases' own
    voxels            of all cases together
    """

    cases: int
    modality: str
    channels: int
    shape_vox: Spread
    spacing_mm: Spread | None
    extent: Spread
    cropped_share: float
    cropped_extent: Spread
    anisotropy: float
    intensity: tuple[dict[str, float], ...]
    structures: tuple[StructureFacts, ...]
    voxels: int

    @classmethod
    def of(cls, cases: Sequence[Any], *, modality: str = "") -> Fingerprint:
        """From the facts of each case: medcnn.data.fingerprint.CaseFingerprint, or mappings with its names.

        Raises PlanError (a ValueError): no cases, or cases that contradict each other.
        """
        facts = [_mapping(case) for case in cases]
        _check(facts)
        shapes = np.array([fact["shape_vox"] for fact in facts], float)
        known = all(len(fact["spacing_mm"]) for fact in facts)
        spacings = np.array([fact["spacing_mm"] for fact in facts], float) if known else np.ones_like(shapes)
        spacing = Spread.of(spacings) if known else None
        kept = np.array([_cropped_share(fact) for fact in facts])
        return cls(
            cases=len(facts),
            modality=modality,
            channels=len(facts[0]["intensity"]),
            shape_vox=Spread.of(shapes),
            spacing_mm=spacing,
            extent=Spread.of(shapes * spacings),
            cropped_share=round(float(np.median(kept)), 6),
            cropped_extent=Spread.of(np.array([_cropped_shape(fact) for fact in facts]) * spacings),
            anisotropy=round(max(spacing.median) / min(spacing.median), 6) if spacing else 1.0,
            intensity=tuple(_pooled(facts, channel) for channel in range(len(facts[0]["intensity"]))),
            structures=tuple(_structure(facts, name) for name in _names(facts)),
            voxels=sum(prod(int(side) for side in fact["shape_vox"]) for fact in facts),
        )

    @property
    def dims(self) -> int:
        """Two for pictures, three for volumes."""
        return len(self.shape_vox.median)

    @property
    def digest(self) -> str:
        """Of everything in it: equal fingerprints have equal ones."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        """For fingerprint.json; tuples become lists."""
        value: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Fingerprint:
        """What as_json gave. Raises TypeError or KeyError for anything else."""
        spreads = {name: _spread(value[name]) for name in ("shape_vox", "extent", "cropped_extent")}
        return cls(
            **{
                **value,
                **spreads,
                "spacing_mm": None if value["spacing_mm"] is None else _spread(value["spacing_mm"]),
                "intensity": tuple(dict(channel) for channel in value["intensity"]),
                "structures": tuple(StructureFacts(**facts) for facts in value["structures"]),
            }
        )


def _spread(value: Mapping[str, Sequence[float]]) -> Spread:
    return Spread(**{name: tuple(numbers) for name, numbers in value.items()})


def _mapping(case: Any) -> Mapping[str, Any]:
    if is_dataclass(case) and not isinstance(case, type):
        return asdict(case)
    if not isinstance(case, Mapping):
        raise PlanError("FACTS", f"a case's facts are a CaseFingerprint or a mapping, got {type(case).__name__}")
    return case


def _check(facts: Sequence[Mapping[str, Any]]) -> None:
    if not facts:
        raise PlanError("NO_CASES", "there is no training case to plan from. Give at least one with image and mask.")
    axes = {len(fact["shape_vox"]) for fact in facts}
    if not axes <= {2, 3} or len(axes) > 1:
        raise PlanError(
            "AXES",
            f"cases have {sorted(axes)} axes; all must have two (pictures) or all three (volumes). Split the data.",
        )
    channels = {len(fact["intensity"]) for fact in facts}
    if len(channels) > 1 or channels == {0}:
        raise PlanError("FACTS", f"cases have {sorted(channels)} channels; all must have the same, one or more.")
    for fact in facts:
        sides, spacing = fact["shape_vox"], fact["spacing_mm"]
        if min(sides) < 1 or (len(spacing) and len(spacing) != len(sides)):
            raise PlanError(
                "FACTS", f"{fact['case_id']}: shape {tuple(sides)} and spacing {tuple(spacing)} do not fit."
            )
        if len(spacing) and not all(isfinite(mm) and mm > 0 for mm in spacing):
            raise PlanError("FACTS", f"{fact['case_id']}: spacing {tuple(spacing)} mm; every one must be above 0.")


def _cropped_share(fact: Mapping[str, Any]) -> float:
    return float(prod(_cropped_shape(fact)) / prod(fact["shape_vox"]))


def _cropped_shape(fact: Mapping[str, Any]) -> list[float]:
    """Of the box around what differs from the surround, in voxels.

    Where only that part's share is known, it is taken for an ellipsoid that takes alike from every axis.
    """
    if cropped := fact.get("cropped_shape_vox"):
        return [float(side) for side in cropped]
    dims = len(fact["shape_vox"])
    box = min(1.0, max(0.0, float(fact["nonzero_share"])) / _ELLIPSOID[dims])
    return [max(1.0, side * box ** (1 / dims)) for side in fact["shape_vox"]]


def _names(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for fact in facts for name in fact["structure_voxels"]))


def _structure(facts: Sequence[Mapping[str, Any]], name: str) -> StructureFacts:
    having = [fact for fact in facts if fact["structure_voxels"].get(name, 0) > 0]
    voxels = [int(fact["structure_voxels"][name]) for fact in having]
    ml = [float(fact["structure_ml"][name]) for fact in having if fact["structure_ml"].get(name) is not None]
    ml = [value for value in ml if isfinite(value)]
    parts = [int(fact["components"].get(name, 1)) for fact in having]
    return StructureFacts(
        name=name,
        cases=len(having),
        share=round(sum(voxels) / sum(prod(int(side) for side in fact["shape_vox"]) for fact in facts), 9),
        median_voxels=float(np.median(voxels)) if voxels else 0.0,
        median_ml=round(float(np.median(ml)), 6) if ml else None,
        median_components=float(np.median(parts)) if parts else 0.0,
        most_components=max(parts, default=0),
    )


def _pooled(facts: Sequence[Mapping[str, Any]], channel: int) -> dict[str, float]:
    """Cases weigh as their structures have voxels; without any they do not count. {} where none counts."""
    rows, weights = [], []
    for fact in facts:
        found, weight = fact["intensity"][channel] or {}, sum(fact["structure_voxels"].values())
        row = [found.get(name) for name in _INTENSITY]
        if weight > 0 and all(number is not None and isfinite(number) for number in row):
            rows.append([float(number) for number in row if number is not None])
            weights.append(float(weight))
    if not rows:
        return {}
    mean, std, low, high, smallest, largest = np.array(rows).T
    share = np.array(weights) / sum(weights)
    centre = float(share @ mean)
    spread = float(np.sqrt(share @ (std**2 + (mean - centre) ** 2)))  # within and between the cases
    values = (centre, spread, np.median(low), np.median(high), smallest.min(), largest.max())
    return {name: float(f"{float(value):.7g}") for name, value in zip(_INTENSITY, values, strict=True)}
