"""The deterministic steps: from a Scan to what a network sees. The same code in training, evaluation and prediction.

Imports monai only when a scan is not on the network's grid already.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medcnn.config.transforms import TransformsConf
from medcnn.errors import DataError
from medcnn.io.options import Reading
from medcnn.scan import Scan

Image = npt.NDArray[np.float32]

STEPS_VERSION = 2  # raised whenever a step computes something else, so that no cache entry or package is misread
_CLIP = 1.5  # values beyond the percentiles may go so far: bright metal should not flatten, nor vanish


@dataclass(frozen=True)
class Preprocessing:
    """Every deterministic step with its numbers, as it travels in the model package."""

    size_px: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    keep_aspect: bool
    scale: str
    low_percentile: float
    high_percentile: float
    reading: Reading
    num_channels: int
    version: int = STEPS_VERSION

    @classmethod
    def of(cls, conf: TransformsConf, *, reading: Reading, num_channels: int) -> Preprocessing:
        """The steps that a config asks for."""
        return cls(
            tuple(conf.size_px),
            tuple(conf.spacing_mm),
            conf.keep_aspect,
            conf.intensity.scale,
            conf.intensity.low_percentile,
            conf.intensity.high_percentile,
            reading,
            num_channels,
        )

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Preprocessing:
        """From model.json."""
        places = {name: tuple(found[name]) for name in ("size_px", "spacing_mm")}
        return cls(**{**found, **places, "reading": Reading(**found["reading"])})

    def as_json(self) -> dict[str, Any]:
        """For model.json, and for the cache's key."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]  # json gives back what went in

    def apply(self, scan: Scan) -> Image:
        """(C, *size_px) float32: on the grid, then intensities, each scan by itself.

        Raises DataError where the scan is a picture and the network wants a volume, or the other way round.
        """
        if scan.spatial_dims != len(self.size_px):
            kinds = {2: "a picture", 3: "a volume"}
            raise DataError(
                f"this scan is {kinds.get(scan.spatial_dims, 'of unknown shape')} and the network takes "
                f"{kinds[len(self.size_px)]}. Give transforms.size_px {scan.spatial_dims} numbers, or other scans"
            )
        image = with_channels(scan.voxels, self.num_channels)
        image, scan_range = self._on_grid(image, scan), scan.value_range
        scaled = np.stack([self._scaled(channel, scan_range) for channel in image])
        return _padded(scaled, self.size_px)

    def _on_grid(self, image: Image, scan: Scan) -> Image:
        square = not self.keep_aspect or len(set(scan.spacing_mm or ())) < 2
        if image.shape[1:] == self.size_px and square and not self.spacing_mm and scan.geometry is None:
            return image
        from medcnn.transforms.regrid import on_grid

        return on_grid(image, scan, self.size_px, self.spacing_mm, keep_aspect=self.keep_aspect)

    def _scaled(self, channel: Image, value_range: tuple[float, float] | None) -> Image:
        if channel.min() == channel.max():
            return np.zeros_like(channel)  # a constant image says nothing
        if self.scale == "zscore":
            mean, spread = channel.mean(dtype=np.float64), channel.std(dtype=np.float64)
            return np.asarray((channel - mean) / max(float(spread), 1e-6), np.float32)
        if self.scale == "range":
            low, high = value_range or (float(channel.min()), float(channel.max()))
        else:
            low, high = np.percentile(channel, [self.low_percentile, self.high_percentile])
        if not high > low:
            return np.zeros_like(channel)  # nearly all voxels alike
        return np.asarray(np.clip((channel - low) * (2 / (high - low)) - 1, -_CLIP, _CLIP), np.float32)


def with_channels(voxels: Image, num_channels: int) -> Image:
    """Grey where one channel is wanted (ITU-R BT.601 luma), repeated where a colour network meets a grey scan."""
    if len(voxels) == num_channels:
        return voxels
    if num_channels == 1 and len(voxels) == 3:
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        return np.asarray(np.tensordot(weights, voxels, axes=1)[None], np.float32)
    if len(voxels) == 1:
        return np.repeat(voxels, num_channels, axis=0)
    raise DataError(f"this scan has {len(voxels)} channels and the network takes {num_channels}")


def _padded(image: Image, size_px: tuple[int, ...]) -> Image:
    """Centred on the full grid, the border as dark as the scan's darkest value."""
    margins = [wanted - there for wanted, there in zip(size_px, image.shape[1:], strict=True)]
    if not any(margins):
        return np.ascontiguousarray(image)
    pads = [(0, 0), *((margin // 2, margin - margin // 2) for margin in margins)]
    return np.pad(image, pads, constant_values=float(image.min()))
