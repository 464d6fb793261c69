"""Trained networks and scans -> probabilities, a decision, and how sure. Knows no package and no folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medcnn.evaluation.arrays import Kind
from medcnn.evaluation.calibration import apply_temperature
from medcnn.evaluation.conformal import ConformalRule
from medcnn.evaluation.decisions import decide
from medcnn.evaluation.operating_point import OperatingPoint
from medcnn.evaluation.vector_scaling import VectorScaling
from medcnn.inference.answer_sets import AnswerSet, answer_sets
from medcnn.inference.questions import questions
from medcnn.inference.site import Site
from medcnn.networks.covariates import CovariatesAsChannels, answer

Image = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class OutputRule:
    """How logits become probabilities, a decision, and a set of classes.

    kind              binary, multiclass, multilabel or ordinal (grades, the lowest first)
    temperature       logits are divided by it before they become probabilities
    thresholds        class -> least probability at which it is decided for (binary: the last class; multilabel: each)
    vector            in the temperature's place: a scale and an offset of each class's logit
    conformal         what makes prediction sets; None: there are none
    prevalence        (K,) shares of the classes where all this was fitted; () not known
    operating_points  what each threshold was chosen for, and what it gave there
    site              what the user states of the place that asks; never part of a package
    """

    kind: Kind
    class_names: tuple[str, ...]
    temperature: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)
    vector: VectorScaling | None = None
    conformal: ConformalRule | None = None
    prevalence: tuple[float, ...] = ()
    operating_points: tuple[OperatingPoint, ...] = ()
    site: Site = field(default_factory=Site)

    @property
    def asked(self) -> tuple[str, ...]:
        """The classes that are a yes or no of their own."""
        return {"binary": self.class_names[-1:], "multilabel": self.class_names}.get(self.kind, ())

    def threshold(self, name: str) -> float:
        """0.5 where none was fitted; where a prevalence is stated, as it follows."""
        if self.site.shift is None or name not in self.asked:
            return self.thresholds.get(name, 0.5)
        return self.limits()[self.asked.index(name)]

    def probability(self, logits: Scores) -> Scores:
        """(n, K) logits -> (n, K): rows sum to 1, or each class by itself for multilabel."""
        if self.vector is not None:
            calibrated = self.vector.probability(logits, kind=self.kind)
        else:
            calibrated = apply_temperature(logits, self.temperature, kind=self.kind)
        return calibrated if self.site.shift is None else self.site.shift.probability(calibrated)

    def limits(self) -> list[float]:
        """The thresholds in the order of the yes-or-no questions; [] for multiclass and ordinal."""
        fitted = [self.thresholds.get(name, 0.5) for name in self.asked]
        return fitted if self.site.shift is None else self.site.shift.thresholds(fitted, self.site.follow)

    def sets(self, logits: Scores) -> list[AnswerSet] | None:
        """(n, K) finite logits -> which classes each scan may have; None where the package makes no sets.

        A stated prevalence plays no part: coverage was promised of what the networks say.
        """
        return None if self.conformal is None else answer_sets(self.conformal, logits, self.class_names)

    def decisions(self, probability: Scores) -> list[str]:
        """A class's name, of grades the median; for multilabel the names of all that hold, joined by '+', or 'none'."""
        decided = decide(probability, self.kind, self.limits() or None)
        if self.kind != "multilabel":
            return [self.class_names[index] for index in decided]
        return ["+".join(np.array(self.class_names)[row == 1]) or "none" for row in decided]

    def confidence(self, probability: Scores) -> list[float]:
        """The calibrated probability that the decision is right; for multilabel that of its least sure part."""
        decided = decide(probability, self.kind, self.limits() or None)
        if self.kind == "multilabel":
            return [float(value) for value in np.where(decided == 1, probability, 1 - probability).min(axis=1)]
        return [float(row[index]) for row, index in zip(probability, decided, strict=True)]


@dataclass(frozen=True, eq=False)
class Classifier:
    """One or several networks that answer together.

    shifts  answers are averaged over the scan and copies of it moved by one pixel along each axis, up to so many
    """

    networks: Sequence[nn.Module]
    rule: OutputRule
    device: torch.device
    batch_cases: int = 64  # of whoever collects scans to ask about
    shifts: int = 0

    def with_rule(self, rule: OutputRule) -> Classifier:
        """The same networks, read otherwise."""
        return replace(self, rule=rule)

    def logits(self, images: Image, covariates: npt.NDArray[np.float32] | None = None) -> Scores:
        """(n, C, *size) prepared scans -> (n, K), each scan by itself: no answer depends on its neighbours.

        covariates  (n, V), for networks that take more than the image
        """
        return mean_of_members(self.member_logits(images, covariates))

    @torch.inference_mode()
    def member_logits(self, images: Image, covariates: npt.NDArray[np.float32] | None = None) -> Scores:
        """(n, C, *size) -> (networks, n, K): what each says by itself; mean_of_members makes one answer of it."""
        rows, asked = [], 0
        for question, count in questions(images, self.device):
            beside = None if covariates is None else self._beside(covariates[asked : asked + count], len(question))
            said = self._batch_logits(torch.from_numpy(question).to(self.device), beside)
            rows.append(said[:, :count].cpu().numpy())
            asked += count
        if not rows:
            return np.zeros((len(self.networks), 0, len(self.rule.class_names)))
        return np.concatenate(rows, axis=1).astype(np.float64)

    def probability(self, images: Image, covariates: npt.NDArray[np.float32] | None = None) -> Scores:
        """(n, C, *size) prepared scans -> (n, K), as the rule reads what the networks say."""
        return self.rule.probability(self.logits(images, covariates))

    def _beside(self, covariates: npt.NDArray[np.float32], size: int) -> torch.Tensor:
        """(count, V) -> (size, V): filled up with zeros, as the question is."""
        filled = np.zeros((size, covariates.shape[1]), np.float32)
        filled[: len(covariates)] = covariates
        return torch.from_numpy(filled).to(self.device)

    def _batch_logits(self, batch: torch.Tensor, covariates: torch.Tensor | None) -> torch.Tensor:
        """(networks, B, K), each the mean over the moved copies."""
        moved = shifted(batch, self.shifts)
        answers = [
            torch.stack([self._normalised(answer(network, copy, covariates)) for copy in moved]).mean(dim=0)
            for network in self.networks
        ]
        return torch.stack(answers)

    def for_explainers(
        self, images: Image, covariates: npt.NDArray[np.float32] | None
    ) -> tuple[Sequence[nn.Module], Image]:
        """Networks and scans for those who know only images: covariates (n, V) ride as constant channels."""
        if covariates is None:
            return self.networks, images
        channels = np.broadcast_to(
            covariates.reshape(*covariates.shape, *[1] * (images.ndim - 2)), (*covariates.shape, *images.shape[2:])
        )
        return self._riding(images.shape[1]), np.concatenate([images, channels], axis=1)

    def _riding(self, channels: int) -> Sequence[nn.Module]:
        """The same ones each time: what an explainer has found out of a network is remembered by the network."""
        made = [CovariatesAsChannels(network, channels) for network in self.networks]
        return self._of_images.setdefault(channels, made)

    @cached_property
    def _of_images(self) -> dict[int, Sequence[nn.Module]]:
        return {}

    def _normalised(self, logits: torch.Tensor) -> torch.Tensor:
        """Of one kind for all members, so that their mean is a mean of what they say."""
        logits = logits.float()
        return logits if self.rule.kind == "multilabel" else torch.log_softmax(logits, dim=1)


def mean_of_members(logits: Scores) -> Scores:
    """(networks, n, K) -> (n, K): the geometric mean of their probabilities, as softmax takes it."""
    return np.asarray(logits.mean(axis=0))


def shifted(batch: torch.Tensor, count: int) -> list[torch.Tensor]:
    """The batch, and copies moved by one pixel (the border continued): -1 and +1 along the last axis, then others."""
    copies = [batch]
    moves = [(axis, step) for axis in range(batch.ndim - 1, 1, -1) for step in (-1, 1)]
    for axis, step in moves[:count]:
        length = batch.shape[axis]
        index = (torch.arange(length, device=batch.device) - step).clamp(0, length - 1)
        copies.append(batch.index_select(axis, index))
    return copies


def choose_device(accelerator: str) -> torch.device:
    """auto takes a GPU where there is one."""
    if accelerator in ("auto", "gpu") and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator in ("auto", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
