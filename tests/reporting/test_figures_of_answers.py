"""Figures of sets, subgroups, grades and quantities: readable PNGs with CSVs of what is drawn."""

import csv

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit, softmax

from medcnn.evaluation.classification import evaluate_classification
from medcnn.evaluation.conformal import fit_conformal
from medcnn.evaluation.prediction_sets import evaluate_sets
from medcnn.evaluation.regression import evaluate_regression
from medcnn.evaluation.subgroups import evaluate_subgroups
from medcnn.reporting import figures
from medcnn.reporting.ordinal_figure import ordinal_figure
from medcnn.reporting.regression_figure import regression_figure
from medcnn.reporting.sets_figure import sets_figure
from medcnn.reporting.subgroup_figure import subgroup_figure


def save(drawn, folder, name="figure"):
    saved = figures.save(drawn, folder, name)
    with Image.open(saved.png) as picture:
        assert 600 <= picture.width <= 1800
        pixels = np.asarray(picture.convert("L"))
    assert len(np.unique(pixels)) > 20
    assert (pixels[:, [0, -1]] == 255).all(), "something is cut off at the sides"
    with saved.csv.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def sets():
    random = np.random.default_rng(0)
    logits = 2 * random.normal(size=(500, 4))
    truth = (softmax(logits, axis=1).cumsum(axis=1) < random.random((500, 1))).sum(axis=1)
    probability = softmax(logits, axis=1)
    rule = fit_conformal(probability[:200], truth[:200], kind="multiclass", error=0.1, fitted_on="calib")
    names = ["glioma", "meningioma", "pituitary", "none"]
    return evaluate_sets(rule, probability[200:], truth[200:], class_names=names, num_resamples=100)


def test_sets_figure_holds_coverage_and_sizes(sets, tmp_path):
    rows = save(sets_figure(sets, split="test"), tmp_path)
    coverage = {row["of"]: float(row["value"]) for row in rows if row["part"] == "coverage"}
    assert coverage["all"] == sets.estimates["coverage"].value
    assert list(coverage) == ["all", "glioma", "meningioma", "pituitary", "none"]
    assert sum(int(row["value"]) for row in rows if row["part"] == "size") == 300


@pytest.fixture(scope="module")
def subgroups():
    random = np.random.default_rng(0)
    site = np.array(["north", "south", "east"])[random.integers(3, size=500)]
    truth = (random.random(500) < 0.4).astype(int)
    ill = expit(random.normal(size=500) + np.where(site == "east", 0.3, 3) * (truth - 0.5))
    columns = {"site": site, "age": [str(n) for n in random.integers(15, 90, 500)]}
    options = {"kind": "binary", "class_names": ["normal", "ill"], "num_resamples": 199}
    return evaluate_subgroups(np.c_[1 - ill, ill], truth, columns, **options)


def test_subgroup_figure_draws_every_group_and_marks_significant_gaps(subgroups, tmp_path):
    drawn = subgroup_figure(subgroups, split="test")
    rows = save(drawn, tmp_path)
    assert {(row["column"], row["group"]) for row in rows} == {(g.column, g.group) for g in subgroups.groups}
    titles = [axes.get_title(loc="left") for axes in drawn.figure.axes]
    assert len(titles) == 6
    assert titles[0].startswith("AUROC, p = 0.0")


def test_no_group_is_no_figure():
    found = evaluate_subgroups(
        np.full((10, 2), 0.5), np.arange(10) % 2, {"sex": ["F"] * 10}, kind="binary", class_names=["a", "b"]
    )
    with pytest.raises(ValueError, match="no group is large enough"):
        subgroup_figure(found, split="test")


def test_ordinal_figure_counts_every_case(tmp_path):
    random = np.random.default_rng(0)
    truth = random.integers(5, size=300)
    near = np.clip(truth + random.choice([-2, -1, 0, 0, 0, 1], 300), 0, 4)
    probability = 0.7 * np.eye(5)[near] + 0.3 * random.dirichlet(np.ones(5), 300)
    names = [f"KL {k}" for k in range(5)]
    result = evaluate_classification(probability, truth, kind="ordinal", class_names=names, num_resamples=100)
    rows = save(ordinal_figure(result, split="test"), tmp_path)
    assert sum(int(row["cases"]) for row in rows) == 300
    off = sum(abs(int(row["grades_off"])) * int(row["cases"]) for row in rows)
    assert off / 300 == pytest.approx(result.estimates["mae_grades"].value)


def test_regression_figure_draws_what_is_known(tmp_path):
    random = np.random.default_rng(0)
    truth = random.normal(50, 15, 200)
    predicted = 0.85 * truth + 8 + random.normal(0, 5, 200)
    truth[:3] = np.nan
    result = evaluate_regression(predicted, truth, quantity_unit="years", num_resamples=100)
    cases = [f"case{n}" for n in range(200)]
    rows = save(regression_figure(result, predicted, truth, cases, split="test", quantity="age"), tmp_path)
    assert len(rows) == 197
    assert rows[0]["case_id"] == "case3"
    assert float(rows[0]["error"]) == predicted[3] - truth[3]
