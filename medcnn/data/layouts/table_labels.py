"""Which columns of a table are labels, boxes, and which describe subgroups."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from medcnn.data.layouts.columns import (
    is_categorical,
    is_identifier,
    is_label,
    is_patient,
    is_reserved,
    is_subgroup,
    is_true_or_false,
    plain,
)
from medcnn.data.layouts.table import Table
from medcnn.data.manifest_checks import columns_of

#: Columns of one box per row: corners, or a corner and the size.
_CORNERS = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))
_SIZES = (("x", "y", "width", "height"), ("x", "y", "w", "h"))


@dataclass(frozen=True)
class Roles:
    """What the columns are.

    labels   column -> short name, as in a manifest
    boxes    (x0, y0, x1, y1) or (x, y, width, height) columns of one box per row, or ()
    sized    the boxes are given by their sizes
    patient  the column that says who, or ''
    free     columns kept as they are
    """

    labels: dict[str, str] = field(default_factory=dict)
    boxes: tuple[str, ...] = ()
    sized: bool = False
    patient: str = ""
    free: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def roles_of(table: Table, naming: Collection[str]) -> Roles:
    """naming: the columns that name the scans. Without any label found, labels are {} and the remarks say why."""
    boxes, sized = _box_columns(table)
    patient = next((c for c in table.columns if c == "patient_id"), "")
    patient = patient or next((c for c in table.columns if is_patient(c)), "")
    taken = {*naming, *boxes, patient}
    open_to = [c for c in table.columns if c not in taken and not is_reserved(c) and not is_patient(c)]
    dropped = [c for c in open_to if is_identifier(c)]
    open_to = [c for c in open_to if c not in dropped]
    labels, remarks = _labels(table, open_to, one_per_box=bool(boxes))
    if dropped:
        remarks.append(f"columns that name people or examinations were dropped: {', '.join(dropped)}")
    free = [c for c in open_to if c not in labels]
    return Roles(labels, boxes, sized, patient, free, remarks)


def _labels(table: Table, columns: list[str], *, one_per_box: bool) -> tuple[dict[str, str], list[str]]:
    if own := columns_of(table.columns, "label"):
        return own, []
    called = [c for c in columns if is_label(c)]
    if len(called) == 1:
        what = "the class of each box" if one_per_box else "the label"
        return {called[0]: ""}, [f"{what} is the column {called[0]}"]
    if one_per_box:
        return {}, []
    candidates = [c for c in columns if not is_subgroup(c)]
    flags = [c for c in candidates if is_true_or_false(table.values(c))]
    if len(flags) > 1:
        return {c: c for c in flags}, [f"{len(flags)} columns of 0 and 1 are labels that can be true together"]
    named = [c for c in candidates if is_categorical(table.values(c))]
    if len(named) == 1:
        return {named[0]: ""}, [f"the label is the column {named[0]}, the only one with a few values that repeat"]
    if "mask" in table.columns or "boxes" in table.columns or columns_of(table.columns, "mask"):
        return {}, []
    found = f"{', '.join(named)} could each be it" if named else "no column has a few values that repeat"
    return {}, [f"no label: {found}. Call the column `label`, or several `label.<name>`"]


def _box_columns(table: Table) -> tuple[tuple[str, ...], bool]:
    by_name = {plain(column): column for column in table.columns}
    for sized, kinds in ((False, _CORNERS), (True, _SIZES)):
        for names in kinds:
            if all(name in by_name for name in names):
                return tuple(by_name[name] for name in names), sized
    return (), False
