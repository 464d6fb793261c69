"""A trained classifier in its folder: model.json and safetensors. It predicts by itself, without any config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from medcnn.data.cache import Facts
from medcnn.data.prepared import prepared_entry
from medcnn.inference.classifier import Classifier, OutputRule
from medcnn.inference.prediction import Prediction
from medcnn.model_package.description import Description
from medcnn.scan import Scan
from medcnn.transforms.preprocessing import Preprocessing

Image = npt.NDArray[np.float32]

NOT_A_NUMBER = "NOT_A_NUMBER: the network's answer is not a finite number"


@dataclass(frozen=True, kw_only=True)
class ClassifierDescription(Description):
    """Of a classifier.

    network       with in_channels, size_px and num_outputs
    fitted_on     the split that temperature and thresholds were fitted on
    """

    kind: ClassVar[str] = "classification"
    format_version: ClassVar[int] = 1

    rule: OutputRule
    fitted_on: str
    preprocessing: Preprocessing
    shifts: int = 0

    def body(self) -> dict[str, Any]:
        """Output rule, preprocessing, how it is asked."""
        return {
            "output": {
                "kind": self.rule.kind,
                "class_names": list(self.rule.class_names),
                "class_codes_snomed_ct": self.class_codes,
                "temperature": self.rule.temperature,
                "thresholds": self.rule.thresholds,
                "fitted_on": self.fitted_on,
            },
            "preprocessing": self.preprocessing.as_json(),
            "inference": {"shifts": self.shifts},
        }

    @classmethod
    def parts(cls, found: dict[str, Any]) -> dict[str, Any]:
        """Back from model.json."""
        output = found["output"]
        names, temperature = tuple(output["class_names"]), float(output["temperature"])
        return {
            "rule": OutputRule(output["kind"], names, temperature, dict(output["thresholds"])),
            "class_codes": output["class_codes_snomed_ct"],
            "fitted_on": output["fitted_on"],
            "preprocessing": Preprocessing.from_json(found["preprocessing"]),
            "shifts": int(found["inference"]["shifts"]),
        }


@dataclass(frozen=True, eq=False)
class ClassifierPackage:
    """A description and its networks, ready to answer."""

    description: ClassifierDescription
    classifier: Classifier
    digest: str

    def predict_scan(self, scan: Scan) -> Prediction:
        """One scan, by itself. Raises DataError where it is a picture and the model takes volumes, or the like."""
        entry = prepared_entry(scan, self.description.preprocessing)
        return self.predict_images(entry.image[None], [entry.facts])[0]

    def predict_image(self, image: Image, *, modality: str, body_part: str, low: float, high: float) -> Prediction:
        """One prepared scan (C, *size) and what its file says of itself."""
        facts = Facts(pixels="", constant=False, low=low, high=high, modality=modality, body_part=body_part)
        return self.predict_images(image[None], [facts])[0]

    def predict_images(self, images: Image, facts: Sequence[Facts]) -> list[Prediction]:
        """Prepared scans (n, C, *size) and what their files say of themselves; no answer depends on its neighbours.

        An answer that is not a number has neither decision nor confidence, and says so.
        """
        rule = self.classifier.rule
        probability = rule.probability(self.classifier.logits(images))
        sound = np.asarray(np.isfinite(probability).all(axis=1))
        readable = np.where(sound[:, None], probability, 0.0)
        answers = zip(probability, rule.decisions(readable), rule.confidence(readable), sound, strict=True)
        return [
            self._prediction(answer, decision, confidence, image, known, is_number=bool(fine))
            for (answer, decision, confidence, fine), image, known in zip(answers, images, facts, strict=True)
        ]

    def _prediction(
        self,
        probability: npt.NDArray[np.float64],
        decision: str,
        confidence: float,
        image: Image,
        facts: Facts,
        *,
        is_number: bool,
    ) -> Prediction:
        """The answer as it is given out: withheld where the scan is of another kind than the model knows."""
        names, expects = self.classifier.rule.class_names, self.description.expects
        reasons = list(expects.misfits(facts.modality, facts.body_part))
        if not is_number:
            reasons.append(NOT_A_NUMBER)
        return Prediction(
            dict(zip(names, (float(p) for p in probability), strict=True)),
            "" if reasons else decision,
            0.0 if reasons else confidence,
            (*reasons, *expects.oddities(facts.low, facts.high, image)),
            "; ".join(reasons),
        )
