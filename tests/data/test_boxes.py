"""Boxes in a manifest's cell: what they mean, and everything that is none."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medcnn.data.boxes import Box, read_boxes, write_boxes

EDGES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2, unique=True).map(sorted)


def test_boxes_of_pictures_and_volumes() -> None:
    cell = '[{"box":[23,29,32.5,40],"class":"opacity"},{"box":[0,0,0,4,5,6],"class":"core"}]'
    boxes = [Box((23, 29, 32.5, 40), "opacity"), Box((0, 0, 0, 4, 5, 6), "core")]
    assert read_boxes(cell) == boxes
    assert write_boxes(boxes) == cell
    assert read_boxes("") == read_boxes("[]") == []


@given(st.lists(st.tuples(EDGES, EDGES, st.text(min_size=1, max_size=8)), max_size=5))
def test_what_is_written_is_read(rows: list[tuple[list[float], list[float], str]]) -> None:
    boxes = [Box((x[0], y[0], x[1], y[1]), name) for x, y, name in rows]
    assert read_boxes(write_boxes(boxes)) == boxes


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("{}", "is no list"),
        ("[3]", 'box 1 has no "box" or no "class"'),
        ('[{"box":[0,0,1,1]}]', "box 1 has no"),
        ('[{"box":[0,0,1,1],"class":3}]', 'box 1: "class" is no text'),
        ('[{"box":[0,0,1,1],"class":""}]', "is no text"),
        ('[{"box":[0,0,1],"class":"a"}]', "is not 4 numbers"),
        ('[{"box":[0,0,1,true],"class":"a"}]', "is not 4 numbers"),
        ('[{"box":[0,0,1,NaN],"class":"a"}]', "is not 4 numbers"),
        ('[{"box":[0,0,1,1],"class":"a"},{"box":[2,0,1,1],"class":"a"}]', "box 2 is empty or turned around"),
        ('[{"box":[0,1,1,1],"class":"a"}]', "box 1 is empty"),
    ],
)
def test_what_is_no_box(cell: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        read_boxes(cell)
