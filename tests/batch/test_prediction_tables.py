"""predictions.csv and .parquet, read back by pandas and by Python's own csv."""

from __future__ import annotations

import csv
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
from pyarrow import parquet

from medcnn.batch.about import About
from medcnn.batch.columns import columns, values
from medcnn.batch.ledger import Row
from medcnn.batch.prediction_tables import write_parquet, write_tables
from medcnn.inference.expectation import Expectation
from medcnn.io.options import Reading

WIDE = (0.0, 1.0)
ABOUT = About(
    "segmentation", "abc123", "s", "liver", "Research only: “look”", ("rim", "core"), {}, 3, Reading(),
    Expectation((), (), 3, WIDE, WIDE, WIDE, WIDE),
)  # fmt: skip
GOOD = Row(
    "c1", "ward/a.nii.gz", "ok", "abc123", "s", "h", masks=("masks/ward__a.nii.gz",), seconds=1.23456,
    volume_ml={"rim": 1 / 3, "core": 0.0}, expected_dice={"rim": 0.91}, flags=("CUT_OFF: a, b", "EMPTY: x"),
)  # fmt: skip
BAD = Row("c2", "b.dcm", "rejected", "abc123", "s", "", reason_code="TRUNCATED", found="it ends", remedy="Copy it")


def as_csv(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return list(csv.DictReader(stream))


def test_both_tables_say_the_same_to_pandas(tmp_path: Path) -> None:
    write_tables(tmp_path, ABOUT, [GOOD, BAD])
    text, typed = pandas.read_csv(tmp_path / "predictions.csv"), pandas.read_parquet(tmp_path / "predictions.parquet")
    assert list(text.columns) == list(typed.columns)
    for name in text.columns:
        assert list(text[name].isna()) == list(typed[name].isna()), name
        if typed[name].dtype == "float64":
            assert text[name].dropna().tolist() == pytest.approx(typed[name].dropna().tolist(), abs=1e-3)
        else:
            assert text[name].dropna().tolist() == typed[name].dropna().tolist(), name
    assert typed["volume_ml.rim"][0] == 1 / 3
    assert typed[typed["flags"].str.contains("CUT_OFF", na=False)].case_id.tolist() == ["c1"]
    assert typed.reason_code.tolist()[1] == "TRUNCATED"


def test_the_text_table_is_rounded_lf_and_private(tmp_path: Path) -> None:
    write_tables(tmp_path, ABOUT, [GOOD])
    content = (tmp_path / "predictions.csv").read_bytes()
    assert b"\r" not in content
    assert b",0.3333,0.0000,0.9100,," in content
    assert b",1.235," in content
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["predictions.csv", "predictions.parquet"]


def test_parquet_says_whose_answers_they_are_and_has_columns_of_one_kind(tmp_path: Path) -> None:
    write_tables(tmp_path, ABOUT, [BAD])  # nothing but nulls in the numbers
    schema = parquet.read_schema(tmp_path / "predictions.parquet")
    said = {key.decode(): text.decode() for key, text in schema.metadata.items()}
    assert (said["model"], said["intended_use"], said["task"]) == ("abc123", "Research only: “look”", "liver")
    assert said["medcnn_version"]
    assert {str(schema.field(name).type) for name in ("volume_ml.rim", "peak_mb", "seconds")} == {"double"}
    assert {str(schema.field(name).type) for name in ("case_id", "flags", "mask")} == {"string"}


def test_equal_rows_give_equal_bytes_wherever(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_tables(tmp_path / name, ABOUT, [GOOD, BAD] * 50)
    for file in ("predictions.csv", "predictions.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


HOSTILE = [
    os.fsdecode(b"caf\xe9/\xff.dcm"), "\ud800.dcm", "a\rb.dcm", "a\nb.dcm", "a\r\nb,c.dcm", 'say "x".dcm', "=1+1.dcm",
    "\ttab.dcm", "-2.dcm", "@x", "ümläut/日本.dcm", "\x01\x1b[31m.dcm", "null\x00.dcm", "plain.dcm", " spaces ",
    " a, b ",
]  # fmt: skip


def test_no_name_breaks_them(tmp_path: Path) -> None:
    rows = [replace(GOOD, reference=name, case_id=f"c{n}") for n, name in enumerate(HOSTILE)]
    write_tables(tmp_path, ABOUT, rows)
    found = [line["reference"] for line in as_csv(tmp_path)]
    quoted = [f"'{name}" if name[0] in "=+-@\t" else name for name in HOSTILE]
    quoted[1] = r"\ud800.dcm"
    assert found == quoted
    typed = pandas.read_parquet(tmp_path / "predictions.parquet").reference.tolist()
    assert typed == [r"caf\xe9/\xff.dcm", r"\ud800.dcm", *HOSTILE[2:]]


def test_a_structure_may_be_called_anything(tmp_path: Path) -> None:
    about = replace(ABOUT, names=("left, upper", 'the "core"', "\udcff"))
    row = replace(GOOD, volume_ml={"left, upper": 2.0}, expected_dice={})
    write_tables(tmp_path, about, [row])
    assert as_csv(tmp_path)[0]["volume_ml.left, upper"] == "2.0000"
    assert pandas.read_parquet(tmp_path / "predictions.parquet")["volume_ml.left, upper"].tolist() == [2.0]


def test_no_case_at_all(tmp_path: Path) -> None:
    write_tables(tmp_path, ABOUT, [])
    assert as_csv(tmp_path) == []
    assert len(pandas.read_parquet(tmp_path / "predictions.parquet")) == 0


def test_many_rows_are_never_all_held(tmp_path: Path) -> None:
    wanted = columns("segmentation", ("a", "b"))
    lines = (values(replace(GOOD, case_id=f"c{n}"), "segmentation", ("a", "b")) for n in range(12_000))
    tracemalloc.start()
    write_parquet(tmp_path / "p.parquet", wanted, lines, {})
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5e6  # 2.7 MB; all of them as Python values take 8.4
    assert parquet.read_metadata(tmp_path / "p.parquet").num_rows == 12_000


def test_a_full_disk_leaves_the_old_table(tmp_path: Path) -> None:
    write_tables(tmp_path, ABOUT, [GOOD])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def broken():
        yield values(GOOD, "segmentation", ("rim", "core"))
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_parquet(tmp_path / "predictions.parquet", columns("segmentation", ("rim", "core")), broken(), {})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
