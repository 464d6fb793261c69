"""The whole config of each verb."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from medcnn.config.data import DataConf, QuantityConf
from medcnn.config.decisions import DecisionsConf, RangeConf, prevalence_problems
from medcnn.config.explain import USUAL, ways_problems
from medcnn.config.fields import MISSING, choice, number, numbers
from medcnn.config.losses import LossConf
from medcnn.config.model import ModelConf, UNetConf
from medcnn.config.planning import PlanConf
from medcnn.config.reading import LAYOUTS, split_by_problems
from medcnn.config.trainer import REGRESSION_LOSSES, TrainerConf
from medcnn.config.transforms import TransformsConf

_AGE_EDGES = [18.0, 40.0, 60.0, 80.0]


@dataclass
class TaskConf:
    """What is learnt. The kind decides which file in medcnn/tasks serves it."""

    name: str = MISSING
    kind: str = choice("classification", "classification", "segmentation", "regression")
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
    explain: list[str] = field(default_factory=lambda: [USUAL])  # heat maps of classifiers that the report examines
    subgroups: list[str] = field(default_factory=list)  # of classifiers: free columns that the report measures apart
    age_edges: list[float] = numbers(_AGE_EDGES, above=0)  # years that cut ages into groups
    seed: int = number(0, at_least=0)
    nsd_tolerance_mm: float = number(1.0, above=0)  # of segmentation: surfaces this near agree
    output: str = "runs"
    resume: str = ""  # auto, or a run folder
    debug: str = choice("none", "none", "dry_run", "overfit", "learning_rate")

    def problems(self) -> Iterator[str]:
        if self.debug != "none" and self.resume:
            yield f"resume: a debug={self.debug} run starts fresh; leave resume out"
        for name in ("mixup_alpha", "cutmix_alpha"):
            if getattr(self.trainer, name) and self.debug == "overfit":
                yield f"trainer.{name}: must be 0 with debug=overfit, which wants to see a loss of zero"
        if self.trainer.frozen != "none" and self.debug == "overfit":
            yield "trainer.frozen: must be none with debug=overfit, which asks whether the whole network can learn"
        yield from self._task_problems()
        yield from self._transfer_problems()
        yield from ways_problems(self.explain)
        yield from _group_problems(self.subgroups, self.age_edges)
        if self.subgroups and self.task.kind != "classification":
            yield "subgroups: are measured of classifiers. Leave it out"

    def _task_problems(self) -> Iterator[str]:
        """What one kind of task can do and another cannot."""
        outlines, trainer = self.task.kind == "segmentation", self.trainer
        if outlines != isinstance(self.model, UNetConf) and self.model.name != "custom":
            wanted = "unet or unet_residual" if outlines else "a classifier, as plain_cnn or resnet18"
            yield f"model: {self.model.name} does not fit a task of {self.task.kind}; take {wanted}"
        wanted_metric = {"segmentation": "dice", "regression": "mae"}.get(self.task.kind)
        if trainer.metric != wanted_metric if wanted_metric else trainer.metric in ("dice", "mae"):
            wanted = wanted_metric or "auroc or another metric of classifiers"
            yield f"trainer.metric: a task of {self.task.kind} is chosen by {wanted}"
        if self.data.covariates and self.task.kind != "classification":
            yield f"data.covariates: are for classifiers; a task of {self.task.kind} takes the image alone"
        if outlines:
            if self.decisions != DecisionsConf():
                yield "decisions: are for classifiers; a segmenter has none"
            if trainer.mixup_alpha or trainer.cutmix_alpha or trainer.label_smoothing:
                names = "mixup_alpha, cutmix_alpha and label_smoothing"
                yield f"trainer: {names} are for classifiers; see loss.label_smoothing"
            if self.transforms.random.policy.steps:
                yield "transforms.random.policy: is for classifiers; a segmenter has transforms.random step by step"
        else:
            yield from self._whole_scan_problems()
        if self.task.kind == "regression":
            yield from self._regression_problems()
        else:
            yield from self._not_regression_problems()
        yield from self._answer_problems()

    def _answer_problems(self) -> Iterator[str]:
        """Classes, grades, and the losses and metrics that are theirs."""
        trainer, grades = self.trainer, self.data.answers == "grades"
        if self.task.kind != "classification" and grades:
            yield f"data.answers: grades are a classifier's; a task of {self.task.kind} has none"
        if self.task.kind == "segmentation" and trainer.loss != "auto":
            yield "trainer.loss: is of classifiers and regression; the losses of a segmenter are loss.*"
        elif trainer.loss == "coral" and not grades:
            yield "trainer.loss: coral is for grades. Add data.answers=grades and data.class_names, the lowest first"
        elif trainer.loss == "asymmetric" and grades:
            yield "trainer.loss: asymmetric is for several labels a case; grades have coral, cross_entropy and focal"
        if trainer.metric == "quadratic_kappa" and not grades:
            yield "trainer.metric: quadratic_kappa is for grades. Add data.answers=grades, or take auroc"

    def _regression_problems(self) -> Iterator[str]:
        """What has no meaning where a number is predicted."""
        trainer = self.trainer
        if trainer.loss not in ("auto", *REGRESSION_LOSSES):
            yield f"trainer.loss: {trainer.loss} is of classifiers; a regression has {', '.join(REGRESSION_LOSSES)}"
        if self.decisions != DecisionsConf(range=self.decisions.range):
            yield "decisions: operating_point, calibration, sets are of classifiers; a regression has decisions.range"
        for name, is_set in {
            "label_smoothing": trainer.label_smoothing > 0,
            "cutmix_alpha": trainer.cutmix_alpha > 0,
            "class_weighting": trainer.class_weighting != "none",
            "sampling": trainer.sampling != "shuffled",
        }.items():
            if is_set:
                yield f"trainer.{name}: is for classes; a regression has none. Leave it out"
        if self.explain not in ([], [USUAL]):
            yield "explain: the report of a regression examines no heat maps; predict explain= draws them. Leave it out"
        if self.data.class_names or self.data.class_codes:
            yield "data.class_names, data.class_codes: a regression has no classes; it has data.quantity"

    def _not_regression_problems(self) -> Iterator[str]:
        """What only a regression has."""
        if self.trainer.loss in REGRESSION_LOSSES:
            yield f"trainer.loss: {self.trainer.loss} is of task.kind=regression, as +task=xray_value"
        if self.data.quantity != QuantityConf():
            yield "data.quantity: is of task.kind=regression, as +task=xray_value"
        if self.decisions.range != RangeConf():
            yield "decisions.range: is of task.kind=regression, as +task=xray_value"

    def _transfer_problems(self) -> Iterator[str]:
        """Layers are held back, or learn slowly, for the sake of what they know already."""
        trainer = self.trainer
        if isinstance(self.model, UNetConf):
            why = "is for classifiers; every layer of a segmenter learns. Leave it out"
        elif self.model.name == "custom":
            why = "medcnn does not know the layers of a network of your own. Leave it out, and hold them in your module"
        elif not getattr(self.model, "pretrained", ""):
            why = "layers that start at random have to learn. Set model.pretrained=imagenet, or where weights lie"
        else:
            return
        for name, is_set in {
            "frozen": trainer.frozen != "none",
            "unfreeze_epochs": trainer.unfreeze_epochs > 0,
            "layer_decay": trainer.layer_decay < 1,
        }.items():
            if is_set:
                yield f"trainer.{name}: {why}"

    def _whole_scan_problems(self) -> Iterator[str]:
        """Of classifiers and regression, whose network sees a whole scan at once."""
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
    explain: list[str] = field(default_factory=lambda: [USUAL])  # heat maps that the report examines; [] for none
    subgroups: list[str] = field(default_factory=list)  # free columns of the manifest; the report shows their values
    age_edges: list[float] = numbers(_AGE_EDGES, above=0)  # years that cut ages into groups
    aggregate: str = choice("none", "none", "mean", "max", "noisy_or")  # to one answer per patient
    prevalence: dict[str, float] = field(default_factory=dict)  # class -> its share where the cases are from
    follow: str = choice("same_decisions", "same_decisions", "same_thresholds")  # what prevalence leaves as it is

    def problems(self) -> Iterator[str]:
        yield from _group_problems(self.subgroups, self.age_edges)
        yield from prevalence_problems(self.prevalence)
        yield from ways_problems(self.explain)


def _group_problems(columns: list[str], age_edges: list[float]) -> Iterator[str]:
    if len(set(columns)) < len(columns):
        yield f"subgroups: a column stands there twice, got {columns}"
    if not age_edges or any(a >= b for a, b in pairwise(age_edges)):
        yield f"age_edges: must rise, got {age_edges}"


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
