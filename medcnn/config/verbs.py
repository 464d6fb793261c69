"""The whole config of each verb."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from medcnn.config.data import DataConf
from medcnn.config.decisions import DecisionsConf, prevalence_problems
from medcnn.config.fields import MISSING, choice, number, numbers
from medcnn.config.losses import LossConf
from medcnn.config.model import ModelConf, UNetConf
from medcnn.config.planning import PlanConf
from medcnn.config.reading import LAYOUTS, split_by_problems
from medcnn.config.trainer import TrainerConf
from medcnn.config.transforms import TransformsConf


@dataclass
class TaskConf:
    """What is learnt. The kind decides which file in medcnn/tasks serves it."""

    name: str = MISSING
    kind: str = choice("classification", "classification", "segmentation")
    intended_use: str = "Research on images like those it was trained on. Not for clinical decisions."


@dataclass
class TrackingConf:
    """The MLflow run. MLFLOW_TRACKING_URI in the environment wins over uri."""

    enabled: bool = True
    uri: str = ""  # "" is sqlite:///<cwd>/mlflow.db
    experiment: str = ""  # "" is <task>/<data set>
    run_name: str = ""  # "" is <model>-<data set>-<seed>
    wait_s: float = number(60.0, at_least=0)  # for what is still on its way at the end of a training
    register_as: str = ""  # a name in the model registry; "" does not register
    alias: str = ""  # for example champion


@dataclass
class PrivacyConf:
    """The key that turns patient ids into patient_key."""

    key_file: str = ""  # "" is .medcnn/key under the run root


@dataclass
class CacheConf:
    """Prepared scans, so that nothing is prepared twice. Patient data: mode 0700."""

    folder: str = ""  # "" is .medcnn/cache under the run root
    quota_gb: float = number(20.0, above=0)


@dataclass
class InferenceConf:
    """How a trained network is asked."""

    batch_cases: int = number(64, at_least=1)
    accelerator: str = choice("auto", "auto", "cpu", "gpu", "mps")
    shifts: int = number(0, at_least=0, at_most=6)  # answers averaged over so many copies moved by one pixel

    # Of segmenters; null is as the package says, or for a training what is usual
    overlap: float | None = number(None, at_least=0, below=1)  # of neighbouring tiles, in shares of a side
    mirror_axes: list[int] | None = None  # answers averaged over all mirrored copies; only where anatomy allows it
    mirror_swaps: list[list[str]] = field(default_factory=list)  # pairs of structures that are left and right
    batch_memory_mb: int = number(1024, at_least=64)  # for one forward pass
    uncertainty: str = choice("", "", "entropy", "disagreement")  # a map beside the mask


@dataclass
class TrainConf:
    """python -m medcnn.train."""

    task: TaskConf = field(default_factory=TaskConf)
    data: DataConf = field(default_factory=DataConf)
    transforms: TransformsConf = field(default_factory=TransformsConf)
    model: ModelConf = field(default_factory=ModelConf)
    loss: LossConf = field(default_factory=LossConf)  # of segmentation
    plan: PlanConf = field(default_factory=PlanConf)  # of segmentation
    trainer: TrainerConf = field(default_factory=TrainerConf)
    inference: InferenceConf = field(default_factory=InferenceConf)
    decisions: DecisionsConf = field(default_factory=DecisionsConf)  # of classifiers
    tracking: TrackingConf = field(default_factory=TrackingConf)
    privacy: PrivacyConf = field(default_factory=PrivacyConf)
    cache: CacheConf = field(default_factory=CacheConf)
    seed: int = number(0, at_least=0)
    nsd_tolerance_mm: float = number(1.0, above=0)  # of segmentation: surfaces this near agree
    output: str = "runs"
    resume: str = ""  # auto, or a run folder
    debug: str = choice("none", "none", "dry_run", "overfit")

    def problems(self) -> Iterator[str]:
        if self.debug != "none" and self.resume:
            yield f"resume: a debug={self.debug} run starts fresh; leave resume out"
        if self.trainer.mixup_alpha and self.debug == "overfit":
            yield "trainer.mixup_alpha: must be 0 with debug=overfit, which wants to see a loss of zero"
        yield from self._task_problems()

    def _task_problems(self) -> Iterator[str]:
        """What one kind of task can do and another cannot."""
        outlines, trainer = self.task.kind == "segmentation", self.trainer
        if outlines != isinstance(self.model, UNetConf) and self.model.name != "custom":
            wanted = "unet or unet_residual" if outlines else "a classifier, as plain_cnn or resnet18"
            yield f"model: {self.model.name} does not fit a task of {self.task.kind}; take {wanted}"
        if outlines != (trainer.metric == "dice"):
            wanted = "dice" if outlines else "auroc or another metric of classifiers"
            yield f"trainer.metric: a task of {self.task.kind} is chosen by {wanted}"
        if outlines:
            if self.decisions != DecisionsConf():
                yield "decisions: are for classifiers; a segmenter has none"
            if trainer.mixup_alpha or trainer.label_smoothing:
                yield "trainer: mixup_alpha and label_smoothing are for classifiers; see loss.label_smoothing"
        else:
            yield from self._classifier_problems()

    def _classifier_problems(self) -> Iterator[str]:
        transforms = self.transforms
        if not transforms.size_px:
            yield "transforms.size_px: a classifier needs the grid that it sees, for example [96,96]"
        if self.trainer.folds:
            yield "trainer.folds: cross-validation trains segmenters; classifiers have trainer.members"
        for name, is_set in {
            "random.elastic": transforms.random.elastic.probability > 0,
            "intensity.scale=dataset": transforms.intensity.scale == "dataset",
            "crop": transforms.crop != "none",
            "slices": bool(transforms.slices),
        }.items():
            if is_set:
                yield f"transforms.{name}: is for segmentation; a classifier does not have it"


@dataclass
class EvaluateConf:
    """python -m medcnn.evaluate."""

    package: str = MISSING  # a model package, or a run folder; typed as model=, see compose.SPELLED
    data: DataConf = field(default_factory=DataConf)
    output: str = MISSING
    inference: InferenceConf = field(default_factory=InferenceConf)
    privacy: PrivacyConf = field(default_factory=PrivacyConf)
    cache: CacheConf = field(default_factory=CacheConf)
    modules: list[str] = field(default_factory=list)  # that a package of your own network may be imported from
    resamples: int = number(2000, at_least=100)
    nsd_tolerance_mm: float = number(1.0, above=0)  # of segmentation: surfaces this near agree
    seed: int = number(0, at_least=0)

    # Of classifiers
    subgroups: list[str] = field(default_factory=list)  # free columns of the manifest; the report shows their values
    age_edges: list[float] = numbers([18.0, 40.0, 60.0, 80.0], above=0)  # years that cut ages into groups
    aggregate: str = choice("none", "none", "mean", "max", "noisy_or")  # to one answer per patient
    prevalence: dict[str, float] = field(default_factory=dict)  # class -> its share where the cases are from
    follow: str = choice("same_decisions", "same_decisions", "same_thresholds")  # what prevalence leaves as it is

    def problems(self) -> Iterator[str]:
        if len(set(self.subgroups)) < len(self.subgroups):
            yield f"subgroups: a column stands there twice, got {self.subgroups}"
        if not self.age_edges or any(a >= b for a, b in pairwise(self.age_edges)):
            yield f"age_edges: must rise, got {self.age_edges}"
        yield from prevalence_problems(self.prevalence)


@dataclass
class PrepareConf:
    """python -m medcnn.prepare."""

    input: str = MISSING  # a folder of scans, in any of the layouts of docs/data.md
    output: str = MISSING  # the manifest to write (.csv), or a folder for manifest.csv; its audit is written beside it
    labels: str = ""  # a table (.csv) that labels the scans; for BIDS, the name of a column of participants.tsv
    layout: str = choice("auto", *LAYOUTS)
    split_by: list[str] = field(default_factory=list)  # of a series with several volumes: echo, time ...
    splits: bool = True  # also give every patient a split, where the data have none
    overwrite: bool = False  # make an existing manifest anew; without it, new scans are added and splits stay
    privacy: PrivacyConf = field(default_factory=PrivacyConf)
    data: DataConf = field(default_factory=lambda: DataConf(name="prepared", root=""))

    def problems(self) -> Iterator[str]:
        yield from split_by_problems(self.split_by)
