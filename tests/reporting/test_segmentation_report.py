"""Segmentations on the terminal, on the page and in figures of their scores."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest

from medcnn.evaluation.intervals import Estimate
from medcnn.evaluation.segmentation.result import evaluate_segmentation
from medcnn.evaluation.segmentation.scores import CaseScores, StructureScores
from medcnn.evaluation.segmentation.units import PICTURE_IN_PIXELS, VOLUME
from medcnn.reporting.figures import save
from medcnn.reporting.page import Report, Section, SplitSummary, Table, render
from medcnn.reporting.segmentation_figures import segmentation_figures
from medcnn.reporting.tables import plain_results, show_results

RANDOM = np.random.default_rng(0)


def scores(dice, size):
    return StructureScores("both", dice, dice, dice, 2.0, 3.0, 1.0, size, size * RANDOM.normal(1, 0.1))


def cases(names=("left", "right"), units=VOLUME, n=12):
    found = [
        CaseScores(f"c{i}", {s: scores(RANDOM.uniform(0.7, 1), RANDOM.uniform(1, 3)) for s in names}, units)
        for i in range(n)
    ]
    missed = StructureScores("missed", 0.0, 0.0, 0.0, *[math.nan] * 3, 2.0, 0.0)
    return [*found, CaseScores("c99", dict.fromkeys(names, found[0].structures[names[0]]) | {names[-1]: missed}, units)]


CASES = cases()
RESULT = evaluate_segmentation(CASES)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_table_has_a_row_per_structure_and_one_of_means():
    lines = plain_results({"test": RESULT.estimates}, {"test": RESULT.counts}).splitlines()
    assert lines[0].split("  ")[0] == "Structure (test)"
    assert [line.split()[0] for line in lines[2:]] == ["left", "right", "mean"]
    assert f"{RESULT.estimates['dice.left'].value:.3f} (" in lines[2]
    assert lines[0].endswith("Missed")
    assert (lines[2][-1], lines[3][-1]) == ("0", "1")
    assert "agreement" not in lines[0]


@pytest.mark.parametrize(("columns", "has_intervals"), [(110, True), (80, False)])
def test_a_terminal_shows_all_values_and_intervals_where_there_is_room(columns, has_intervals, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    show_results({"test": RESULT.estimates}, stream=terminal, counts={"test": RESULT.counts})
    shown = terminal.getvalue()
    one = RESULT.estimates["dice.right"]
    assert f"{one.value:.3f}" in shown
    assert (f"{one.low:.3f}–{one.high:.3f}" in shown) is has_intervals
    assert ("intervals: metrics.json" in shown) is not has_intervals
    assert "Missed" in shown
    assert "…" not in shown


def test_segmented_and_classified_splits_stand_together():
    text = plain_results({"test": RESULT.estimates, "val": {"auroc": Estimate(0.9, 0.8, 1.0, 5)}})
    assert "AUROC" in text
    assert "Structure (test)" in text
    assert "Structure (val)" not in text


def test_the_page_has_headlines_structures_counts_and_notes():
    page = render(Report("Left and right", summaries=[SplitSummary.of("test", RESULT)]))
    assert "Structure by structure, test" in page
    assert "Dice, left, test" in page  # a headline
    assert '<th class="n">Missed</th>' in page
    assert "left out of the distances" in page
    assert "means over the structures" in page
    assert "agreement" not in page


def test_the_page_takes_tables():
    table = Table("Dice", ["Structure", "A"], [["<left>", "0.9"]])
    page = render(Report("x", sections=[Section("Differences", [], "read it so", [table])]))
    assert "&lt;left&gt;" in page
    assert '<td class="n">0.9</td>' in page


def test_figures_and_their_numbers_are_saved(tmp_path):
    figures = segmentation_figures(RESULT, CASES, split="test")
    assert list(figures) == ["dice_test", "hd95_test", "volumes_test"]
    for name, drawn in figures.items():
        assert save(drawn, tmp_path, name).png.stat().st_size > 5000
    rows = list(csv.DictReader((tmp_path / "dice_test.csv").open()))
    assert len(rows) == 2 * len(CASES)
    assert float(rows[0]["dice"]) == CASES[0].structures["left"].dice
    assert "Right missed in 1 case: not in this figure" in figures["hd95_test"].caption
    volumes = list(csv.DictReader((tmp_path / "volumes_test.csv").open()))
    assert float(volumes[-1]["error_ml"]) == -2.0


def test_equal_results_give_equal_pictures(tmp_path):
    one, other = (
        save(segmentation_figures(RESULT, CASES, split="test")["dice_test"], tmp_path / x, "dice") for x in "ab"
    )
    assert one.png.read_bytes() == other.png.read_bytes()


@pytest.mark.parametrize(("names", "units"), [(["lung"], PICTURE_IN_PIXELS), ([f"s{i}" for i in range(7)], VOLUME)])
def test_one_structure_or_many_and_pictures_are_drawn(names, units, tmp_path):
    some = cases(names, units)
    nowhere = StructureScores("true_negative", *[math.nan] * 6, 0.0, 0.0)
    some = [CaseScores(c.case_id, {**c.structures, "absent": nowhere}, units) for c in some]
    figures = segmentation_figures(evaluate_segmentation(some), some, split="val")
    assert ("areas_val" if units == PICTURE_IN_PIXELS else "volumes_val") in figures
    for name, drawn in figures.items():
        save(drawn, tmp_path, name)
