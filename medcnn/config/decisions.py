"""How a classifier's probabilities become decisions, fitted once after training; what a user states of a place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from medcnn.config.fields import choice, number


@dataclass
class OperatingPointConf:
    """What the thresholds of yes-or-no questions are chosen for."""

    side: str = choice("balanced", "balanced", "sensitivity", "specificity")  # balanced: of greatest balanced accuracy
    wanted: float | None = number(None, above=0, at_most=1)  # share of the positives found, or of the negatives cleared

    def problems(self) -> Iterator[str]:
        if self.side == "balanced" and self.wanted is not None:
            yield "wanted: side=balanced takes none. Add side=sensitivity or side=specificity"
        if self.side != "balanced" and self.wanted is None:
            yield f"wanted: side={self.side} needs a share, for example wanted=0.95"


@dataclass
class SetsConf:
    """Prediction sets, fitted where calib has enough patients: they hold the true class but for a share of errors."""

    method: str = choice("lac", "lac", "aps", "none")  # lac: smallest sets; aps: by summed probability; none: no sets
    error: float = number(0.1, above=0, below=1)  # share of the truths that the sets may miss
    coverage: str = choice("marginal", "marginal", "per_class")  # promised over all cases, or for those of each class


@dataclass
class RangeConf:
    """Of regression: the range around a predicted number, fitted on calib: it holds the truth but for some errors."""

    error: float = number(0.1, above=0, below=1)  # share of the truths that the ranges may miss


@dataclass
class DecisionsConf:
    """Of classifiers: thresholds, calibration and prediction sets, fitted on calib after training."""

    operating_point: OperatingPointConf = field(default_factory=OperatingPointConf)
    calibration: str = choice("temperature", "temperature", "vector", "none")  # vector: a scale and offset per class
    sets: SetsConf = field(default_factory=SetsConf)
    aggregate: str = choice("none", "none", "mean", "max", "noisy_or")  # of a patient's images: decided together too
    range: RangeConf = field(default_factory=RangeConf)  # of regression


def prevalence_problems(prevalence: Mapping[str, float]) -> Iterator[str]:
    """Shares that cannot be; which classes there are, the package knows."""
    for name, share in prevalence.items():
        if not 0 < share < 1:
            yield f"prevalence.{name}: must be a share above 0 and below 1, got {share}"
