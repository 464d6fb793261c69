"""Cells of a table that a spreadsheet may open: none of them is run as a formula, and all come back as they were.

A text that begins with = + - @, a tab or a carriage return gets an apostrophe in front, as spreadsheets themselves
mark text; reading takes it away again. A plain number keeps its sign. A text that already begins with apostrophes
before such a character gets one more, so that nothing is ever read back as something else.
"""

from __future__ import annotations

import re

_RUN = re.compile(r"'*[=+\-@\t\r]")
_MARKED = re.compile(r"'+[=+\-@\t\r]")
_SPACED = re.compile(r"'*\s")
_MARKED_SPACE = re.compile(r"'+\s")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")


def to_cell(text: str) -> str:
    """What is written. Raises ValueError for what no cell keeps: spaces at the end, NUL, bytes that are no UTF-8."""
    if text != text.rstrip():
        raise ValueError("ends with a space, which a table does not keep")
    if "\0" in text:
        raise ValueError("holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is no UTF-8") from None
    if _NUMBER.match(text):
        return text
    return f"'{text}" if _RUN.match(text) or _SPACED.match(text) else text


def from_cell(text: str | None) -> str:
    """What was meant; spaces around it mean nothing."""
    text = (text or "").strip()
    return text[1:] if _MARKED.match(text) or _MARKED_SPACE.match(text) else text
