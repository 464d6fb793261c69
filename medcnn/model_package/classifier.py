"""A trained classifier in its folder: model.json and safetensors. It predicts by itself, without any config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from medcnn.data.cache import Facts
from medcnn.data.covariates import Covariates, Vectors
from medcnn.data.prepared import prepared_entry
from medcnn.evaluation.conformal import ConformalRule
from medcnn.evaluation.operating_point import OperatingPoint
from medcnn.evaluation.vector_scaling import VectorScaling
from medcnn.inference.answer_sets import AnswerSet
from medcnn.inference.classifier import Classifier, OutputRule, mean_of_members
from medcnn.inference.patient_rule import PatientRule
from medcnn.inference.prediction import Prediction
from medcnn.inference.quality_flags import member_flags
from medcnn.inference.site import stated_site
from medcnn.model_package.description import Description
from medcnn.scan import Scan
from medcnn.transforms.preprocessing import Preprocessing

Image = npt.NDArray[np.float32]

NOT_A_NUMBER = "NOT_A_NUMBER: the network's answer is not a finite number"


@dataclass(frozen=True, kw_only=True)
class ClassifierDescription(Description):
    """Of a classifier.

    network       with in_channels, size_px and num_outputs, and num_covariates where there are any
    explained     way to explain -> what was found out about its heat maps, in words, when the model was packed
    covariates    what it takes beside the image, as data/covariates.py reads it
    patients      how a patient's images are answered together; None: the model answers for images
    fitted_on     the split that calibration, thresholds and prediction sets were fitted on
    """

    kind: ClassVar[str] = "classification"
    # 1 has no vector, conformal, prevalence and operating points; 2 has no covariates and no grades
    format_version: ClassVar[int] = 3

    rule: OutputRule
    fitted_on: str
    preprocessing: Preprocessing
    shifts: int = 0
    covariates: Covariates | None = None
    explained: dict[str, str] = field(default_factory=dict)
    patients: PatientRule | None = None

    def body(self) -> dict[str, Any]:
        """Output rule, preprocessing, how it is asked."""
        return {
            "output": {
                "kind": self.rule.kind,
                "class_names": list(self.rule.class_names),
                "class_codes_snomed_ct": self.class_codes,
                "temperature": self.rule.temperature,
                "thresholds": self.rule.thresholds,
                **_more_json(self.rule),
                "fitted_on": self.fitted_on,
            },
            "preprocessing": self.preprocessing.as_json(),
            "inference": {"shifts": self.shifts},
            "covariates": self.covariates.as_json() if self.covariates else None,
            "heat_maps": self.explained,
            "patients": self.patients.as_json() if self.patients else None,
        }

    @classmethod
    def parts(cls, found: dict[str, Any]) -> dict[str, Any]:
        """Back from model.json."""
        output = found["output"]
        return {
            "rule": _rule(output),
            "class_codes": output["class_codes_snomed_ct"],
            "fitted_on": output["fitted_on"],
            "preprocessing": Preprocessing.from_json(found["preprocessing"]),
            "shifts": int(found["inference"]["shifts"]),
            "covariates": Covariates.from_json(given) if (given := found.get("covariates")) else None,
            "explained": dict(found.get("heat_maps", {})),
            "patients": PatientRule.from_json(together) if (together := found.get("patients")) else None,
        }


@dataclass(frozen=True, eq=False)
class ClassifierPackage:
    """A description and its networks, ready to answer."""

    description: ClassifierDescription
    classifier: Classifier
    digest: str

    def at_site(self, prevalence: Mapping[str, float], follow: str, *, abstain: bool = False) -> ClassifierPackage:
        """The same model, its answers read with what a user states of the place (medcnn/inference/site.py).

        Raises ConfigError and PackageError.
        """
        rule = self.classifier.rule
        site = stated_site(rule, prevalence, follow, abstain=abstain)
        return replace(self, classifier=self.classifier.with_rule(replace(rule, site=site)))

    def inputs(self, given: Mapping[str, str]) -> Vectors | None:
        """(V,) of one case by its covariates' names; None for a model that takes the image alone.

        Raises ScanRejected where one is missing or cannot be used.
        """
        spec = self.description.covariates
        return None if spec is None else spec.vector(given)

    def predict_scan(self, scan: Scan, covariates: Mapping[str, str] = MappingProxyType({})) -> Prediction:
        """One scan, by itself. Raises DataError where it is a picture and the model takes volumes, or the like, and
        ScanRejected where a covariate is missing.
        """
        beside = self.inputs(covariates)
        entry = prepared_entry(scan, self.description.preprocessing)
        return self.predict_images(entry.image[None], [entry.facts], None if beside is None else beside[None])[0]

    def predict_image(self, image: Image, *, modality: str, body_part: str, low: float, high: float) -> Prediction:
        """One prepared scan (C, *size) and what its file says of itself."""
        facts = Facts(pixels="", constant=False, low=low, high=high, modality=modality, body_part=body_part)
        return self.predict_images(image[None], [facts])[0]

    def predict_images(
        self, images: Image, facts: Sequence[Facts], covariates: Vectors | None = None
    ) -> list[Prediction]:
        """Prepared scans (n, C, *size) and what their files say of themselves; no answer depends on its neighbours.

        An answer that is not a number has neither decision nor confidence, and says so.
        covariates  (n, V), of a model that takes them
        """
        if (covariates is None) != (self.description.covariates is None):
            raise ValueError("covariates are for the models that take them, and those need them")
        rule = self.classifier.rule
        members = self.classifier.member_logits(images, covariates)
        logits = mean_of_members(members)
        probability = rule.probability(logits)
        sound = np.asarray(np.isfinite(probability).all(axis=1) & np.isfinite(logits).all(axis=1))
        readable = np.where(sound[:, None], probability, 0.0)
        sets: Sequence[AnswerSet | None] = rule.sets(np.where(sound[:, None], logits, 0.0)) or [None] * len(images)
        answers = zip(probability, rule.decisions(readable), rule.confidence(readable), sets, sound, strict=True)
        found = [
            self._prediction(answer, decision, confidence, held, image, known, is_number=bool(fine))
            for (answer, decision, confidence, held, fine), image, known in zip(answers, images, facts, strict=True)
        ]
        found = [self._disputed(*one) for one in zip(found, members.swapaxes(0, 1), strict=True)]
        return found if covariates is None else [self._doubted(*one) for one in zip(found, covariates, strict=True)]

    def _disputed(self, found: Prediction, members: npt.NDArray[np.float64]) -> Prediction:
        """With what must be said of networks that decide otherwise than the others, members (networks, K)."""
        rule = self.classifier.rule
        if not found.decision or not np.isfinite(members).all():
            return found
        return replace(found, flags=(*found.flags, *member_flags(rule.probability(members), rule)))

    def _doubted(self, found: Prediction, covariates: Vectors) -> Prediction:
        """With what must be said of the case's covariates."""
        spec = self.description.covariates
        return replace(found, flags=(*found.flags, *(spec.oddities(covariates) if spec else ())))

    def _prediction(
        self,
        probability: npt.NDArray[np.float64],
        decision: str,
        confidence: float,
        held: AnswerSet | None,
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
        held = None if reasons else held  # nothing is promised of a scan of another kind
        unclear = held.flags if held else ()
        withheld = [*reasons, *(unclear if self.classifier.rule.site.abstain else ())]
        return Prediction(
            dict(zip(names, (float(p) for p in probability), strict=True)),
            "" if withheld else decision,
            0.0 if withheld else confidence,
            (*reasons, *unclear, *expects.oddities(facts.low, facts.high, image)),
            "; ".join(withheld),
            held.names if held else None,
        )


def _more_json(rule: OutputRule) -> dict[str, Any]:
    """What format 2 says beyond format 1; a share that is not known is null."""
    return {
        "vector": rule.vector.as_json() if rule.vector else None,
        "conformal": rule.conformal.as_json() if rule.conformal else None,
        "prevalence": [share if np.isfinite(share) else None for share in rule.prevalence],
        "operating_points": [point.as_json() for point in rule.operating_points],
    }


def _rule(output: dict[str, Any]) -> OutputRule:
    """As model.json has it; of format 1 nothing but temperature and thresholds."""
    vector, conformal = output.get("vector"), output.get("conformal")
    shares = output.get("prevalence", [])
    return OutputRule(
        output["kind"],
        tuple(output["class_names"]),
        float(output["temperature"]),
        dict(output["thresholds"]),
        vector=VectorScaling.from_json(vector) if vector else None,
        conformal=ConformalRule.from_json(conformal) if conformal else None,
        prevalence=tuple(np.nan if share is None else float(share) for share in shares),
        operating_points=tuple(OperatingPoint.from_json(point) for point in output.get("operating_points", [])),
    )
