"""How several images of a patient are answered together: a rule, and thresholds that were fitted on patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from medcnn.evaluation.aggregate import Rule
from medcnn.inference.classifier import OutputRule


@dataclass(frozen=True)
class PatientRule:
    """Part of a package that was trained with decisions.aggregate.

    aggregate   mean, max or noisy_or, of the images' calibrated probabilities
    thresholds  class -> least probability of a patient at which it is decided for; {} for classes that exclude each
                other
    """

    aggregate: Rule
    thresholds: dict[str, float]

    def read_by(self, images: OutputRule) -> OutputRule:
        """The images' rule, deciding about patients."""
        return replace(images, thresholds=self.thresholds, operating_points=(), conformal=None)

    def as_json(self) -> dict[str, Any]:
        """As model.json has it."""
        return {"aggregate": self.aggregate, "thresholds": self.thresholds}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> PatientRule:
        """Back from model.json."""
        return cls(found["aggregate"], {str(name): float(cut) for name, cut in found["thresholds"].items()})
