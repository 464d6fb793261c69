"""The table of segmented cases: what is written is read back, and what is no such table is refused."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from medcnn.errors import DataError
from medcnn.evaluation.segmentation.scores import CaseScores, StructureScores, score_case
from medcnn.evaluation.segmentation.units import PICTURE, VOLUME
from medcnn.reporting.case_table import read_case_scores, write_case_scores


def scored(seed=0, names=("a", "=b", "c")):
    truth, predicted = np.random.default_rng(seed).integers(0, 3, (2, 1, 7, 6, 5)).astype(np.uint8)
    return score_case(f"c{seed}", truth, predicted, names, spacing_mm=(0.7, 1.0, 1 / 3), patient_key="p1", split="test")


def same(one, other):
    assert (one.case_id, one.patient_key, one.split, one.units) == (
        other.case_id, other.patient_key, other.split, other.units,
    )  # fmt: skip
    assert list(one.structures) == list(other.structures)
    for name, found in one.structures.items():
        wanted = vars(other.structures[name])
        assert all(v == wanted[k] or (v != v and wanted[k] != wanted[k]) for k, v in vars(found).items()), name


def test_nothing_is_lost_on_the_way(tmp_path):
    cases = [scored(0), scored(1)]
    write_case_scores(tmp_path / "predictions.csv", cases)
    for one, other in zip(read_case_scores(tmp_path / "predictions.csv"), cases, strict=True):
        same(one, other)


def test_columns_are_those_that_are_documented(tmp_path):
    write_case_scores(tmp_path / "predictions.csv", [scored()])
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    assert list(rows[0]) == [
        "case_id", "patient_key", "split", "structure", "dice", "iou", "nsd", "nsd_tolerance_mm", "hd95_mm", "hd_mm",
        "assd_mm", "truth_ml", "predicted_ml", "state",
    ]  # fmt: skip
    assert rows[1]["structure"] == "'=b"  # a spreadsheet would run it
    assert (rows[2]["state"], rows[2]["dice"]) == ("true_negative", "")


def test_pictures_have_columns_of_their_own(tmp_path):
    nothing = StructureScores("true_negative", *[math.nan] * 6, 0.0, 0.0)
    write_case_scores(tmp_path / "p.csv", [CaseScores("c", {"lung": nothing}, PICTURE)])
    assert "truth_cm2" in (tmp_path / "p.csv").read_text()
    assert read_case_scores(tmp_path / "p.csv")[0].units == PICTURE
    with pytest.raises(ValueError, match="different units"):
        write_case_scores(tmp_path / "q.csv", [CaseScores("c", {}, PICTURE), CaseScores("d", {}, VOLUME)])


def test_other_tables_are_refused_without_naming_a_case(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text("case_id,patient_key,split,label,p.x\nsecret,p,test,x,1\n")
    with pytest.raises(DataError, match="is no table of segmented cases: it lacks structure, dice"):
        read_case_scores(path)
    write_case_scores(path, [scored()])
    good = path.read_text()
    for damaged, complaint in (
        (good.replace("both", "maybe", 1), "line 2: state must be one of"),
        (good.replace("test,a,0", "test,a,x0", 1), "line 2: a measure is not a number"),
        (
            "\n".join([*good.splitlines(), good.splitlines()[1].replace("c0", "c1")]),
            "not every case has every structure",
        ),
        (good + good.splitlines()[1] + "\n", "line 5: this case has 'a' twice"),
    ):
        path.write_text(damaged)
        with pytest.raises(DataError, match=complaint) as caught:
            read_case_scores(path)
        assert "c0" not in str(caught.value)
