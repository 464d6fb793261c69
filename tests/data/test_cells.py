"""Cells that a spreadsheet runs nothing of, and that come back as they were."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from medcnn.data.cells import from_cell, to_cell

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20).filter(
    lambda text: text == text.rstrip()
)


@pytest.mark.case("S04")
@given(TEXT | st.text("'=+-@\t\r a1", max_size=6).filter(lambda text: text == text.rstrip()))
@example("=cmd()")
@example("''=x")
@example("' x")
@example(" leading")
@example("-12.5e3")
def test_every_text_comes_back_and_none_is_run(text: str) -> None:
    cell = to_cell(text)
    assert from_cell(cell) == text
    assert from_cell(f"  {cell} ") == text
    if cell and cell[0] in "=+-@\t\r":
        float(cell)  # a plain number, which is no formula


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-x.png", "'-x.png"),
        ("-0.5", "-0.5"),
        ("+3", "+3"),
        ("o'k", "o'k"),
    ],
)
def test_what_is_written(text: str, cell: str) -> None:
    assert to_cell(text) == cell


@pytest.mark.parametrize("text", ["end ", "a\0b", "not\udcff utf-8"])
def test_what_no_cell_keeps(text: str) -> None:
    with pytest.raises(ValueError, match=r"space|NUL|UTF-8"):
        to_cell(text)
