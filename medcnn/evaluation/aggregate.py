"""Several images of one patient: their probabilities as one row per patient, by a stated rule.

mean       of the log-odds (several classes: of the log-probabilities): every image is one more opinion
max        the most suspicious image decides: a finding that only one view shows
noisy_or   1 - product of (1 - p): each image may show the finding by itself; grows with the number of images, so
           patients with many images score higher, and calibration is lost
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from medcnn.evaluation.arrays import ONE_OF_SEVERAL, Floats, Ints, Kind
from medcnn.evaluation.checks import checked_probability
from medcnn.evaluation.patients import Patients, group_patients

Rule = Literal["mean", "max", "noisy_or"]
_SMALLEST = 1e-12  # below, a probability of 0 in one image would outvote any number of others


@dataclass(frozen=True, eq=False)
class PerPatient:
    """One row per patient, in the order of their first case.

    probability  (m, k)
    first_case   (m,) the index of each patient's first case: whose names the row may carry
    num_images   (m,) how many cases each row is made of
    """

    probability: Floats
    first_case: Ints
    num_images: Ints


def aggregate(
    probability: Floats, *, kind: Kind, patient: Sequence[str | None] | None, rule: Rule, class_names: Sequence[str]
) -> PerPatient:
    """probability (n, k) of the cases, patient (n,); a case without patient stands for itself.

    Raises ValueError for max and noisy_or of several classes that exclude each other: they ask for a yes or no.
    """
    if rule not in get_args(Rule):
        raise ValueError(f"aggregation: expected one of {', '.join(get_args(Rule))}, got {rule!r}")
    if kind in ONE_OF_SEVERAL and rule != "mean":
        raise ValueError(f"aggregation: {rule} is for yes-or-no questions; several classes take the mean")
    given = checked_probability(probability, kind, class_names)
    patients = group_patients(patient, len(given))
    if kind in ONE_OF_SEVERAL:
        logs = _mean(np.log(np.maximum(given, _SMALLEST)), patients)
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        together = shares / shares.sum(axis=1, keepdims=True)
    else:
        together = _yes_or_no(given[:, 1:] if kind == "binary" else given, patients, rule)
        together = np.c_[1 - together, together] if kind == "binary" else together
    _, first, count = np.unique(patients.of_case, return_index=True, return_counts=True)
    return PerPatient(together, first.astype(np.int64), count.astype(np.int64))


def aggregate_truth(truth: Floats | Ints, *, kind: Kind, patient: Sequence[str | None] | None) -> Floats | Ints:
    """(n,) or (n, k) -> (m,) or (m, k): a patient has what any of the images has.

    multi-label: nan where no image is known to have it and one is unknown. Raises ValueError where a patient's images
    have several of the classes that exclude each other.
    """
    patients = group_patients(patient, len(truth))
    if kind != "multilabel":
        answers = np.asarray(truth, dtype=np.int64)
        highest = np.full(patients.count, -1, dtype=np.int64)
        np.maximum.at(highest, patients.of_case, answers)
        differing = set(patients.of_case[answers != highest[patients.of_case]].tolist())
        if kind in ONE_OF_SEVERAL and differing:
            raise ValueError(
                f"{len(differing)} patients have images of several classes: label the patients, or measure per image"
            )
        return highest
    labels = np.asarray(truth, dtype=np.float64)
    anywhere, unknown = np.zeros((2, patients.count, labels.shape[1]), dtype=bool)
    np.logical_or.at(anywhere, patients.of_case, labels == 1)
    np.logical_or.at(unknown, patients.of_case, np.isnan(labels))
    return np.where(anywhere, 1.0, np.where(unknown, np.nan, 0.0))


def _yes_or_no(score: Floats, patients: Patients, rule: Rule) -> Floats:
    """(n, questions) -> (m, questions)."""
    if rule == "max":
        highest = np.zeros((patients.count, score.shape[1]))
        np.maximum.at(highest, patients.of_case, score)
        return highest
    inside = np.clip(score, _SMALLEST, 1 - _SMALLEST)
    if rule == "noisy_or":
        none = np.zeros((patients.count, score.shape[1]))
        np.add.at(none, patients.of_case, np.log1p(-inside))
        return np.asarray(-np.expm1(none))
    return np.asarray(1 / (1 + np.exp(-_mean(np.log(inside) - np.log1p(-inside), patients))))


def _mean(values: Floats, patients: Patients) -> Floats:
    """(n, c) -> (m, c)."""
    total = np.zeros((patients.count, values.shape[1]))
    np.add.at(total, patients.of_case, values)
    return np.asarray(total / np.bincount(patients.of_case)[:, None])
