"""Strength and significance against scikit-learn, scipy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from medcnn.data.audit.association import corrected, of_numbers, of_words


def pairs(table: list[list[int]]) -> list[tuple[str, str]]:
    return [(f"r{r}", f"c{c}") for r, row in enumerate(table) for c, count in enumerate(row) for _ in range(count)]


def test_a_complete_association_has_effect_1() -> None:
    found = of_words(pairs([[50, 0], [0, 50]]))
    assert found.effect == pytest.approx(1.0, abs=0.011)
    assert found.p_value < 1e-20


def test_chi_square_agrees_with_scipy() -> None:
    from scipy.stats import chi2_contingency

    table = [[30, 20, 10], [12, 25, 23]]
    assert of_words(pairs(table)).p_value == pytest.approx(chi2_contingency(table, correction=False).pvalue)


def test_small_tables_agree_with_fishers_exact_test() -> None:
    from scipy.stats import fisher_exact

    table = [[7, 1], [2, 6]]
    assert of_words(pairs(table)).p_value == pytest.approx(fisher_exact(table).pvalue, abs=0.01)


def test_v_is_near_0_on_average_where_nothing_goes_together() -> None:
    generator = np.random.default_rng(0)
    effects = []
    for _ in range(100):
        first, second = generator.integers(0, 3, 200), generator.integers(0, 4, 200)
        effects.append(of_words([(str(a), str(b)) for a, b in zip(first, second, strict=True)]).effect)
    assert np.mean(effects) < 0.06


def test_degenerate_tables_say_nothing() -> None:
    assert of_words([]).effect == 0
    assert of_words([("a", "b")] * 50).p_value == 1
    assert of_numbers([1.0, 2.0], [3.0] * 50).p_value == 1


def test_two_samples_far_apart() -> None:
    found = of_numbers(list(range(50)), list(range(100, 150)))
    assert found.effect == 1
    assert found.p_value < 1e-10


def test_holms_correction_by_hand() -> None:
    assert corrected([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert corrected([]) == []
    assert corrected([0.9, 0.8]) == [1.0, 1.0]
