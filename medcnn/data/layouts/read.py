"""From any layout to cases: recognised by content, or named by the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medcnn.config.fields import nearest
from medcnn.data.layouts import bids, coco, dicom_seg, folders, medmnist, msd, nnunet, scans, yolo
from medcnn.data.layouts.listing import Ask, Listing
from medcnn.data.privacy import Keyring
from medcnn.errors import DataError, NothingToDoError
from medcnn.io.options import AS_THE_FILE_SAYS, Reading


@dataclass(frozen=True)
class _Layout:
    looked_for: str
    recognise: Callable[[Path], str]
    read: Callable[[Ask], Listing]


_LAYOUTS = {
    name: _Layout(module.LOOKED_FOR, module.recognise, module.read)
    for name, module in (
        ("bids", bids),
        ("msd", msd),
        ("nnunet", nnunet),
        ("coco", coco),
        ("yolo", yolo),
        ("medmnist", medmnist),
        ("dicom_seg", dicom_seg),
        ("scans", scans),
        ("folders", folders),
    )
}
_OF_DISCOVERY = ("scans", "folders", "dicom_seg")  # the others name their files themselves
KINDS = ("auto", *_LAYOUTS)


def read_layout(
    root: Path,
    *,
    kind: str = "auto",
    labels: Path | None = None,
    keyring: Keyring,
    split_by: Sequence[str] = (),
    reading: Reading = AS_THE_FILE_SAYS,
    report: Callable[[int], None] = lambda count: None,
) -> Listing:
    """Every case of a data set, headers only.

    kind      one of KINDS; auto looks at the content, and the first remark says what was found
    labels    a table of labels for scans in any folders; for BIDS it may be the name of a participants.tsv column
    split_by  keys by which a series becomes several cases, as in discovery
    reading   the choices with which the scans will be read
    report    called with the number of files looked at
    Raises NothingToDoError without a case. Raises DataError where nothing or several layouts are recognised, else with
    everything that is wrong, at once.
    """
    if kind not in KINDS:
        raise DataError(f"layout: {kind!r} is not one of {', '.join(KINDS)}.{nearest(kind, list(KINDS))}")
    if not root.is_dir():
        raise DataError(f"input: {root} is not a folder. Give the folder that holds the data")
    root = root.resolve()
    table = _table(root, labels)
    ask = Ask(root, keyring, table or labels, kind != "auto", tuple(split_by), reading, report)
    if kind == "auto":
        kind, why = ("scans", f"a table of labels, {table.name}") if table else _recognised(root)
        remark = f"recognised as {kind}: {why}"
    else:
        remark = f"read as {kind}, as asked"
    if labels is not None and table is None and kind != "bids":
        raise DataError(f"labels: there is no file {labels}. Give a CSV (for BIDS also a column of participants.tsv)")
    listing = _LAYOUTS[kind].read(ask)
    if not listing.cases:
        raise NothingToDoError(
            f"no case was found in {root}, read as {kind}; {len(listing.skipped)} files are none. Looked for: "
            f"{_LAYOUTS[kind].looked_for}"
        )
    remarks = [remark, *listing.remarks]
    if split_by and kind not in _OF_DISCOVERY:
        remarks.append("split_by says how DICOM series are divided, and had nothing to do here")
    return replace(listing, remarks=remarks)


def _table(root: Path, labels: Path | None) -> Path | None:
    """The table, as it is named or below root."""
    if labels is None:
        return None
    return next((path for path in (labels, root / labels) if path.is_file()), None)


def _recognised(root: Path) -> tuple[str, str]:
    """(layout, what speaks for it). A folder per class only counts where nothing else does."""
    found = {name: why for name, one in _LAYOUTS.items() if name != "folders" and (why := one.recognise(root))}
    if not found and (why := folders.recognise(root)):
        found = {"folders": why}
    if len(found) == 1:
        return next(iter(found.items()))
    if found:
        lines = [f"  - {name}: {why}" for name, why in found.items()]
        said = "the folder looks like several layouts. Name one with layout=<name>:"
    else:
        lines = [f"  - {name}: {one.looked_for}" for name, one in _LAYOUTS.items()]
        said = "no layout is recognised. Give labels=<csv>, or name one with layout=<name>. Looked for:"
    raise DataError("\n".join([said, *lines]))
