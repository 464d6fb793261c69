"""Patients, and what they must be divided evenly by."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from medcnn.data.boxes import read_boxes
from medcnn.data.manifest import Case

StratumOf = Callable[[Sequence[Case]], Hashable]  # from a patient's cases to what patients are divided evenly by


def patient_of(case: Case) -> str:
    """Who is never divided: the patient, or the case alone where nobody knows the patient."""
    return case.patient_id or f"case {case.case_id}"


def stratum(cases: Sequence[Case]) -> Hashable:
    """A patient's rarest statement: the greatest label of any of the cases; without labels, the classes of the boxes.

    Masks are not opened: a data set with masks alone is one stratum.
    """
    if not cases[0].labels:
        return tuple(sorted({box.name for case in cases for box in read_boxes(case.boxes)}))
    return tuple(max(case.labels[name] for case in cases) for name in cases[0].labels)
