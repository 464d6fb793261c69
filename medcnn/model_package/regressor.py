"""A trained regression in its folder: model.json and safetensors. It predicts by itself, without any config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from medcnn.data.cache import Facts
from medcnn.data.prepared import prepared_entry
from medcnn.evaluation.value_range import RangeRule
from medcnn.inference.prediction import Prediction
from medcnn.inference.regressor import Regressor, ValueRule
from medcnn.model_package.classifier import NOT_A_NUMBER
from medcnn.model_package.description import Description
from medcnn.scan import Scan
from medcnn.transforms.preprocessing import Preprocessing

Image = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class RegressorDescription(Description):
    """Of a regression.

    network     with in_channels, size_px and num_outputs (1)
    fitted_on   the split that the ranges were fitted on
    """

    kind: ClassVar[str] = "regression"
    format_version: ClassVar[int] = 1

    rule: ValueRule
    fitted_on: str
    preprocessing: Preprocessing
    shifts: int = 0

    def body(self) -> dict[str, Any]:
        """Output rule, preprocessing, how it is asked."""
        rule = self.rule
        return {
            "output": {
                "quantity": rule.name,
                "unit": rule.unit,
                "training_mean": rule.mean,
                "training_sd": rule.sd,
                "training_low": rule.low,
                "training_high": rule.high,
                "range": None if rule.range is None else rule.range.as_json(),
                "fitted_on": self.fitted_on,
            },
            "preprocessing": self.preprocessing.as_json(),
            "inference": {"shifts": self.shifts},
        }

    @classmethod
    def parts(cls, found: dict[str, Any]) -> dict[str, Any]:
        """Back from model.json."""
        output = found["output"]
        mean, sd, low, high = (float(output[f"training_{key}"]) for key in ("mean", "sd", "low", "high"))
        held = None if output["range"] is None else RangeRule.from_json(output["range"])
        return {
            "rule": ValueRule(output["quantity"], output["unit"], mean, sd, low, high, held),
            "class_codes": {},
            "fitted_on": output["fitted_on"],
            "preprocessing": Preprocessing.from_json(found["preprocessing"]),
            "shifts": int(found["inference"]["shifts"]),
        }


@dataclass(frozen=True, eq=False)
class RegressorPackage:
    """A description and its networks, ready to answer."""

    description: RegressorDescription
    regressor: Regressor
    digest: str

    def predict_scan(self, scan: Scan) -> Prediction:
        """One scan, by itself. Raises DataError where it is a picture and the model takes volumes, or the like."""
        entry = prepared_entry(scan, self.description.preprocessing)
        return self.predict_images(entry.image[None], [entry.facts])[0]

    def predict_images(self, images: Image, facts: Sequence[Facts]) -> list[Prediction]:
        """Prepared scans (n, C, *size) and what their files say of themselves; no answer depends on its neighbours."""
        values = self.regressor.values(images)
        return [self._prediction(*one) for one in zip(values.tolist(), images, facts, strict=True)]

    def _prediction(self, value: float, image: Image, facts: Facts) -> Prediction:
        """The answer as it is given out: withheld where the scan is of another kind than the model knows."""
        expects, rule = self.description.expects, self.regressor.rule
        reasons = list(expects.misfits(facts.modality, facts.body_part))
        if not np.isfinite(value):
            reasons.append(NOT_A_NUMBER)
        flags = (*reasons, *expects.oddities(facts.low, facts.high, image))
        if reasons:
            return Prediction({}, "", 0.0, flags, "; ".join(reasons))
        half = None if rule.range is None else rule.range.half_width
        return Prediction(
            {}, "", 0.0, (*flags, *_far_out(value, rule)), "", value=value,
            low=None if half is None else value - half, high=None if half is None else value + half,
        )  # fmt: skip


def _far_out(value: float, rule: ValueRule) -> list[str]:
    """A flag on a value beyond all that was trained on."""
    if rule.low <= value <= rule.high:
        return []
    return [
        f"VALUE_RANGE: {rule.in_words(value)} lies beyond the training cases, which had {rule.in_words(rule.low)} to "
        f"{rule.in_words(rule.high)}"
    ]
