"""python -m medcnn.compare: two runs side by side, and clear refusals."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wilcoxon

from medcnn import compare as command
from medcnn.config.compare import CompareConf
from medcnn.config.errors import ConfigError
from medcnn.errors import DataError
from medcnn.evaluation.segmentation.scores import CaseScores, StructureScores
from medcnn.evaluation.segmentation.units import VOLUME
from medcnn.reporting.case_table import write_case_scores

RANDOM = np.random.default_rng(0)
DICE = RANDOM.uniform(0.6, 0.9, (20, 2))


def segmented(folder: Path, dice=DICE, *, split="test", first=0) -> str:
    cases = []
    for i, values in enumerate(dice):
        found = {
            name: StructureScores("both", d, d / (2 - d), d, 2 - d, 3 - d, 1 - d, 5.0, 5.0 * d)
            for name, d in zip(("left", "right"), values, strict=True)
        }
        cases.append(CaseScores(f"c{first + i}", found, VOLUME, f"p{first + i}", split))
    folder.mkdir(parents=True, exist_ok=True)
    write_case_scores(folder / "predictions.csv", cases)
    return str(folder)


def classified(folder: Path, score, truth, names=("no", "yes"), split="test") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case_id", "patient_key", "split", "label", *(f"p.{n}" for n in names), "decision"])
        for i, (s, t) in enumerate(zip(score, truth, strict=True)):
            writer.writerow([f"c{i}", f"p{i}", split, names[t], 1 - s, s, names[int(s > 0.5)]])
    return str(folder)


def conf(tmp_path: Path, *runs: str, **more) -> CompareConf:
    return CompareConf(runs=list(runs), output=str(tmp_path / "out"), **({"resamples": 200} | more))


def told(words: list[str], capsys, monkeypatch) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["compare", *words])
    with pytest.raises(SystemExit) as stop:
        command.main()
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out + said.err


def test_two_segmentations_become_a_page_a_table_and_numbers(tmp_path, capsys, monkeypatch):
    better = DICE + RANDOM.normal(0.02, 0.01, DICE.shape)
    runs = segmented(tmp_path / "a", better), segmented(tmp_path / "b")
    words = [f"runs=[{','.join(runs)}]", f"output={tmp_path / 'out'}", "names=[new,old]", "resamples=200"]
    code, said = told(words, capsys, monkeypatch)
    assert code == 0, said
    assert "20 cases of 20 patients in both" in said
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    row = next(r for r in content["rows"] if (r["structure"], r["metric"]) == ("left", "dice"))
    assert row["difference"] == pytest.approx((better - DICE)[:, 0].mean())
    assert row["wilcoxon_p"] == pytest.approx(wilcoxon(better[:, 0], DICE[:, 0], method="exact").pvalue)
    assert row["low"] < row["difference"] < row["high"]
    assert f"{row['difference']:.3f}" in said
    rows = list(csv.DictReader((tmp_path / "out" / "comparison.csv").open()))
    assert float(rows[0]["difference"]) == row["difference"]
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "new against old" in page
    assert str(tmp_path) not in page
    assert page.count("data:image/png") == 2
    assert (tmp_path / "out" / "figures" / "paired_dice.csv").is_file()


def test_rows_per_patient_and_rows_per_image_are_not_compared(tmp_path):
    random = np.random.default_rng(1)
    truth, score = random.integers(2, size=40), random.uniform(0.1, 0.9, 40)
    patients, images = (classified(tmp_path / name, score, truth) for name in "ab")
    (Path(patients) / "metrics.json").write_text(json.dumps({"test": {}, "aggregate": {"rule": "mean"}}))
    (Path(images) / "metrics.json").write_text(json.dumps({"test": {}}))
    for runs, said in (
        ((patients, images), "A has a row per patient"),
        ((images, patients), "B has a row per patient"),
    ):
        with pytest.raises(DataError, match=said):
            command.compare(conf(tmp_path, *runs))
    (Path(images) / "metrics.json").write_text(json.dumps({"test": {}, "aggregate": {"rule": "max"}}))
    assert command.compare(conf(tmp_path, patients, images)).num_cases == 40


def test_the_same_folder_content_gives_the_same_bytes(tmp_path):
    runs = segmented(tmp_path / "a", DICE + 0.01), segmented(tmp_path / "b")
    for out in ("x", "y"):
        command.compare(CompareConf(runs=list(runs), output=str(tmp_path / out), resamples=200))
    for name in ("comparison.json", "comparison.html", "comparison.csv"):
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()


def test_common_cases_are_used_and_the_others_counted(tmp_path):
    found = command.compare(conf(tmp_path, segmented(tmp_path / "a"), segmented(tmp_path / "b", DICE[3:], first=3)))
    assert (found.num_cases, found.num_left_out) == (17, 3)
    assert "left out, since only one run has them: 3 cases" in (tmp_path / "out" / "comparison.html").read_text()


def test_two_classifications_are_compared_by_auroc(tmp_path):
    truth = RANDOM.integers(0, 2, 80)
    good = np.clip(0.3 + 0.4 * truth + RANDOM.normal(0, 0.2, 80), 0.01, 0.99)
    runs = classified(tmp_path / "a", good, truth), classified(tmp_path / "b", RANDOM.random(80), truth)
    found = command.compare(conf(tmp_path, *runs))
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [row["class"] for row in content["rows"]] == ["yes"]
    assert content["rows"][0]["method"] == "delong"
    assert content["rows"][0]["a"] > 0.85
    assert content["rows"][0]["p"] < 0.001
    assert found.kind == "classification"


def test_several_cases_of_a_patient_are_compared_by_the_patient_bootstrap(tmp_path):
    truth = np.repeat(RANDOM.integers(0, 2, 40), 2)
    runs = [classified(tmp_path / name, RANDOM.random(80), truth) for name in "ab"]
    for run in runs:
        table = Path(run) / "predictions.csv"
        table.write_text("".join(
            line.replace(f",p{n - 1},", f",p{(n - 1) // 2},") if n else line
            for n, line in enumerate(table.read_text().splitlines(keepends=True))
        ))  # fmt: skip
    found = command.compare(conf(tmp_path, *runs))
    assert (found.num_cases, found.num_patients) == (80, 40)
    (row,) = json.loads((tmp_path / "out" / "comparison.json").read_text())["rows"]
    assert (row["method"], row["unit"]) == ("paired bootstrap", "patient")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda at: segmented(at, DICE, first=100), "no case in common"),
        (lambda at: segmented(at, DICE, split="val"), "no split in common .A has test; B has val"),
        (lambda at: classified(at, [0.5] * 4, [0, 1, 0, 1]), "A is a segmentation, B is a classification"),
    ],
)
def test_runs_that_do_not_fit_together_are_refused(make, complaint, tmp_path):
    with pytest.raises(DataError, match=complaint):
        command.compare(conf(tmp_path, segmented(tmp_path / "a"), make(tmp_path / "b")))
    assert not (tmp_path / "out").exists()


def test_other_labels_and_multilabel_runs_are_refused(tmp_path):
    truth = np.arange(8) % 2
    a = classified(tmp_path / "a", truth * 0.6 + 0.2, truth)
    with pytest.raises(DataError, match="8 of 8 common cases have another label"):
        command.compare(conf(tmp_path, a, classified(tmp_path / "b", truth * 0.6 + 0.2, 1 - truth)))
    both = Path(classified(tmp_path / "c", truth * 0.6 + 0.2, truth)) / "predictions.csv"
    both.write_text("case_id,patient_key,split,label,p.x,p.y\nc1,p1,test,x+y,0.9,0.8\n")
    with pytest.raises(DataError, match="multi-label run, which cannot be compared"):
        command.compare(conf(tmp_path, a, str(both.parent)))


def test_a_split_must_be_named_where_several_could_be_meant(tmp_path):
    for name in "ab":
        table = Path(segmented(tmp_path / name, split="train")) / "predictions.csv"
        text = table.read_text()
        table.write_text(text + "".join(text.splitlines(keepends=True)[1:]).replace("train", "val"))
    runs = str(tmp_path / "a"), str(tmp_path / "b")
    with pytest.raises(DataError, match=r"both runs hold train, val\. Say which one counts: split=train"):
        command.compare(conf(tmp_path, *runs))
    assert command.compare(conf(tmp_path, *runs, split="val")).num_cases == 20


def test_a_wrong_command_line_is_answered_before_anything_is_read(tmp_path, capsys, monkeypatch):
    run = segmented(tmp_path / "a")
    code, said = told([f"runs=[{run}]", f"output={tmp_path / 'out'}"], capsys, monkeypatch)
    assert (code, "runs: two folders are compared, got 1. Write runs=[<run A>,<run B>]" in said) == (2, True)
    code, said = told([f"runs=[{run},{tmp_path}]", f"output={tmp_path / 'out'}"], capsys, monkeypatch)
    assert (code, "there is no predictions.csv in" in said) == (2, True)
    code, said = told([f"runs=[{run},{tmp_path}]"], capsys, monkeypatch)
    assert (code, "output" in said) == (2, True)
    with pytest.raises(ConfigError, match="both are the same folder"):
        command.compare(conf(tmp_path, run, run))
    with pytest.raises(ConfigError, match="they hold no path"):
        command.compare(conf(tmp_path, run, run, names=["a/b", "c"]))
