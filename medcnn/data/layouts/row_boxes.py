"""Boxes of a table that gives each box a row of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medcnn.data.boxes import Box, write_boxes
from medcnn.data.layouts.box_edges import BoxEdges
from medcnn.data.layouts.table import Table
from medcnn.data.layouts.table_labels import Roles

_UNBOUNDED = 2**31  # pixels: where the picture's size is not known from its header


def boxes_of_rows(table: Table, rows: Sequence[int], roles: Roles, edges: BoxEdges, picture: Path) -> str:
    """The cell of one scan's boxes; a row without numbers says that there is nothing to find."""
    size = edges.size(picture, "", needed=False) or (_UNBOUNDED, _UNBOUNDED)
    found: list[Box] = []
    for row in rows:
        where = f"row {table.numbers[row]}"
        words = [table.rows[row][column] for column in roles.boxes]
        name = next((table.rows[row][column] for column in roles.labels), "")
        if not any(words):
            continue
        try:
            a, b, c, d = (float(word) for word in words)
        except ValueError:
            edges.problems.add(f"{where}: {', '.join(roles.boxes)} are not four numbers")
            continue
        if not name:
            edges.problems.add(f"{where}: the box has no class. Call the column with the classes `label`")
            continue
        corners = (a, b, a + c, b + d) if roles.sized else (a, b, c, d)
        box = edges.box(corners, name, size, where)
        found += [box] if box else []
    return write_boxes(found)
