"""What only cases outside each member's training can decide: mending of masks, and how expected Dice is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medcnn.data.manifest import Case
from medcnn.data.segmentation_cases import SegmentationCases
from medcnn.evaluation.segmentation.glance import dice_at_a_glance
from medcnn.inference.choose_postprocessing import SegmentedCase, Trial, choose_postprocessing
from medcnn.inference.quality import QualityMap
from medcnn.inference.segmenter import Segmenter
from medcnn.study.segmentation.data import is_held_out
from medcnn.study.segmentation.measuring import outlined, spacing_of

log = logging.getLogger("medcnn.train")

_FEWEST = 10  # cases with a truth, before a curve of expected against true Dice is worth keeping


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """The members of a cross-validation, each answering for the cases that it never saw."""

    segmenter: Segmenter
    folds: int

    def choose(self, case: Case) -> Segmenter:
        """The member of this case's fold, alone."""
        return replace(self.segmenter, networks=[self.segmenter.networks[int(case.fold)]])

    def cases(self, every: SegmentationCases) -> SegmentationCases:
        """Those that some member was held to."""
        return every.part(lambda case: any(is_held_out(case, fold) for fold in range(self.folds)))

    def fitted(self, every: SegmentationCases) -> tuple[Segmenter, list[Trial], str]:
        """The ensemble with what the cases outside each member's training chose, what was tried, and on what."""
        cases = self.cases(every)
        expected: dict[str, list[tuple[float, float]]] = {name: [] for name in cases.structures.names}

        def answers() -> Iterator[SegmentedCase]:
            for index, case in enumerate(cases.cases):
                found, truth = outlined(self.choose(case), cases, index), np.asarray(cases.own(index).target)
                true = dice_at_a_glance(truth, found.labels, cases.structures.names)
                for name, value in found.expected_dice.items():
                    expected[name].append((value, true[name]))
                yield found.labels, truth, spacing_of(cases, index) or (1.0,) * (truth.ndim - 1)

        mending, trials = choose_postprocessing(answers(), self.segmenter.rule)
        quality = QualityMap.fit(expected) if len(cases) >= _FEWEST else None
        for trial in trials:
            log.debug("mending %s", trial)
        kept = [f"{trial.structure}: {trial.step}" for trial in trials if trial.kept]
        log.info("mending of masks, by %d folds: %s", self.folds, ", ".join(kept) or "none is worth it")
        segmenter = replace(self.segmenter, postprocessing=mending, quality=quality)
        return segmenter, trials, f"{len(cases)} cases, each by the member of {self.folds} that had not seen it"


def quality_on(segmenter: Segmenter, cases: SegmentationCases) -> QualityMap | None:
    """How expected Dice is read, by cases that neither trained nor chose the networks; None where they are too few."""
    if len(cases) < _FEWEST:
        return None
    names = cases.structures.names
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for index in range(len(cases)):
        found = outlined(segmenter, cases, index)
        true = dice_at_a_glance(np.asarray(cases.own(index).target), found.labels, names)
        for name, value in found.expected_dice.items():
            pairs[name].append((value, true[name]))
    return QualityMap.fit(pairs)


def trial_rows(trials: Sequence[Trial]) -> list[list[str]]:
    """For the report."""
    return [
        [
            trial.structure,
            trial.step,
            f"{trial.dice_without:.4f}",
            f"{trial.dice_with:.4f}",
            f"{trial.cases_better} / {trial.cases_worse}",
            "kept" if trial.kept else "",
        ]
        for trial in trials
    ]
