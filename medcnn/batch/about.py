"""What whoever leads a run must know of a model, without opening it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from medcnn.inference.expectation import Expectation
from medcnn.io.options import Reading

Kind = Literal["classification", "segmentation", "regression"]


@dataclass(frozen=True)
class About:
    """Sent as JSON by the process that opened the model.

    model, settings  digests: of the package, and of what else decides an answer
    names            classes, or structures, or the one quantity
    codes            class or structure -> SNOMED CT code
    spatial_dims     of the scans that it takes
    needs            what decides the cost of a case, as medcnn.batch.estimate.ModelNeeds has it
    explained        what was found out about a classifier's heat maps, or that nothing was
    covariates       what the model takes beside each image, as model.json has it
    unit, digits, range  of a regression: its unit, decimals that mean something, what its ranges promise in words
    coverage         the chance to hold the truth that they promise; None where they promise nothing
    patients         how scans of a patient are answered together: aggregate, kind, limits (thresholds, in order)
    seconds_per_tile  measured for a dry run only
    """

    kind: Kind
    model: str
    settings: str
    task: str
    intended_use: str
    names: tuple[str, ...]
    codes: dict[str, str]
    spatial_dims: int
    reading: Reading
    expects: Expectation
    members: int = 1
    explained: str = ""
    needs: dict[str, Any] = field(default_factory=dict)
    covariates: list[dict[str, Any]] | None = None
    patients: dict[str, Any] | None = None
    unit: str = ""
    digits: int = 0
    range: str = ""
    coverage: float | None = None
    seconds_per_tile: float | None = None

    @property
    def noun(self) -> str:
        """What the summary counts."""
        return {"segmentation": "masks", "regression": "values"}.get(self.kind, "decisions")

    def as_json(self) -> dict[str, Any]:
        """For another process."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**plain, "reading": asdict(self.reading), "expects": self.expects.as_json()}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> About:
        """As it was sent."""
        nouns = {
            "names": tuple(found["names"]),
            "reading": Reading(**found["reading"]),
            "expects": Expectation.from_json(found["expects"]),
        }
        return cls(**{**found, **nouns})
