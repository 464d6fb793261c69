"""Minutes become a network and a fixed number of steps, once, before the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from medcnn.planning.candidate import Candidate, Throughput, seconds_of
from medcnn.planning.refusal import PlanError

_KEPT = 0.96  # of the seconds left for training: machines slow down while they are warm
_CLEARLY_FASTER = 0.95  # of the preferred precision's time: less gain is noise
_FORWARD = 0.35  # of a training step's time, per patch


@dataclass(frozen=True)
class Overheads:
    """What the minutes pay for besides training steps, in seconds.

    spent_s             since the command began: imports, reading, measuring
    validation_s        one validation, where it was measured
    validation_patches  else: how many patches one validation computes, mirror passes included
    averaging_s         per member at the end: statistics of averaged weights and the like
    packaging_s         writing the package
    review_s, review_patches  the final review, likewise
    """

    spent_s: float = 0.0
    validation_s: float = 0.0
    validation_patches: int = 0
    averaging_s: float = 0.0
    packaging_s: float = 0.0
    review_s: float = 0.0
    review_patches: int = 0

    def of_validation(self, seconds_per_patch: float) -> float:
        return self.validation_s + self.validation_patches * seconds_per_patch * _FORWARD

    def of_review(self, seconds_per_patch: float, members: int) -> float:
        return self.review_s + self.review_patches * seconds_per_patch * _FORWARD * members

    def left_s(self, minutes: float, members: int, seconds_per_patch: float) -> float:
        """Seconds of training and validation for each member; one validation at the end is paid already."""
        once = self.spent_s + self.packaging_s + self.of_review(seconds_per_patch, members)
        each = self.averaging_s + self.of_validation(seconds_per_patch)
        return ((minutes * 60 - once) / members - each) * _KEPT


@dataclass(frozen=True)
class Clock:
    """What the number of steps follows from."""

    minutes: float
    members: int
    overheads: Overheads
    patches_per_epoch: int
    accumulate_batches: int = 1
    validation_share: float = 0.05

    def batches_per_epoch(self, batch_patches: int) -> int:
        """Every batch is full; what is left over comes in another epoch."""
        return max(1, self.patches_per_epoch // batch_patches)

    def steps_per_epoch(self, batch_patches: int) -> int:
        return ceil(self.batches_per_epoch(batch_patches) / self.accumulate_batches)

    def per_patch(self, candidate: Candidate, seconds: float) -> float:
        """seconds is of an optimiser step with all its batches, here and below."""
        return seconds / (candidate.batch_patches * self.accumulate_batches)

    def epochs_per_validation(self, candidate: Candidate, seconds: float) -> int:
        """Epochs between validations, so that they take no more than their share of the training's time."""
        if not seconds:
            return 1
        epoch_s = self.steps_per_epoch(candidate.batch_patches) * seconds
        validation_s = self.overheads.of_validation(self.per_patch(candidate, seconds))
        return max(1, ceil(validation_s / (self.validation_share * epoch_s)))

    def seconds_per_step(self, candidate: Candidate, seconds: float) -> float:
        """With the step's part of the next validation."""
        every = self.epochs_per_validation(candidate, seconds) * self.steps_per_epoch(candidate.batch_patches)
        return seconds + self.overheads.of_validation(self.per_patch(candidate, seconds)) / every

    def affordable(self, candidate: Candidate, seconds: float) -> int:
        """Optimiser steps of each member within the minutes; 0 where there is no time for any."""
        left_s = self.overheads.left_s(self.minutes, self.members, self.per_patch(candidate, seconds))
        return max(0, int(left_s / max(self.seconds_per_step(candidate, seconds), 1e-9)))

    def samples(self, candidate: Candidate, seconds: float) -> int:
        """Patches that each member sees."""
        return self.affordable(candidate, seconds) * candidate.batch_patches * self.accumulate_batches

    def total_s(self, candidate: Candidate, seconds: float, steps: int) -> float:
        """From the start of the command to its end."""
        per_patch = self.per_patch(candidate, seconds)
        over = self.overheads
        each = steps * self.seconds_per_step(candidate, seconds) + over.averaging_s + over.of_validation(per_patch)
        return over.spent_s + self.members * each + over.packaging_s + over.of_review(per_patch, self.members)


def chosen(
    candidates: Sequence[Candidate], measured: Sequence[Throughput], clock: Clock, min_samples: int
) -> tuple[Candidate, str]:
    """The first candidate that sees enough patches in time, else the one that sees most; of its precisions the fastest.

    candidates   from the one that could learn most to the cheapest; of one network, the preferred precision first
    min_samples  patches: a wider network learns more from each, but too few teach none of them

    Of equals the first; where there is no time for a single step of any, the last: one step is made all the same.
    Raises PlanError where nothing was measured.
    """
    timed = [(one, seconds_of(one, measured)) for one in candidates]
    known = [(one, seconds) for one, seconds in timed if seconds is not None]
    if not known:
        raise PlanError("SETTING", "a time budget needs the measured throughput of at least one candidate.")
    fastest: list[tuple[Candidate, float]] = []
    for one, seconds in known:
        if fastest and one.is_same_network(fastest[-1][0]):
            if seconds < fastest[-1][1] * _CLEARLY_FASTER:
                fastest[-1] = (one, seconds)
        else:
            fastest.append((one, seconds))
    seen = [(one, clock.samples(one, seconds)) for one, seconds in fastest]
    for one, samples in seen:
        if samples >= min_samples:
            return one, f"the largest that sees {min_samples:,} patches or more in time: about {samples:,}"
    most, samples = max(seen, key=lambda pair: pair[1])
    if not samples:
        return seen[-1][0], "there is no time for a single step of any; the cheapest"
    return most, f"none sees {min_samples:,} patches in time; this one sees the most, about {samples:,}"


def worth_measuring(
    candidates: Sequence[Candidate], measured: Sequence[Throughput], clock: Clock, min_samples: int
) -> Candidate | None:
    """The next candidate to measure; None once the one that would be chosen is measured, and so is the next abler one.

    First the cheapest network in each precision, which tells roughly about all others; then whichever would be chosen;
    then the next abler network: a narrow one uses a processor badly, so what it foretells of wider ones is too long.
    """
    seen = [found.candidate for found in measured]
    for one in candidates:
        if one.is_same_network(candidates[-1]) and one not in seen:
            return one
    best, _ = chosen(candidates, measured, clock, min_samples)
    if best not in seen:
        return best
    abler = [one for one in candidates[: candidates.index(best)] if one.precision == best.precision]
    return abler[-1] if abler and abler[-1] not in seen else None
