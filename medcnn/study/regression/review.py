"""A trained regression, measured on prepared cases: metrics with intervals, tables, figures, worst cases."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medcnn.data.prepared import Prepared
from medcnn.data.privacy import Keyring
from medcnn.data.value_dataset import values_of
from medcnn.errors import DataError
from medcnn.evaluation.regression import RegressionResult, evaluate_regression
from medcnn.explain.gradcam import grad_cam, has_maps
from medcnn.inference.regressor import Regressor, ValueRule
from medcnn.reporting.figures import SavedFigure, save
from medcnn.reporting.page import CaseCard
from medcnn.reporting.regression_figure import regression_figure
from medcnn.reporting.thirds_figure import thirds_figure
from medcnn.study.scan_pictures import middle_plane, picture

_CHUNK = 512  # prepared scans taken into memory at once


@dataclass(frozen=True, eq=False)
class Measured:
    """A regression on one split's cases; predicted, truth (n,) in the quantity's unit."""

    split: str
    prepared: Prepared
    rule: ValueRule
    predicted: npt.NDArray[np.float64]
    truth: npt.NDArray[np.float64]
    result: RegressionResult


def values_by(regressor: Regressor, prepared: Prepared) -> npt.NDArray[np.float64]:
    """(n,) of every prepared case, in memory bounded by a chunk."""
    starts = range(0, len(prepared), _CHUNK)
    chunks = [list(range(start, min(start + _CHUNK, len(prepared)))) for start in starts]
    return np.concatenate([np.zeros(0), *(regressor.values(prepared.images[chunk]) for chunk in chunks)])


def measure(regressor: Regressor, prepared: Prepared, split: str, *, seed: int, resamples: int) -> Measured:
    """Every metric with its interval. Raises DataError where there is nothing to measure, or an answer is no number."""
    if not len(prepared):
        raise DataError(f"the split {split!r} has no usable case to evaluate on")
    rule, predicted, truth = regressor.rule, values_by(regressor, prepared), values_of(prepared.cases)
    if num := int((~np.isfinite(predicted)).sum()):
        raise DataError(f"{num} answers are no finite numbers: the model is broken, or the scans are. Train it again")
    named = [case.patient_id or None for case in prepared.cases]
    result = evaluate_regression(
        predicted,
        truth,
        quantity_unit=rule.unit,
        half_width=None if rule.range is None else rule.range.half_width,
        patient=named if all(named) else None,
        seed=seed,
        num_resamples=resamples,
    )
    if rule.unit:
        result = replace(result, notes=(f"mean errors and limits of agreement are in {rule.unit}", *result.notes))
    return Measured(split, prepared, rule, predicted, truth, result)


def write_predictions(path: Path, measured: Sequence[Measured], keyring: Keyring) -> None:
    """predictions.csv: a row per case, no paths."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case_id", "patient_key", "split", "label", "value", "low", "high"])
        for part in measured:
            held = part.rule.range
            for case, true, value in zip(part.prepared.cases, part.truth, part.predicted, strict=True):
                key = keyring.patient_key(case.patient_id)
                ends = ["", ""] if held is None else [f"{value + sign * held.half_width:.6g}" for sign in (-1, 1)]
                writer.writerow([case.case_id, key, case.split, f"{true:.9g}", f"{value:.9g}", *ends])


def draw(measured: Measured, folder: Path) -> list[SavedFigure]:
    """Predicted beside true, agreement, error by size: PNG and CSV each."""
    result, split, quantity = measured.result, measured.split, measured.rule.name
    names = [case.case_id for case in measured.prepared.cases]
    figures = {
        "agreement": regression_figure(
            result, measured.predicted, measured.truth, names, split=split, quantity=quantity
        ),
        "thirds": thirds_figure(result, split=split, quantity=quantity),
    }
    return [save(drawn, folder, f"{split}_{name}") for name, drawn in figures.items()]


def worst_cases(measured: Measured, regressor: Regressor, keyring: Keyring, *, most: int) -> list[CaseCard]:
    """The cases to look at first: the largest errors, with where the network looked."""
    order = np.argsort(-np.abs(measured.predicted - measured.truth), kind="stable")[:most]
    return [_card(measured, int(index), regressor, keyring) for index in order]


def _card(measured: Measured, index: int, regressor: Regressor, keyring: Keyring) -> CaseCard:
    case, image = measured.prepared.cases[index], measured.prepared.images[[index]][0]
    network, rule = regressor.networks[0], measured.rule
    heat = grad_cam(network, image, 0) if has_maps(network) else None
    plane = middle_plane(heat if heat is not None else np.abs(image[0]))
    error = float(measured.predicted[index] - measured.truth[index])
    return CaseCard(
        case_id=case.case_id,
        truth=f"{rule.in_words(float(measured.truth[index]))}, error {error:+.{rule.digits}f}",
        decision=rule.in_words(float(measured.predicted[index]), with_range=True),
        confidence=None,
        patient_key=keyring.patient_key(case.patient_id),
        split=case.split,
        image=picture(image, plane),
        heat=None if heat is None else picture(heat[None], plane),
        is_within=rule.range is None or abs(error) <= rule.range.half_width,
    )
