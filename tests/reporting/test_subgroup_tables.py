"""Subgroups where people read them: a row per group, the tests below, and the user's words as they are."""

from __future__ import annotations

import numpy as np

from medcnn.evaluation.subgroups import SubgroupResult, evaluate_subgroups
from medcnn.reporting.figures import save
from medcnn.reporting.subgroup_figure import subgroup_figure
from medcnn.reporting.subgroup_tables import group_tables


def measured(*, patients: bool, values: tuple[str, str] = ("a", "b")) -> SubgroupResult:
    random = np.random.default_rng(0)
    truth = np.arange(120) % 2
    ill = np.clip(0.3 * truth + random.random(120) * 0.7, 0, 1)
    group = [values[n // 2 % 2] for n in range(120)]
    return evaluate_subgroups(
        np.c_[1 - ill, ill], truth, {"price $": group}, kind="binary", class_names=["no", "yes"], num_resamples=100,
        patient=[f"p{n // 2}" for n in range(120)] if patients else None,
    )  # fmt: skip


def test_a_row_per_group_and_the_tests_below():
    result = measured(patients=True)
    (table,) = group_tables(result)
    assert table.title == "By price $"
    assert list(table.header) == ["Group", "Cases", "Patients", "AUROC", "Sensitivity", "Specificity"]
    assert [row[:3] for row in table.rows] == [("a", "60", "30"), ("b", "60", "30"), ("best against worst", "", "")]
    assert table.rows[0][3] == str(result.groups[0].estimates["auroc"])
    assert all(cell.startswith("p = ") for cell in table.rows[-1][3:])
    assert all(len(row) == len(table.header) for row in table.rows)


def test_cases_are_not_called_patients():
    (table,) = group_tables(measured(patients=False))
    assert table.header[1:3] == ("Cases", "AUROC")
    assert all(len(row) == len(table.header) for row in table.rows)


def test_what_looks_like_a_formula_is_drawn_as_it_is(tmp_path):
    drawn = subgroup_figure(measured(patients=True, values=(r"$\bad$", "$x$")), split="test")
    assert [label.get_text() for label in drawn.figure.axes[0].get_yticklabels()] == [r"$\bad$ (60)", "$x$ (60)"]
    assert save(drawn, tmp_path, "subgroups").png.stat().st_size > 5000
