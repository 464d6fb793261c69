"""Columns of predictions.*: their names and order are what other people's programs rely on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from medcnn.batch.columns import columns, values
from medcnn.batch.ledger import Row

TIMES = ["seconds", "seconds_read", "seconds_compute", "seconds_restore", "seconds_write", "peak_mb"]


def row(**said) -> Row:
    return Row("c1", "a/b.dcm", said.pop("status", "ok"), "m", "s", "h", **said)


def test_of_a_classifier() -> None:
    found = [column.name for column in columns("classification", ("well", "ill"))]
    assert found == [
        "case_id", "reference", "series", "p.well", "p.ill", "decision", "confidence", "set", "flags", "reason_code",
        "reason", "status", *TIMES,
    ]  # fmt: skip


def test_of_a_segmenter() -> None:
    found = [column.name for column in columns("segmentation", ("rim", "core"))]
    assert found == [
        "case_id", "reference", "series", "status", "mask", "volume_ml.rim", "volume_ml.core", "expected_dice.rim",
        "expected_dice.core", "disagreement", "flags", "reason_code", "reason", *TIMES,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_values_come_in_the_columns_order_and_of_their_kind(kind) -> None:
    said = values(row(probability={"x": 0.5}, volume_ml={"x": 2}, masks=("masks/a.png",)), kind, ("x", "y"))
    wanted = columns(kind, ("x", "y"))
    assert list(said) == [column.name for column in wanted]
    for column in wanted:
        assert said[column.name] is None or isinstance(said[column.name], float if column.is_number else str)


def test_what_a_classified_case_says() -> None:
    said = values(
        row(
            probability={"well": 0.25, "ill": 0.75}, decision="ill", confidence=0.75, flags=("A: one", "B: two"),
            seconds=1.5, seconds_of={"read": 1.0}, peak_mb=512.25, series="1.2.3",
        ),
        "classification",
        ("well", "ill"),
    )  # fmt: skip
    assert said == {
        "case_id": "c1", "reference": "a/b.dcm", "series": "1.2.3", "p.well": 0.25, "p.ill": 0.75, "decision": "ill",
        "confidence": 0.75, "set": None, "flags": "A: one | B: two", "reason_code": None, "reason": None,
        "status": "ok", "seconds": 1.5, "seconds_read": 1.0, "seconds_compute": None, "seconds_restore": None,
        "seconds_write": None, "peak_mb": 512.25,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("held", "said"), [(None, None), (("ill",), "ill"), (("well", "ill"), "well | ill"), ((), "(empty)")]
)
def test_a_prediction_set_in_words(held: tuple[str, ...] | None, said: str | None) -> None:
    assert values(row(conformal_set=held), "classification", ("well", "ill"))["set"] == said


def test_a_segmented_case_with_a_structure_that_was_not_found_and_one_that_is_no_number() -> None:
    said = values(
        row(masks=("masks/a.nii.gz", "masks/b.nii.gz"), volume_ml={"rim": 1.5, "core": 0.0},
            expected_dice={"rim": float("nan")}, disagreement=float("inf")),
        "segmentation",
        ("rim", "core"),
    )  # fmt: skip
    assert (said["mask"], said["volume_ml.core"]) == ("masks/a.nii.gz | masks/b.nii.gz", 0.0)
    assert (said["expected_dice.rim"], said["expected_dice.core"], said["disagreement"]) == (None, None, None)


def test_a_rejection_is_said_in_words_and_by_its_code() -> None:
    said = values(row(status="rejected", reason_code="TRUNCATED", found="cut", remedy="Copy"), "segmentation", ("a",))
    assert (said["reason_code"], said["reason"], said["mask"]) == ("TRUNCATED", "TRUNCATED: cut. Copy", None)


def test_who_leads_needs_no_torch() -> None:
    program = (
        "import sys, medcnn.batch.columns, medcnn.batch.prediction_tables, medcnn.batch.result_file\n"
        "print([name for name in ('torch', 'monai', 'pandas', 'pyarrow', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
