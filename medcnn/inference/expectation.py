"""What kind of scan a model knows, learnt from its training scans; what else comes in is flagged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medcnn.inference.terms import term

Image = npt.NDArray[np.float32]

# So far outside the training scans' range a scan may lie, in spans of that range, before it is flagged.
_MARGIN = 0.5


@dataclass(frozen=True)
class Expectation:
    """Modalities and body parts seen in training (empty: nothing was said, nothing is checked) and intensity ranges.

    low, high    ranges over training scans of the 1st and 99th percentile of the true values
    mean, spread ranges of mean and standard deviation after preprocessing: an inverted or an empty picture stands out
    """

    modality: tuple[str, ...]
    body_part: tuple[str, ...]
    spatial_dims: int
    low: tuple[float, float]
    high: tuple[float, float]
    mean: tuple[float, float]
    spread: tuple[float, float]

    @classmethod
    def of(
        cls,
        *,
        modality: Sequence[str],
        body_part: Sequence[str],
        low: Sequence[float],
        high: Sequence[float],
        images: Image,
    ) -> Expectation:
        """From the training scans: facts of each, and prepared images (n, C, *size)."""
        axes = tuple(range(1, images.ndim))
        return cls.of_moments(
            modality=modality,
            body_part=body_part,
            spatial_dims=images.ndim - 2,
            low=low,
            high=high,
            mean=images.mean(axis=axes).tolist(),
            spread=images.std(axis=axes).tolist(),
        )

    @classmethod
    def of_moments(
        cls,
        *,
        modality: Sequence[str],
        body_part: Sequence[str],
        spatial_dims: int,
        low: Sequence[float],
        high: Sequence[float],
        mean: Sequence[float],
        spread: Sequence[float],
    ) -> Expectation:
        """From the training scans: facts of each, and mean and standard deviation of each after preparation."""
        return cls(
            tuple(sorted({word for word in modality if word})) if all(modality) else (),
            tuple(sorted({word for word in body_part if word})) if all(body_part) else (),
            spatial_dims,
            _range(low),
            _range(high),
            _range(mean),
            _range(spread),
        )

    def as_json(self) -> dict[str, Any]:
        """For model.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Expectation:
        """From model.json."""
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in found.items()
        }
        return cls(**plain)

    def misfits(self, modality: str, body_part: str) -> Iterator[str]:
        """Reasons to withhold a decision: the scan says of itself that it is something else."""
        for name, word, known in (("MODALITY", modality, self.modality), ("BODY_PART", body_part, self.body_part)):
            if word and known and word not in known:
                yield f"{name}: this scan says {term(word)}, the model knows {', '.join(known)}"

    def oddities(self, low: float, high: float, image: Image) -> Iterator[str]:
        """Reasons to look: intensities unlike any training scan's. image (C, *size), prepared."""
        inside = _near(low, self.low, self.low, self.high) and _near(high, self.high, self.low, self.high)
        if not inside:
            yield (
                f"INTENSITY_RANGE: values from {low:g} to {high:g}; training scans began between {self.low[0]:g} and "
                f"{self.low[1]:g} and ended between {self.high[0]:g} and {self.high[1]:g}"
            )
        mean, spread = float(image.mean()), float(image.std())
        if not (_within(mean, self.mean) and _within(spread, self.spread)):
            yield (
                f"INTENSITY_SHAPE: mean {mean:.2f} and spread {spread:.2f} after scaling; training scans had "
                f"{self.mean[0]:.2f} to {self.mean[1]:.2f} and {self.spread[0]:.2f} to {self.spread[1]:.2f}"
            )


def _range(values: Sequence[float]) -> tuple[float, float]:
    return (float(min(values)), float(max(values)))


def _within(value: float, known: tuple[float, float]) -> bool:
    margin = _MARGIN * max(known[1] - known[0], 0.1)
    return known[0] - margin <= value <= known[1] + margin


def _near(value: float, known: tuple[float, float], low: tuple[float, float], high: tuple[float, float]) -> bool:
    """Within the range seen, or beyond by half the widest scan's span at most."""
    margin = _MARGIN * max(high[1] - low[0], 1e-6)
    return known[0] - margin <= value <= known[1] + margin
