"""cases/<name>/result.json: all that is said of a case, and nothing that another run would say otherwise."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import pytest

from medcnn import __version__
from medcnn.batch.about import About
from medcnn.batch.ledger import Row
from medcnn.batch.result_file import file_kind, result_file, result_json
from medcnn.inference.expectation import Expectation
from medcnn.io.options import Reading

WIDE = (0.0, 1.0)
EXPECTS = Expectation((), (), 3, WIDE, WIDE, WIDE, WIDE)
OUTLINES = About(
    "segmentation", "abc123", "set1", "kidneys", "Research only", ("tumour", "kidney"), {"kidney": "64033007"}, 3,
    Reading(), EXPECTS,
)  # fmt: skip
DECIDES = replace(OUTLINES, kind="classification", names=("well", "ill"), codes={})
OUTLINED = Row(
    "c1", "ward/a", "ok", "abc123", "set1", "f00d", series="1.2.3", masks=("masks/ward__a.nii.gz",),
    volume_ml={"tumour": 0.0, "kidney": 151.25}, expected_dice={"kidney": 0.91}, disagreement=0.04,
    flags=("CUT_OFF: the field: ends", "ODD"), seconds=3.3, seconds_of={"read": 1.0}, peak_mb=700.0,
    files={"overlays/c1.png": "bb", "masks/ward__a.nii.gz": "aa", "dicom/ward__a_seg.dcm": "cc"},
)  # fmt: skip
DECIDED = Row("c1", "a.png", "ok", "abc123", "set1", "f00d", probability={"ill": 0.75, "well": 0.25}, decision="ill",
              confidence=0.75)  # fmt: skip


def strict(content: bytes) -> dict[str, Any]:
    """As a reader that takes no NaN and no lone surrogate."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    text = content.decode("utf-8")
    found = json.loads(text, parse_constant=refuse)
    json.dumps(found, ensure_ascii=False).encode("utf-8")
    return found


def test_what_a_segmented_case_says() -> None:
    assert strict(result_json(OUTLINED, OUTLINES)) == {
        "format_version": 1,
        "notice": "for research use only",
        "case_id": "c1",
        "reference": "ward/a",
        "series_instance_uid": "1.2.3",
        "input_sha256": "f00d",
        "status": "ok",
        "rejection": None,
        "withheld": None,
        "answer": {
            "disagreement": 0.04,
            "structures": {
                "tumour": {"volume_ml": 0.0, "expected_dice": None, "snomed_ct": None},
                "kidney": {"volume_ml": 151.25, "expected_dice": 0.91, "snomed_ct": "64033007"},
            },
        },
        "flags": [{"code": "CUT_OFF", "text": "the field: ends"}, {"code": "ODD", "text": ""}],
        "files": [
            {"path": "dicom/ward__a_seg.dcm", "kind": "dicom_seg", "sha256": "cc"},
            {"path": "masks/ward__a.nii.gz", "kind": "mask", "sha256": "aa"},
            {"path": "overlays/c1.png", "kind": "overlay", "sha256": "bb"},
        ],
        "model": {
            "digest": "abc123",
            "settings": "set1",
            "medcnn_version": __version__,
            "kind": "segmentation",
            "task": "kidneys",
            "intended_use": "Research only",
        },
    }


def test_what_a_classified_case_says_in_the_models_order() -> None:
    answer = strict(result_json(DECIDED, DECIDES))["answer"]
    assert answer == {
        "decision": "ill",
        "confidence": 0.75,
        "set": None,
        "classes": {
            "well": {"probability": 0.25, "snomed_ct": None},
            "ill": {"probability": 0.75, "snomed_ct": None},
        },
    }
    assert list(answer["classes"]) == ["well", "ill"]


def test_a_prediction_set_is_a_list_and_an_empty_one_is_told_from_none() -> None:
    for held in ((), ("well", "ill")):
        said = strict(result_json(replace(DECIDED, conformal_set=held), DECIDES))
        assert said["answer"]["set"] == list(held)


def test_a_rejected_case_has_no_answer_but_what_to_do() -> None:
    row = Row("c1", "a", "rejected", "m", "s", "", reason_code="TRUNCATED", found="it ends", remedy="Copy it again")
    for about in (OUTLINES, DECIDES):
        said = strict(result_json(row, about))
        assert (said["status"], said["answer"], said["files"], said["input_sha256"]) == ("rejected", None, [], None)
        assert said["rejection"] == {"code": "TRUNCATED", "found": "it ends", "remedy": "Copy it again"}


def test_a_withheld_answer_says_why() -> None:
    why = "MODALITY: this scan says CT, the model knows MR"
    said = strict(result_json(replace(OUTLINED, masks=(), volume_ml={}, reason=why, flags=(why,)), OUTLINES))
    assert (said["withheld"], said["answer"], said["flags"][0]["code"]) == (why, None, "MODALITY")
    decided = strict(result_json(replace(DECIDED, decision="", confidence=None, reason=why), DECIDES))
    assert (decided["answer"]["decision"], decided["answer"]["confidence"], decided["withheld"]) == (None, None, why)
    assert decided["answer"]["classes"]["ill"]["probability"] == 0.75


def test_neither_times_nor_its_own_hash_nor_the_order_of_writing_change_a_byte() -> None:
    plain = result_json(OUTLINED, OUTLINES)
    files = dict(reversed(OUTLINED.files.items())) | {"cases/ward__a/result.json": "dd"}
    other = replace(OUTLINED, seconds=9.9, seconds_of={}, peak_mb=None, files=files).sealed()
    assert result_json(other, OUTLINES) == plain
    assert plain.endswith(b"}\n")
    assert b'\n  "notice"' in plain
    for word in (b"3.3", b"700", b"seconds"):
        assert word not in plain


@pytest.mark.parametrize("name", [os.fsdecode(b"\xff.dcm"), "\ud800", 'a"\n\x00.dcm', "日本"])
def test_any_name_is_valid_json(name: str) -> None:
    said = strict(result_json(replace(OUTLINED, reference=name, files={f"masks/{name}": "aa"}), OUTLINES))
    assert said["reference"] == {"\udcff.dcm": r"\xff.dcm", "\ud800": r"\ud800"}.get(name, name)


def test_no_number_that_is_none() -> None:
    odd = {"tumour": float("nan"), "kidney": float("inf")}
    said = strict(result_json(replace(OUTLINED, volume_ml=odd, disagreement=float("nan")), OUTLINES))
    assert said["answer"]["disagreement"] is None
    assert {found["volume_ml"] for found in said["answer"]["structures"].values()} == {None}


def test_kinds_of_files() -> None:
    kinds = {
        "masks/a.nii.gz": "mask", "overlays/c.png": "overlay", "probabilities/a_x.nii.gz": "probability_map",
        "uncertainty/a.nii.gz": "uncertainty_map", "saliency/a.png": "saliency_map", "thumbnails/c.webp": "thumbnail",
        "views/c.js": "view", "dicom/a_seg.dcm": "dicom_seg", "dicom/a_sr.dcm": "dicom_sr",
        "dicom/a_sc.dcm": "dicom_sc", "dicom/a_sr_seg.dcm": "dicom_seg", "else/a": "other",
    }  # fmt: skip
    assert {path: file_kind(path) for path in kinds} == kinds
    assert result_file("ward__a") == "cases/ward__a/result.json"
