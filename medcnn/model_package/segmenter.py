"""A trained segmenter in its folder: model.json and safetensors. It outlines by itself, without any config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from medcnn.inference.mask_rule import MaskRule
from medcnn.inference.postprocessing import PostProcessing
from medcnn.inference.quality import QualityMap
from medcnn.inference.segmenter import Segmentation, Segmenter
from medcnn.inference.segmenter_settings import SegmenterSettings
from medcnn.model_package.description import Description
from medcnn.scan import Scan
from medcnn.transforms.whole_grid import OnGrid, WholeGrid


@dataclass(frozen=True, kw_only=True)
class SegmenterDescription(Description):
    """Of a segmenter.

    network         with in_channels, size_px (a patch) and num_outputs
    settings        how volumes are walked through
    postprocessing  what cross-validation kept; `fitted_on` says on what
    quality         how the expected Dice is read, where it was fitted
    """

    kind: ClassVar[str] = "segmentation"
    format_version: ClassVar[int] = 2

    rule: MaskRule
    preprocessing: WholeGrid
    settings: SegmenterSettings
    postprocessing: PostProcessing = field(default_factory=PostProcessing)
    quality: QualityMap | None = None
    fitted_on: str = ""

    def body(self) -> dict[str, Any]:
        """Output rule, preparation, how volumes are walked through, what is done to masks."""
        return {
            "output": {
                "structures": self.rule.as_json(),
                "codes_snomed_ct": self.class_codes,
                "postprocessing": self.postprocessing.as_json(),
                "quality": None if self.quality is None else self.quality.as_json(),
                "fitted_on": self.fitted_on,
            },
            "preprocessing": self.preprocessing.as_json(),
            "inference": self.settings.as_json(),
        }

    @classmethod
    def parts(cls, found: dict[str, Any]) -> dict[str, Any]:
        """Back from model.json."""
        output = found["output"]
        quality = output["quality"]
        return {
            "rule": MaskRule.from_json(output["structures"]),
            "class_codes": dict(output["codes_snomed_ct"]),
            "postprocessing": PostProcessing.from_json(output["postprocessing"]),
            "quality": None if quality is None else QualityMap.from_json(quality),
            "fitted_on": output["fitted_on"],
            "preprocessing": WholeGrid.from_json(found["preprocessing"]),
            "settings": SegmenterSettings.from_json(found["inference"]),
        }


@dataclass(frozen=True, eq=False)
class Outlined:
    """What is said about one scan.

    reason  why the masks should not be trusted as an answer: the scan is of another kind than the model knows; "" else
    flags   what a person should look at, each `WORD: in words`
    """

    segmentation: Segmentation
    flags: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, eq=False)
class SegmenterPackage:
    """A description and its networks, ready to outline."""

    description: SegmenterDescription
    segmenter: Segmenter
    digest: str

    def segment_scan(self, scan: Scan, keep: Mapping[str, npt.NDArray[Any]] | None = None) -> Outlined:
        """One scan, by itself; masks on its own grid. keep: as Segmenter.segment takes it.

        Raises DataError and ScanRejected where the scan is a picture and the model takes volumes, or the like.
        """
        low, high = (float(value) for value in np.percentile(scan.voxels, [1, 99]))
        on_grid = self.description.preprocessing.apply(scan)
        return self.segment(on_grid, modality=scan.modality, body_part=scan.body_part, low=low, high=high, keep=keep)

    def segment(
        self,
        on_grid: OnGrid,
        *,
        modality: str,
        body_part: str,
        low: float,
        high: float,
        keep: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> Outlined:
        """One prepared scan, and what its file says of itself."""
        expects = self.description.expects
        reasons = list(expects.misfits(modality, body_part))
        flags = [*reasons, *expects.oddities(low, high, on_grid.image)]
        return Outlined(self.segmenter.segment(on_grid, keep), tuple(flags), "; ".join(reasons))
