"""The config of predict."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from medcnn.config.decisions import prevalence_problems
from medcnn.config.explain import USUAL, WAYS
from medcnn.config.fields import MISSING, choice, number
from medcnn.config.reading import split_by_problems
from medcnn.config.verbs import InferenceConf, PrivacyConf

_SHARD = re.compile(r"([1-9]\d*)/([1-9]\d*)")


@dataclass
class SelectConf:
    """Which scans of a folder are asked about; what is left out stands in skipped.csv."""

    modality: list[str] = field(default_factory=list)  # DICOM's codes, as [MR, CT]; empty takes all
    body_part: list[str] = field(default_factory=list)  # DICOM's BodyPartExamined, as [BRAIN]
    series: str = ""  # a regular expression, looked for in the series' description, upper or lower case
    min_slices: int = number(0, at_least=0)  # of volumes
    manifest: str = ""  # a manifest (.csv): only the scans in it

    def problems(self) -> Iterator[str]:
        try:
            re.compile(self.series)
        except re.error as error:
            yield f"series: {self.series!r} is no regular expression ({error}). To find t1 or t2 write series='t1|t2'"


@dataclass
class PredictConf:
    """python -m medcnn.predict."""

    package: str = MISSING  # a model package, a run folder, or models:/<name>@<alias>; typed as model=
    input: str = MISSING  # a folder of scans, or one scan
    output: str = MISSING
    select: SelectConf = field(default_factory=SelectConf)
    inference: InferenceConf = field(default_factory=InferenceConf)
    privacy: PrivacyConf = field(default_factory=PrivacyConf)
    split_by: list[str] = field(default_factory=list)  # of a series with several volumes: echo, time ...
    dry_run: bool = False  # list what would be done, with time and memory, and do nothing

    # How a classifier's answers are read at this place
    prevalence: dict[str, float] = field(default_factory=dict)  # class -> its share among the place's cases
    follow: str = choice("same_decisions", "same_decisions", "same_thresholds")  # what prevalence leaves as it is
    abstain: bool = False  # no decision where the prediction set has not exactly one class

    # What is written
    # a picture per case: how it was found out where a classifier looked; of a segmenter the contours
    explain: str = choice(USUAL, *WAYS, "none")
    probabilities: bool = False  # of segmenters: a map for each structure too
    saliency: bool = False  # of classifiers: the heat map on the scan's grid too
    views: bool = True  # volumes that the page can scroll
    dicom_seg: str = choice("binary", "binary", "labelmap", "none")  # of segmenters, for a DICOM series
    dicom_sr: bool = True  # a structured report, for DICOM
    dicom_sc: bool = True  # the picture as a secondary capture, for DICOM

    # Who does it
    engine: str = choice("local", "local", "here")  # processes of their own, or this very process (for debugging)
    workers: int = number(1, at_least=1)  # processes; each holds the model
    timeout_s: float = number(1800.0, above=0)  # a worker that answers nothing for so long is killed
    memory_mb: int = number(0, at_least=0)  # that a worker may take; 0 is what the machine has
    shard: str = ""  # 3/16: every sixteenth case, for job arrays on one output folder
    modules: list[str] = field(default_factory=list)  # that a package of your own network may be imported from

    def problems(self) -> Iterator[str]:
        yield from split_by_problems(self.split_by)
        yield from prevalence_problems(self.prevalence)
        if self.shard and not self._is_shard():
            yield f"shard: {self.shard!r} is none. Write shard=3/16 for the third of sixteen"

    def _is_shard(self) -> bool:
        found = _SHARD.fullmatch(self.shard)
        return found is not None and int(found[1]) <= int(found[2])
