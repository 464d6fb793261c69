"""The ledger: rows are durable, torn and damaged lines are survived, answers are sealed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medcnn.batch.ledger import Ledger, Row

ROW = Row("c-1", "a.png", "ok", "model", "settings", "abc", probability={"ill": 0.1}, decision="well", flags=("X: y",))


def test_rows_come_back_and_the_last_one_of_a_case_counts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.jsonl")
    ledger.append(ROW)
    ledger.append(replace(ROW, decision="ill"))
    ledger.append(replace(ROW, case_id="c-2"))
    read = Ledger(tmp_path / "l.jsonl")
    assert dict(read.rows) == {"c-1": replace(ROW, decision="ill"), "c-2": replace(ROW, case_id="c-2")}


def test_what_is_known_is_not_written_again_even_if_it_took_longer(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.jsonl")
    ledger.append(ROW)
    before = ledger.path.read_bytes()
    ledger.append(replace(ROW, seconds=9.0))
    assert ledger.path.read_bytes() == before
    ledger.append(replace(ROW, input_sha256="other"))
    assert ledger.path.read_bytes() != before


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_line_cut_off_by_a_crash_costs_its_case_only(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "l.jsonl"
    ledger = Ledger(path)
    ledger.append(ROW)
    ledger.append(replace(ROW, case_id="c-2"))
    path.write_bytes(path.read_bytes()[:-cut])
    again = Ledger(path)
    whole = {"c-1", "c-2"} if cut == 1 else {"c-1"}  # only the line's end was lost
    assert set(again.rows) == whole
    assert again.damaged_lines == (cut > 1)
    again.append(replace(ROW, case_id="c-3"))
    assert set(Ledger(path).rows) == whole | {"c-3"}


@pytest.mark.parametrize("line", [b"[]", b"{}", b"null", b'{"case_id": "c-9"}', b"\xff\xfe", b'{"flags": 3}'])
def test_foreign_lines_are_passed_over(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "l.jsonl"
    Ledger(path).append(ROW)
    path.write_bytes(line + b"\n" + path.read_bytes())
    assert (list(Ledger(path).rows), Ledger(path).damaged_lines) == (["c-1"], 1)


def test_a_sealed_answer_shows_every_change() -> None:
    sealed = replace(ROW, files={"overlays/c-1.png": "ab"}).sealed()
    assert sealed.is_intact()
    assert replace(sealed, seconds=3.0, seconds_of={"read": 1.0}).is_intact()
    changes = {
        "decision": "ill", "probability": {"ill": 0.9}, "input_sha256": "other", "files": {}, "masks": ("masks/a.png",),
        "volume_ml": {"ill": 1.0}, "expected_dice": {"ill": 0.5}, "disagreement": 0.1,
    }  # fmt: skip
    for name, value in changes.items():
        assert not replace(sealed, **{name: value}).is_intact(), name
    assert not ROW.is_intact()


def test_a_row_of_a_segmenter_comes_back(tmp_path: Path) -> None:
    row = replace(ROW, masks=("masks/a.nii.gz",), volume_ml={"core": 1.5}, seconds_of={"read": 0.1}, disagreement=0.2)
    Ledger(tmp_path / "l.jsonl").append(row)
    assert Ledger(tmp_path / "l.jsonl").rows["c-1"] == row
