"""What a classified case leaves behind: pictures, maps, objects; each file whole or not there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from medcnn.batch.answers import Shown, WholeScanPackage, overlay
from medcnn.batch.case_view import case_view_js
from medcnn.batch.dicom_results import DicomResults, Objects
from medcnn.batch.ledger import Row
from medcnn.batch.outcome import Asked, without_answer
from medcnn.batch.page import Rgb
from medcnn.batch.peak import peak_mb
from medcnn.batch.reading import failure
from medcnn.batch.results import OVERLAYS, THUMBNAILS, VIEWS, Results
from medcnn.batch.saliency import write_saliency
from medcnn.batch.thumbnail import thumbnail
from medcnn.batch.view import Heat
from medcnn.config.explain import USUAL
from medcnn.config.predict import PredictConf
from medcnn.explain.build import build_explainer
from medcnn.inference.prediction import Prediction
from medcnn.inference.quality_flags import decision_flags
from medcnn.model_package.classifier import ClassifierPackage
from medcnn.model_package.regressor import RegressorPackage


@dataclass(frozen=True)
class Wanted:
    """What is written besides the tables."""

    overlays: bool = True
    views: bool = True
    saliency: bool = False
    objects: Objects = field(default_factory=Objects)
    explainer: str = "gradcam"

    @classmethod
    def of(cls, conf: PredictConf) -> Wanted:
        """As the config says."""
        objects = Objects("none", conf.dicom_sr, conf.dicom_sc)
        explainer = USUAL if conf.explain == "none" else conf.explain
        return cls(conf.explain != "none", conf.views, conf.saliency, objects, explainer)


class AnswerFiles:
    """Writes them."""

    def __init__(self, package: WholeScanPackage, root: Path, results: Results, wanted: Wanted) -> None:
        self.package, self.root, self.results, self.wanted = package, root, results, wanted
        self.explainer = build_explainer(wanted.explainer)
        self._dicom = DicomResults.of(package, results, wanted.objects)

    @property
    def needs_heat(self) -> bool:
        """Whether it matters where the networks looked."""
        return self.wanted.overlays or self.wanted.saliency

    def row(self, begun: Row, asked: Asked, shown: Shown, said: Prediction, heat: Heat | None, seconds: float) -> Row:
        """What goes into the ledger, its files in place. Raises OSError where the disk refuses; whatever else goes
        wrong is the case's own.
        """
        began, written = time.perf_counter(), list[str]()
        if said.decision and isinstance(self.package, ClassifierPackage):
            said = replace(said, flags=(*said.flags, *decision_flags(said.probability, self.package.classifier.rule)))
        try:
            why_not = self._write(written, asked, shown, said, heat)
        except OSError:  # the results cannot be written: the run's fault, not the case's
            raise
        except Exception as error:  # nobody would look twice for a picture that is missing
            self.results.drop(written)
            rejection = failure(error)
            return without_answer(begun, replace(rejection, found=f"{rejection.found}, while its files were made"))
        parts = {"read": begun.seconds, "compute": seconds, "write": time.perf_counter() - began}
        return replace(
            begun,
            probability=said.probability,
            decision=said.decision,
            confidence=said.confidence if said.decision else None,
            conformal_set=said.conformal_set,
            value=said.value,
            low=said.low,
            high=said.high,
            unit=self.package.regressor.rule.unit if isinstance(self.package, RegressorPackage) else "",
            flags=(*said.flags, *((why_not,) if why_not else ())),
            reason=said.reason,
            files=self.results.digests(written),
            seconds=round(sum(parts.values()), 3),
            seconds_of={part: round(took, 3) for part, took in parts.items()},
            peak_mb=peak_mb(),
        )

    def _write(self, written: list[str], asked: Asked, shown: Shown, said: Prediction, heat: Heat | None) -> str:
        """Everything that is wanted of one case, noted as it comes; why an object is missing."""
        picture = self._draw(written, asked, shown, said, heat)
        if self.wanted.saliency and heat is not None:
            steps = self.package.description.preprocessing
            written.append(write_saliency(self.results, asked.name, heat, shown.grid, steps))
        files, why_not = self._dicom.of_answer(self.root, asked.case.reference, asked.name, said, picture)
        written.extend(files)
        return why_not

    def _draw(
        self, written: list[str], asked: Asked, shown: Shown, said: Prediction, heat: Heat | None
    ) -> Callable[[], Rgb] | None:
        """The picture under its heat map, a small one, and what the page scrolls; how to draw it for the study, where a
        name that only this run's key makes has no place.
        """
        view, case_id = shown.view, asked.case.case_id
        if view is None or heat is None or not self.wanted.overlays:
            return None
        page = overlay(self.package, self.explainer, case_id, view, said, heat)
        self._put(written, f"{OVERLAYS}/{case_id}.png", page.png())
        self._put(written, f"{THUMBNAILS}/{case_id}.webp", thumbnail(view, heat=heat))
        if self.wanted.views and view.grey.ndim == 3:
            self._put(written, f"{VIEWS}/{case_id}.js", case_view_js(view, None, (), heat))
        return lambda: overlay(self.package, self.explainer, "", view, said, heat).rgb()

    def _put(self, written: list[str], name: str, content: bytes) -> None:
        written.append(name)
        self.results.write(name, content)
