"""Everything that is measured about a segmentation, with intervals: one call from scored cases to a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcnn.evaluation.arrays import Floats, ratio
from medcnn.evaluation.intervals import NUM_RESAMPLES, Bootstrap, Estimate, Resamples, bootstrap, estimate
from medcnn.evaluation.patients import Patients, Unit, group_patients, patient_class
from medcnn.evaluation.segmentation.notes import notes
from medcnn.evaluation.segmentation.scores import STATES, CaseScores
from medcnn.evaluation.segmentation.units import Units

#: Means over cases that every structure gets; the first ones also as a mean over structures.
OVER_STRUCTURES = ("dice", "nsd", "hd95", "assd", "abs_error_pct")
MEASURES = ("dice", "nsd", "hd95", "assd", "error", "abs_error_pct")
LIMITS = 1.96  # standard deviations on both sides of the mean error: 95 % of normally distributed errors


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """What was measured on one split.

    estimates    name -> Estimate. `<metric>.<structure>` is a mean over the cases where it is defined: dice, nsd,
                 hd95_mm, assd_mm, volume_error_ml (signed), volume_abs_error_pct, and Bland and Altman's limits of
                 agreement of the volumes, volume_agreement_low_ml and _high_ml (mean error -/+ 1.96 standard
                 deviations). `<metric>` alone is the mean of its structures' means. Pictures have area_..._cm2, and
                 ..._px where their spacing is not known
    counts       structure -> state -> cases: both, missed, false_positive, true_negative
    tolerance    structure -> of nsd, in the units' length
    unit         what the intervals resample
    notes        what a reader must know to judge the numbers; no patient data
    """

    structures: tuple[str, ...]
    estimates: dict[str, Estimate]
    counts: dict[str, dict[str, int]]
    tolerance: dict[str, float]
    units: Units
    num_cases: int
    num_patients: int
    unit: Unit
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, dict[str, float | int | str | None]]:
        """One split's part of metrics.json: metric -> value, low, high, n, unit; counts of cases have no interval."""
        found = {name: one.as_json() for name, one in self.estimates.items()}
        for structure, counted in self.counts.items():
            for state in STATES[1:]:
                found[f"{state}.{structure}"] = {
                    "value": counted[state], "low": None, "high": None, "n": self.num_cases, "unit": "case",
                }  # fmt: skip
        return found


def evaluate_segmentation(
    cases: Sequence[CaseScores],
    *,
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> SegmentationResult:
    """Means over cases with intervals from resampled patients.

    patient  whose each case is; None: every case is resampled by itself, and the notes say so. Patients are drawn
             within strata of the rarest structure that they have, so that every resample has some of each
    Raises ValueError where there is no case, or cases were measured in different units or structures.
    """
    names, units = _common(cases)
    patients = group_patients(patient, len(cases))
    truth_there = np.array([[case.structures[s].truth_size > 0 for s in names] for case in cases], dtype=np.float64)
    strata = patient_class(truth_there, patients, "multilabel")
    values = {
        f"{measure}.{s}": np.array([getattr(case.structures[s], measure) for case in cases], dtype=np.float64)
        for measure in MEASURES
        for s in names
    }
    found = bootstrap(lambda weights: _means(weights, values, names), Resamples(patients, strata, seed, num_resamples))
    estimates = _estimates(found, values, patients, units)
    counts: dict[str, dict[str, int]] = {
        s: {state: sum(c.structures[s].state == state for c in cases) for state in STATES} for s in names
    }
    tolerance = {s: cases[0].structures[s].tolerance for s in names}
    return SegmentationResult(
        structures=names,
        estimates=estimates,
        counts=counts,
        tolerance=tolerance,
        units=units,
        num_cases=len(cases),
        num_patients=patients.count,
        unit=patients.unit,
        notes=tuple(notes(estimates, counts, tolerance, patients, units, num_resamples)),
    )


def _common(cases: Sequence[CaseScores]) -> tuple[tuple[str, ...], Units]:
    if not cases:
        raise ValueError("there is no scored case to evaluate")
    names, units = tuple(cases[0].structures), cases[0].units
    if any(tuple(case.structures) != names for case in cases):
        raise ValueError(f"the cases were scored for different structures; the first one for {', '.join(names)}")
    if any(case.units != units for case in cases):
        raise ValueError("some cases were measured in mm and some in pixels: score all with spacing, or all without")
    if any(case.structures[s].tolerance != cases[0].structures[s].tolerance for case in cases for s in names):
        raise ValueError("the cases were scored with different tolerances of nsd")
    return names, units


def _means(weights: Floats, values: dict[str, Floats], names: Sequence[str]) -> dict[str, Floats]:
    """Weighted means over the cases where a measure is defined, then over structures. weights (r, n) -> (r,) each."""
    found = {}
    for name, value in values.items():
        known = np.isfinite(value)
        weight, there = weights[:, known], value[known]
        found[name] = ratio(weight @ there, weight.sum(axis=1))
        measure, _, structure = name.partition(".")
        if measure == "error":
            spread = _spread(weight, there, found[name])
            found[f"agreement_low.{structure}"] = found[name] - LIMITS * spread
            found[f"agreement_high.{structure}"] = found[name] + LIMITS * spread
    for measure in OVER_STRUCTURES:
        # A structure that a resample lacks makes its mean undefined there: without it, the mean is of other structures.
        defined = [found[f"{measure}.{s}"] for s in names if np.isfinite(values[f"{measure}.{s}"]).any()]
        found[measure] = np.mean(defined, axis=0) if defined else np.full(len(weights), np.nan)
    return found


def _spread(weight: Floats, value: Floats, mean: Floats) -> Floats:
    """Standard deviation with n - 1 below the line; nan for fewer than two cases. weight (r, n) -> (r,)."""
    square = (weight * (value - mean[:, None]) ** 2).sum(axis=1)
    return np.sqrt(ratio(square, weight.sum(axis=1) - 1))


def _estimates(found: Bootstrap, values: dict[str, Floats], patients: Patients, units: Units) -> dict[str, Estimate]:
    """Means over structures first, then structure by structure, each under the name with its unit."""
    estimates = {}
    for name in sorted(found.value, key=lambda name: "." in name):
        measure, dot, structure = name.partition(".")
        source = "error" if measure.startswith("agreement") else measure
        wanted = f"{source}{dot}{structure}" if dot else f"{source}."
        columns = [value for key, value in values.items() if key == wanted or (not dot and key.startswith(wanted))]
        n = int(np.isfinite(columns).any(axis=0).sum())
        estimates[f"{units.name(measure)}{dot}{structure}"] = estimate(
            float(found.value[name]), found.sample[name], n=n, unit=patients.unit
        )
    return estimates
