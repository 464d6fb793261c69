"""Figures of a predicted number, and a table of it read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medcnn.errors import DataError
from medcnn.evaluation.regression import THIRDS, evaluate_regression
from medcnn.evaluation.run_errors import compare_errors
from medcnn.reporting.comparison_rows import rows_of, tables_of
from medcnn.reporting.figures import save
from medcnn.reporting.regression_figure import regression_figure
from medcnn.reporting.tables import plain_results
from medcnn.reporting.thirds_figure import thirds_figure
from medcnn.reporting.value_table import is_valued, read_valued

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.uniform(20, 80, 45)
PREDICTED = TRUTH + RANDOM.normal(1, 6, 45)
RESULT = evaluate_regression(PREDICTED, TRUTH, quantity_unit="years", half_width=9.0, num_resamples=100)


def test_figures_hold_the_numbers_that_they_show(tmp_path: Path) -> None:
    thirds = thirds_figure(RESULT, split="test", quantity="age")
    assert [row["part"] for row in thirds.rows] == list(THIRDS)
    assert thirds.rows[0]["mae"] == RESULT.estimates["mae.lower third"].value
    cases = [f"c{n}" for n in range(45)]
    beside = regression_figure(RESULT, PREDICTED, TRUTH, cases, split="test", quantity="age")
    assert beside.rows[3]["error"] == pytest.approx(PREDICTED[3] - TRUTH[3])
    assert "range holds the truth" in beside.caption
    for name, drawn in (("thirds", thirds), ("beside", beside)):
        with Image.open(save(drawn, tmp_path, name).png) as picture:
            assert picture.width > 1000


def test_the_tables_on_the_terminal_name_the_thirds() -> None:
    text = plain_results({"test": RESULT.estimates})
    assert "Part (test)" in text
    assert "lower third" in text
    assert "Coverage of the ranges" in text


def test_two_runs_by_their_errors() -> None:
    worse = TRUTH + 3 * (PREDICTED - TRUTH)
    found = compare_errors(PREDICTED, worse, TRUTH, num_resamples=200)
    errors = np.abs(PREDICTED - TRUTH)
    assert found.paired.difference.value == pytest.approx(-2 * errors.mean())
    assert found.paired.wins == 45
    (row,) = rows_of([found])
    assert row["metric"] == "absolute_error"
    assert row["mean_a"] == pytest.approx(errors.mean())
    (table,) = tables_of([found], ["A", "B"])
    assert len(table.rows[0]) == len(table.header)


def test_a_table_is_read_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text("case_id,patient_key,split,label,value,low,high\na,p1,test,63.5,60.25,50,70\nb,,val,7,8,,\n")
    read = read_valued(path)
    assert is_valued(path.read_text().splitlines()[0].split(","))
    assert read.predicted.tolist() == [60.25, 8.0]
    assert read.of_split("test").case_ids == ("a",)
    path.write_text("case_id,patient_key,split,label,value\na,p1,test,old,60\n")
    with pytest.raises(DataError, match="not a number"):
        read_valued(path)
