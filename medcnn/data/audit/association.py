"""Whether two things go together, and how strongly: a p-value alone says only how many cases there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_PERMUTATIONS = 9_999
_LEAST_EXPECTED = 5.0  # Cochran's rule for the chi-square distribution


@dataclass(frozen=True)
class Association:
    """p_value, and effect: Cramer's V corrected for bias, or Kolmogorov-Smirnov's D; 0 none, 1 complete."""

    p_value: float
    effect: float


NONE = Association(1.0, 0.0)


def of_words(pairs: Iterable[tuple[str, str]]) -> Association:
    """Of two columns of words: chi-square, or its permutation test where cells are small; bias-corrected V."""
    from scipy.stats import chi2

    listed = list(pairs)
    first, rows = _coded([one for one, _ in listed])
    second, columns = _coded([other for _, other in listed])
    n = len(listed)
    if rows < 2 or columns < 2 or n < 4:
        return NONE
    table = _table(first, second, rows, columns)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / n
    statistic = float(((table - expected) ** 2 / expected).sum())
    freedom = (rows - 1) * (columns - 1)
    if expected.min() >= _LEAST_EXPECTED:
        p_value = float(chi2.sf(statistic, freedom))
    else:
        p_value = _permuted(first, second, rows, columns, expected, statistic)
    return Association(p_value, _cramers_v(statistic / n, rows, columns, n))


def of_numbers(one: Sequence[float], other: Sequence[float]) -> Association:
    """Two samples of a number: Kolmogorov-Smirnov."""
    from scipy.stats import ks_2samp

    if len(one) < 5 or len(other) < 5:
        return NONE
    found = ks_2samp(one, other)
    return Association(float(found.pvalue), float(found.statistic))


def corrected(p_values: Sequence[float]) -> list[float]:
    """Holm's: the chance of any false alarm among all of them stays below the level asked for."""
    order = np.argsort(p_values)
    adjusted = np.zeros(len(p_values))
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return [float(value) for value in adjusted]


def _coded(words: Sequence[str]) -> tuple[npt.NDArray[np.int64], int]:
    levels = {word: number for number, word in enumerate(sorted(set(words)))}
    return np.array([levels[word] for word in words], np.int64), len(levels)


def _table(
    first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], rows: int, columns: int
) -> npt.NDArray[np.float64]:
    counts = np.bincount(first * columns + second, minlength=rows * columns)
    return counts.reshape(rows, columns).astype(np.float64)


def _permuted(
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    rows: int,
    columns: int,
    expected: npt.NDArray[np.float64],
    statistic: float,
) -> float:
    """Share of random pairings that go together at least as well; seeded, so that an audit repeats itself."""
    generator = np.random.Generator(np.random.PCG64(0))
    as_good = 0
    for _ in range(_PERMUTATIONS):
        table = _table(first, generator.permutation(second), rows, columns)
        as_good += float(((table - expected) ** 2 / expected).sum()) >= statistic - 1e-9
    return (1 + as_good) / (1 + _PERMUTATIONS)


def _cramers_v(phi2: float, rows: int, columns: int, n: int) -> float:
    """Bergsma's: unlike the plain one it is 0 on average where nothing goes together."""
    unbiased = max(0.0, phi2 - (rows - 1) * (columns - 1) / (n - 1))
    row_term, column_term = (k - (k - 1) ** 2 / (n - 1) for k in (rows, columns))
    least = min(row_term, column_term) - 1
    return min(1.0, (unbiased / least) ** 0.5) if least > 0 else 0.0
