"""What a reader must know to judge measured segmentations: who was resampled, what is rare, what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from medcnn.evaluation.caveats import FEW
from medcnn.evaluation.intervals import Estimate
from medcnn.evaluation.patients import Patients
from medcnn.evaluation.segmentation.units import Units

Counts = Mapping[str, Mapping[str, int]]


def notes(
    estimates: Mapping[str, Estimate],
    counts: Counts,
    tolerance: Mapping[str, float],
    patients: Patients,
    units: Units,
    num_resamples: int,
) -> Iterator[str]:
    """Sentences with counts, no patient data."""
    if patients.unit == "case":
        yield "no patient_id: intervals are per case, and too narrow if patients have several cases"
    elif patients.num_unnamed:
        yield f"{patients.num_unnamed} cases have no patient_id: each was resampled as a patient of its own"
    if patients.count < FEW:
        yield f"only {patients.count} {patients.unit}s: intervals are wide, and themselves uncertain"
    yield tolerance_in_words(tolerance, units)
    for structure, counted in counts.items():
        yield from _about_empty(structure, counted)
    for name, one in estimates.items():
        if one.defined and one.num_undefined:
            yield f"{name}: undefined in {one.num_undefined} of {num_resamples} resamples, which were left out"
    if units.length == "px":
        yield "the spacing of the pictures is not known: distances and areas are in pixels"


def tolerance_in_words(tolerance: Mapping[str, float], units: Units) -> str:
    """What NSD forgives."""
    limits = sorted(set(tolerance.values()))
    if len(limits) == 1:
        return f"NSD is the share of both surfaces within {limits[0]:g} {units.length} of the other"
    each = ", ".join(f"{structure} {limit:g}" for structure, limit in tolerance.items())
    return f"NSD is the share of both surfaces within a tolerance of the other, in {units.length}: {each}"


def _about_empty(structure: str, counted: Mapping[str, int]) -> Iterator[str]:
    """The rule for empty masks, where it was needed."""
    if counted["missed"] + counted["false_positive"]:
        found = {"missed": "missed in", "false_positive": "predicted where there is none in"}
        parts = " and ".join(f"{words} {_cases(counted[state])}" for state, words in found.items() if counted[state])
        yield (
            f"{structure}: {parts}; these have Dice and NSD 0, and are left out of the distances, "
            "which therefore look better than they are"
        )
    if counted["true_negative"]:
        yield (
            f"{structure}: {_cases(counted['true_negative'])} without any, in truth and prediction; "
            "that is right, but nothing can be measured, so they are in no mean"
        )
    with_truth = counted["both"] + counted["missed"]
    if with_truth == 0:
        yield f"{structure}: no case has any, so only false alarms could be counted"


def _cases(count: int) -> str:
    return f"{count} case{'' if count == 1 else 's'}"
