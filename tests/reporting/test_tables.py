import io

import pytest

from medcnn.evaluation.intervals import Estimate
from medcnn.reporting.tables import by_class, plain_results, show_results
from medcnn.reporting.words import how_many, in_words, interval

RESULTS = {
    "val": {"auroc": Estimate(0.98, 0.9612, 0.99, 1470, "patient")},
    "test": {
        "auroc": Estimate(0.5, 0.25, 0.75, 12),
        "ece": Estimate(float("nan"), float("nan"), float("nan"), 0),
        "auroc.[bold]mass": Estimate(0.7, 0.6, 0.8, 12),
        "sensitivity.[bold]mass": Estimate(1.0, 0.5, 1.0, 3),
    },
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_table_has_value_interval_and_n_in_aligned_columns():
    lines = plain_results(RESULTS).splitlines()
    assert lines[2].split() == ["val", "AUROC", "0.980", "0.961", "to", "0.990", "1,470"]
    assert len({line.index("0.") for line in lines[2:4]}) == 1
    assert lines[4].split("  ")[-1].strip() == "0"


def test_undefined_metrics_are_a_dash():
    (line,) = [line for line in plain_results(RESULTS).splitlines() if "Calibration error" in line]
    assert line.split("  ")[-3:] != ["nan", "nan", "0"]
    assert "nan" not in line
    assert " - " in line


def test_classes_have_a_table_of_their_own():
    metrics, classes = by_class(RESULTS["test"])
    assert metrics == ["auroc", "sensitivity"]
    assert list(classes) == ["[bold]mass"]
    assert "[bold]mass    0.700 (0.600 to 0.800)" in plain_results(RESULTS)


def test_a_file_gets_plain_text_and_a_terminal_gets_a_drawn_table():
    file, terminal = io.StringIO(), Terminal()
    show_results(RESULTS, stream=file)
    show_results(RESULTS, stream=terminal)
    assert file.getvalue() == plain_results(RESULTS)
    assert "─" in terminal.getvalue()
    assert "0.961 to 0.990" in terminal.getvalue()


def test_class_names_are_not_read_as_markup(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    show_results(RESULTS, stream=terminal)
    assert "[bold]mass" in terminal.getvalue()


@pytest.mark.parametrize(
    ("name", "words"),
    [("auroc", "AUROC"), ("f1.no finding", "F1 score, no finding"), ("dice_mean", "dice mean")],
)
def test_metrics_in_words(name, words):
    assert in_words(name) == words


def test_counts_and_intervals_in_words():
    assert (how_many(1, "case"), how_many(1204, "patient")) == ("1 case", "1,204 patients")
    assert interval(Estimate(0.5, 0.25, 0.75, 3)) == "0.250 to 0.750"
