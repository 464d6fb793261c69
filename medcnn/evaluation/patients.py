"""Which cases belong to one patient, and what class a patient is: the units that resampling draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medcnn.evaluation.arrays import ONE_OF_SEVERAL, Bools, Floats, Ints, Kind

Unit = Literal["patient", "case"]


@dataclass(frozen=True, eq=False)
class Patients:
    """The grouping of cases into patients; holds no identifiers.

    of_case      (n,) the number of each case's patient, 0 ... count - 1
    unit         "patient", or "case" where no patient is known and every case stands for itself
    num_unnamed  cases without a patient id among cases that have one; each stands for itself
    """

    of_case: Ints
    unit: Unit
    num_unnamed: int = 0

    @property
    def count(self) -> int:
        return int(self.of_case.max()) + 1 if len(self.of_case) else 0

    @property
    def one_case_each(self) -> bool:
        return self.count == len(self.of_case)

    def having(self, cases: Bools) -> int:
        """How many patients have at least one of these cases (n,)."""
        return len(np.unique(self.of_case[cases]))


def group_patients(patient: Sequence[str | None] | None, num_cases: int) -> Patients:
    """Number the patients. None, or no id at all: every case by itself. A single missing id: that case by itself."""
    names = [""] * num_cases if patient is None else ["" if p is None or p != p else str(p) for p in patient]
    if len(names) != num_cases:
        raise ValueError(f"patient: {len(names)} entries for {num_cases} cases. Give one per case, or None.")
    if not any(names):
        return Patients(np.arange(num_cases), "case")
    numbers: dict[object, int] = {}
    of_case = [numbers.setdefault(name or (case,), len(numbers)) for case, name in enumerate(names)]
    return Patients(np.array(of_case, dtype=np.int64), "patient", names.count(""))


def patient_class(truth: Floats | Ints, patients: Patients, kind: Kind) -> Ints:
    """(patients,) the stratum of each patient.

    binary      1 where any of the patient's cases is positive, else 0
    multiclass  the most frequent class of the patient's cases, the first of equals; so for ordinal
    multilabel  1 + the rarest class that the patient has in any case, 0 for none: rare findings stay in every resample
    """
    if kind == "binary":
        stratum = np.zeros(patients.count, dtype=np.int64)
        np.maximum.at(stratum, patients.of_case, truth.astype(np.int64))
        return stratum
    if kind in ONE_OF_SEVERAL:
        votes = np.zeros((patients.count, int(truth.max()) + 1), dtype=np.int64)
        np.add.at(votes, (patients.of_case, truth.astype(np.int64)), 1)
        return np.asarray(votes.argmax(axis=1))
    has = np.zeros((patients.count, truth.shape[1]), dtype=bool)
    np.logical_or.at(has, patients.of_case, truth == 1)
    rarity = np.argsort(np.argsort(has.sum(axis=0), kind="stable"))  # 0 is the rarest
    ranked = np.where(has, rarity, truth.shape[1])
    return np.where(has.any(axis=1), ranked.argmin(axis=1) + 1, 0)
