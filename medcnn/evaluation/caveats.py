"""What a reader must know to judge a result: who was resampled, what is rare, what could not be computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from medcnn.evaluation.intervals import Estimate
from medcnn.evaluation.patients import Patients
from medcnn.evaluation.questions import PROPORTIONS, Question

FEW = 20


def caveats(
    estimates: Mapping[str, Estimate], questions: list[Question], patients: Patients, num_resamples: int
) -> Iterator[str]:
    """Sentences with counts, no patient data."""
    yield from _about_patients(patients)
    for question in questions:
        yield from _about_rarity(question, patients)
    yield from _about_undefined(estimates, num_resamples)
    yield from _about_no_width(estimates)


def _about_patients(patients: Patients) -> Iterator[str]:
    if patients.unit == "case":
        yield "no patient_id: intervals are per case, and too narrow if patients have several cases"
    elif patients.num_unnamed:
        yield f"{patients.num_unnamed} cases have no patient_id: each was resampled as a patient of its own"


def _about_rarity(question: Question, patients: Patients) -> Iterator[str]:
    for side, cases in (("with", question.counted("sensitivity")), ("without", question.counted("specificity"))):
        num = patients.having(cases)
        units = f"{patients.unit}{'' if num == 1 else 's'}"
        if num == 0:
            yield f"no {patients.unit} {side} {question.name}: what needs one is undefined"
        elif num < FEW:
            yield f"only {num} {units} {side} {question.name}: intervals are wide, and themselves uncertain"


def _about_undefined(estimates: Mapping[str, Estimate], num_resamples: int) -> Iterator[str]:
    for name, one in estimates.items():
        if one.defined and one.num_undefined:
            yield f"{name}: undefined in {one.num_undefined} of {num_resamples} resamples, which were left out"


def _about_no_width(estimates: Mapping[str, Estimate]) -> Iterator[str]:
    exact = [n for n, one in estimates.items() if n.partition(".")[0] in PROPORTIONS and one.value in (0, 1)]
    if exact := [n for n in exact if estimates[n].low < estimates[n].high]:
        yield f"{', '.join(exact)}: at 0 or 1 no resample differs; the interval is the exact binomial one"
    if flat := [n for n, one in estimates.items() if one.defined and one.low == one.high]:
        yield f"{', '.join(flat)}: no resample differs; an interval without width is not certainty"
