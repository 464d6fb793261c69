"""Estimates with 95 % intervals: the stratified bootstrap over patients.

Patients are drawn with replacement within their class, so every resample has the classes in the proportions of the
data; a patient's cases come together. One resample is a row of weights: how often each case counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medcnn.evaluation.arrays import Floats, Ints
from medcnn.evaluation.patients import Patients, Unit

NUM_RESAMPLES = 2000
LEVEL = 0.95
_BLOCK = 50  # resamples at a time: memory stays at 50 x cases; fixed, since the random stream depends on it

#: From weights (r, n) to named results (r,) or (r, m).
Statistic = Callable[[Floats], Mapping[str, Floats]]


@dataclass(frozen=True)
class Estimate:
    """One number and its 95 % interval.

    n              cases that the value is computed over (for a sensitivity: the positive ones)
    unit           what was resampled: patients, or cases where no patient is known
    num_undefined  resamples in which the metric is undefined; the interval is that of the others
    """

    value: float
    low: float
    high: float
    n: int
    unit: Unit = "case"
    num_undefined: int = 0

    @property
    def defined(self) -> bool:
        return bool(np.isfinite(self.value))

    def as_json(self) -> dict[str, float | int | str | None]:
        """Plain numbers; what is undefined becomes null, since JSON has no nan."""
        low, value, high = (float(x) if np.isfinite(x) else None for x in (self.low, self.value, self.high))
        return {"value": value, "low": low, "high": high, "n": self.n, "unit": self.unit}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Estimate:
        """Back from as_json."""
        low, value, high = (
            float("nan") if found[key] is None else float(found[key]) for key in ("low", "value", "high")
        )
        return cls(value, low, high, int(found["n"]), found["unit"])

    def __str__(self) -> str:
        if not self.defined:
            return "undefined"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, eq=False)
class Resamples:
    """The plan of a bootstrap: drawn again, identically, whenever it is iterated.

    stratum (patients,) the class within which each patient is exchanged
    """

    patients: Patients
    stratum: Ints
    seed: int = 0
    num: int = NUM_RESAMPLES

    def blocks(self) -> Iterator[Floats]:
        """Weights (up to 50, n) until all resamples are drawn."""
        random = np.random.default_rng(self.seed)
        members = [np.flatnonzero(self.stratum == s) for s in np.unique(self.stratum)]
        for start in range(0, self.num, _BLOCK):
            rows = min(_BLOCK, self.num - start)
            times = np.zeros((rows, self.patients.count))
            for one in members:
                times[:, one] = _draw_counts(random, rows, len(one))
            yield times[:, self.patients.of_case]


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """What a statistic is on the data, and on every resample.

    value   name -> () or (m,)
    sample  name -> (resamples,) or (resamples, m)
    """

    value: dict[str, Floats]
    sample: dict[str, Floats]


def bootstrap(statistic: Statistic, resamples: Resamples) -> Bootstrap:
    """Compute a statistic on the data and on all resamples."""
    num_cases = len(resamples.patients.of_case)
    value = {name: found[0] for name, found in statistic(np.ones((1, num_cases))).items()}
    collected: dict[str, list[Floats]] = {name: [] for name in value}
    for weights in resamples.blocks():
        for name, found in statistic(weights).items():
            collected[name].append(found)
    return Bootstrap(value, {name: np.concatenate(parts) for name, parts in collected.items()})


def percentile_interval(sample: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Bounds that leave out equal shares of the resamples on both sides; nan entries are left out. sample (r, ...)."""
    outside = 100 * (1 - level) / 2
    flat = sample.reshape(len(sample), -1)
    bounds = np.full((2, flat.shape[1]), np.nan)
    for column in range(flat.shape[1]):
        known = flat[np.isfinite(flat[:, column]), column]
        if len(known):
            bounds[:, column] = np.percentile(known, [outside, 100 - outside])
    return bounds[0].reshape(sample.shape[1:]), bounds[1].reshape(sample.shape[1:])


def estimate(value: float, sample: Floats, *, n: int, unit: Unit) -> Estimate:
    """The value on the data with its interval from the resamples (r,); all nan where the value is undefined."""
    if not np.isfinite(value):
        return Estimate(float("nan"), float("nan"), float("nan"), n, unit, len(sample))
    low, high = percentile_interval(sample)
    return Estimate(float(value), float(low), float(high), n, unit, int((~np.isfinite(sample)).sum()))


def exact_interval(count: int, of: int, level: float = LEVEL) -> tuple[float, float]:
    """Clopper and Pearson's interval of a proportion: right where the bootstrap fails, at 0 of n and n of n."""
    from scipy.special import betaincinv

    outside = (1 - level) / 2
    low = 0.0 if count == 0 else float(betaincinv(count, of - count + 1, outside))
    high = 1.0 if count == of else float(betaincinv(count + 1, of - count, 1 - outside))
    return low, high


def _draw_counts(random: np.random.Generator, rows: int, size: int) -> Floats:
    """(rows, size) how often each of `size` is drawn when `size` are drawn with replacement."""
    drawn = random.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)
