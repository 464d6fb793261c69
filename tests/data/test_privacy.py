"""Keyed names: what may leave the private zone."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medcnn.data.dataset import write_used_manifest
from medcnn.data.manifest import Case
from medcnn.data.privacy import Keyring, key_file
from medcnn.errors import DataError


@pytest.fixture
def widest_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("widest_umask")
def test_the_key_is_private_and_made_once(tmp_path: Path) -> None:
    file = tmp_path / "runs" / ".medcnn" / "key"
    one = Keyring.at(file)
    content = file.read_bytes()
    other = Keyring.at(file)
    assert len(content) == 32
    assert file.read_bytes() == content
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert one.patient_key("P-1") == other.patient_key("P-1")


def test_names_are_hmac_sha256_of_the_key(tmp_path: Path) -> None:
    import hashlib

    key = bytes(range(32))
    (tmp_path / "key").write_bytes(key)
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in key.ljust(64, b"\0")) + b"patient\0P-1").digest()
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in key.ljust(64, b"\0")) + inner).hexdigest()
    assert Keyring.at(tmp_path / "key").patient_key("P-1") == f"p-{outer[:16]}"  # RFC 2104, by hand


def test_another_key_gives_names_that_cannot_be_linked() -> None:
    one, other = Keyring(b"1" * 32), Keyring(b"2" * 32)
    assert one.patient_key("P-1") != other.patient_key("P-1")
    assert one.case_id(["1.2.3"], "") != other.case_id(["1.2.3"], "")
    assert one.patient_key("P-1") != one.patient_key("P-2")
    assert one.patient_key("1.2.3")[2:] != one.case_id(["1.2.3"], "")[2:]  # a patient is no case


def test_a_case_is_named_by_its_content_then_by_its_place() -> None:
    keys = Keyring(b"k" * 32)
    assert keys.case_id(["1.2", "1.3"], "a.dcm") == keys.case_id(["1.3", "1.2"], "moved/b.dcm")
    assert keys.case_id([], "a.png") != keys.case_id([], "b.png")
    assert keys.case_id(["1.2", "1.3"], "") != keys.case_id(["1.21.3"], "")
    assert keys.patient_key("") == ""


def test_a_damaged_key_is_not_replaced_behind_ones_back(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(DataError, match=r"the privacy key .* is damaged\. Restore it"):
        Keyring.at(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == b"short"


def test_where_the_key_lies(tmp_path: Path) -> None:
    assert key_file("", tmp_path) == tmp_path / ".medcnn" / "key"
    assert key_file("~/keys/a", tmp_path) == Path.home() / "keys" / "a"


@pytest.mark.parametrize("shareable", [True, False])
def test_no_patient_id_is_in_a_written_manifest(
    tmp_path: Path, cases: Callable[..., list[Case]], shareable: bool
) -> None:
    keys = Keyring(b"k" * 32)
    rows = cases(("a", "canary-4711", "train"), ("b", "canary-0815", "test"), ("b", "", "test"))
    write_used_manifest(tmp_path / "manifest.csv", rows, keys, shareable=shareable)
    lines = (tmp_path / "manifest.csv").read_text().splitlines()
    assert "canary" not in "\n".join(lines)
    assert lines[0] == ("case_id,patient_key,label,split" if shareable else "case_id,patient_key,image,label,split")
    assert (".png" in "\n".join(lines)) == (not shareable)
    assert lines[1].split(",")[1] == keys.patient_key("canary-4711")
    assert lines[3].split(",")[1] == ""


@pytest.mark.parametrize("formula", ["=cmd()", "+1+1", "@SUM(A1)"])
def test_a_spreadsheet_runs_nothing(tmp_path: Path, formula: str) -> None:
    case = Case(formula, {"": "a.png"}, {"": formula}, "p", "train")
    write_used_manifest(tmp_path / "manifest.csv", [case], Keyring(b"k" * 32), shareable=True)
    cells = (tmp_path / "manifest.csv").read_text().splitlines()[1].split(",")
    assert (cells[0], cells[2]) == (f"'{formula}", f"'{formula}")
