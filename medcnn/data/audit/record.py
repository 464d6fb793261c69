"""What is measured of one case: plain numbers and words, so that it can be kept as a line of JSON."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from medcnn.data.audit.appearance import SIGNATURE_PX, Signature

#: Percentiles whose values stand in Record.quantiles, in this order.
PERCENTILES = (0.5, 25.0, 50.0, 75.0, 99.5)


@dataclass(frozen=True)
class MaskRecord:
    """One mask of a case.

    voxels       label -> voxels, the background 0 included; {} where the mask cannot be read
    ml           label -> millilitres; {} where the grid has no spacing in three dimensions
    problem      a reason code (LABEL_VALUES, GEOMETRY_MISMATCH, ...), or ""; found and remedy say it in words
    distance_mm  how far the corners of mask and image lie apart, where both say where they are; -1 unknown
    """

    voxels: dict[str, int] = field(default_factory=dict)
    ml: dict[str, float] = field(default_factory=dict)
    problem: str = ""
    found: str = ""
    remedy: str = ""
    distance_mm: float = -1.0

    @property
    def is_empty(self) -> bool:
        return bool(self.voxels) and set(self.voxels) == {"0"}


@dataclass(frozen=True)
class BoxRecord:
    """The boxes of a case. sides: (class, edges along each axis in pixels) of each; outside: how many leave it."""

    sides: tuple[tuple[str, tuple[float, ...]], ...] = ()
    outside: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Record:
    """One case as it was read.

    shape        (C, H, W) or (C, I, J, K)
    spacing_mm   along the spatial axes; () where the file does not say
    value_range  what the format can hold; () where it does not say
    quantiles    of the values, at PERCENTILES
    nonzero      share of the values that are not 0
    pixels       medcnn.data.pixels.pixel_digest
    orientation  RAS, LPI, ...: where a volume's axes grow to; "" without a place in the patient
    facts        what the reader noted (photometric, view_position, ...), without UIDs
    signature    base64 of (planes, 64, 64) uint8; thumbnail: base64 of a JPEG
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    spacing_source: str
    modality: str
    body_part: str
    value_range: tuple[float, ...]
    quantiles: tuple[float, ...]
    least: float
    greatest: float
    mean: float
    std: float
    nonzero: float
    pixels: str
    orientation: str
    facts: dict[str, str]
    signature: str
    thumbnail: str
    masks: dict[str, MaskRecord] = field(default_factory=dict)
    boxes: BoxRecord = field(default_factory=BoxRecord)

    @property
    def is_constant(self) -> bool:
        return self.least == self.greatest

    @property
    def sides_px(self) -> tuple[int, ...]:
        """Along the spatial axes."""
        return self.shape[1:]

    def signature_planes(self) -> Signature:
        """(planes, 64, 64)."""
        flat = np.frombuffer(base64.b64decode(self.signature), np.uint8)
        return flat.reshape(-1, SIGNATURE_PX, SIGNATURE_PX)

    def as_json(self, *, pictures: bool = True) -> dict[str, Any]:
        """Everything, or what is no picture."""
        found = asdict(self)
        return found if pictures else {k: v for k, v in found.items() if k not in ("signature", "thumbnail")}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError where it is no record."""
        places = {k: tuple(found[k]) for k in ("shape", "spacing_mm", "value_range", "quantiles")}
        masks = {name: MaskRecord(**mask) for name, mask in found["masks"].items()}
        sides = tuple((name, tuple(edges)) for name, edges in found["boxes"]["sides"])
        return cls(**{**found, **places, "masks": masks, "boxes": BoxRecord(**{**found["boxes"], "sides": sides})})
