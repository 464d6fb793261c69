"""What is said of a predicted number: columns, one case's file, the words of a DICOM report."""

from __future__ import annotations

import json

import pytest

from medcnn.batch.about import About
from medcnn.batch.columns import columns, values
from medcnn.batch.dicom_words import RANGE_HIGH, RANGE_LOW, WITHHELD, unit_code, value_report
from medcnn.batch.ledger import Row
from medcnn.batch.result_file import result_json
from medcnn.batch.results_page import page_parts
from medcnn.batch.summary import summary
from medcnn.inference.expectation import Expectation
from medcnn.inference.prediction import Prediction
from medcnn.io.options import Reading

ABOUT = About(
    kind="regression", model="m" * 16, settings="s", task="xray_value", intended_use="Research.", names=("age",),
    codes={}, spatial_dims=2, reading=Reading(), expects=Expectation((), (), 2, (0, 1), (0, 1), (0, 1), (0, 1)),
    unit="years", digits=1, range="90 % range", coverage=0.9,
)  # fmt: skip
KNOWN = {"model": "m", "settings": "s", "input_sha256": "x"}
ANSWERED = Row("c1", "a.png", "ok", **KNOWN, value=63.24, low=55.0, high=71.5, unit="years")
WITHHELD_ROW = Row("c2", "b.png", "ok", **KNOWN, reason="MODALITY: this scan says MR", unit="years")


def test_columns_hold_the_number_its_range_and_its_unit() -> None:
    names = [column.name for column in columns("regression", ("age",))]
    assert names[3:7] == ["value", "low", "high", "unit"]
    said = values(ANSWERED, "regression", ("age",))
    assert list(said) == names
    assert (said["value"], said["low"], said["high"], said["unit"]) == (63.24, 55.0, 71.5, "years")
    assert values(WITHHELD_ROW, "regression", ("age",))["value"] is None


def test_one_cases_file_says_what_the_number_is() -> None:
    answer = json.loads(result_json(ANSWERED, ABOUT))["answer"]
    assert answer == {
        "quantity": "age", "value": 63.24, "unit": "years", "low": 55.0, "high": 71.5, "coverage": 0.9,
    }  # fmt: skip
    assert json.loads(result_json(WITHHELD_ROW, ABOUT))["answer"] is None


def test_the_page_and_the_summary_tell_answered_from_withheld() -> None:
    page = "".join(page_parts([ANSWERED, WITHHELD_ROW], ABOUT, (), lambda case_id: None))
    assert '"state":"answered"' in page
    assert '"state":"withheld"' in page
    assert '"value":63.24' in page
    lines = list(summary([ANSWERED, WITHHELD_ROW], (), ABOUT, computed=2))
    assert lines[1] == "values: predicted 1, withheld 1"


def test_a_report_measures_the_number_in_its_unit() -> None:
    said = Prediction({}, "", 0.0, value=63.24, low=55.0, high=71.5)
    (group,) = value_report(said, "age", "years").groups
    assert [(one.value, one.unit.value) for one in group.numbers] == [(63.24, "a"), (55.0, "a"), (71.5, "a")]
    assert [one.name for one in group.numbers[1:]] == [RANGE_LOW, RANGE_HIGH]
    assert group.numbers[0].name.meaning == "age"
    report = value_report(Prediction({}, "", 0.0, ("MODALITY: MR",), "MODALITY: MR"), "age", "years")
    assert not report.is_complete
    assert report.groups[0].evaluations[0][1] == WITHHELD
    assert report.groups[0].numbers == ()


@pytest.mark.parametrize(
    ("unit", "code"),
    [("", "1"), ("ml", "cm3"), ("%", "%"), ("Years", "a"), ("points", "{points}"), ("weird {unit}\\x", "{weirdunitx}"),
     ("µ", "1"), ("a very long unit", "{averylongunit}")],
)  # fmt: skip
def test_units_are_ucum_or_a_remark_that_fits(unit: str, code: str) -> None:
    found = unit_code(unit)
    assert found.value == code
    assert len(found.value) <= 16
