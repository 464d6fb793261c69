from __future__ import annotations

from pathlib import Path

import pytest

from medcnn.io.reference import Reference, resolve
from medcnn.scan import Reason, ScanRejected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b.dcm", Reference("a/b.dcm")),
        ("a#series=1.2.3", Reference("a", series="1.2.3")),
        ("a.dcm#frame=7", Reference("a.dcm", frame=7)),
        ("a.npz#row=train/17", Reference("a.npz", row=("train", 17))),
        ("odd#name/b#2.png", Reference("odd#name/b#2.png")),
    ],
)
def test_a_reference_reads_back_as_written(text: str, expected: Reference) -> None:
    assert Reference.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["a#frame=-1", "a#frame=x", "a#row=17", "a#row=train/x"])
def test_a_malformed_selector_is_refused(text: str) -> None:
    with pytest.raises(ScanRejected, match="malformed"):
        Reference.parse(text)


@pytest.mark.parametrize("text", ["/etc/passwd", "../x", "a/../../x", "..\\x", "C:\\x", "link/passwd", "", "a\0b"])
def test_a_reference_cannot_leave_its_root(tmp_path: Path, text: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "x").write_text("secret")
    (tmp_path / "root" / "link").symlink_to("/etc")
    with pytest.raises(ScanRejected) as caught:
        resolve(tmp_path / "root", text)
    assert caught.value.rejection.code is Reason.PATH_ESCAPE


def test_a_link_inside_the_root_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("here")
    (tmp_path / "b").symlink_to("a")
    assert resolve(tmp_path, "b") == (tmp_path / "a").resolve()


def test_a_missing_file_and_a_loop_of_links_are_read_errors(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for text in ("missing", "loop"):
        with pytest.raises(ScanRejected) as caught:
            resolve(tmp_path, text)
        assert caught.value.rejection.code is Reason.READ_ERROR
