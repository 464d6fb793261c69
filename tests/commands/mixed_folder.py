"""A hostile folder: a hundred good scans, thirty bad ones of every kind, much that is no scan. Always the same bytes.

For a segmenter of volumes and for a classifier of pictures. The code that each bad scan must end with stands beside it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from mixed_dicom import as_bytes, picture
from mixed_pictures import bad_pictures, good_pictures
from mixed_volumes import Content, bad_volumes, good_volumes

T = TypeVar("T")

STRUCTURED_REPORT = "1.2.840.10008.5.1.4.1.1.88.33"


@dataclass(frozen=True)
class Mixed:
    """What a run over the folder must find.

    good     references of the scans that can be answered for
    bad      reference -> reason code
    skipped  reference -> why it is no scan
    """

    root: Path
    good: tuple[str, ...]
    bad: dict[str, str]
    skipped: dict[str, str]


def write_volumes(root: Path, *, good: int = 100, bad: int = 30) -> Mixed:
    """NIfTI files, pairs and DICOM series, for a segmenter. Fewer on request, still of many kinds."""
    contents, refused = good_volumes(), _spread(bad_volumes(), bad)
    answered = _spread({name: b"" for name in contents if not name.endswith(".img")}, good)
    for reference, content in contents.items():
        if reference in answered or (reference.endswith(".img") and reference.replace(".img", ".hdr") in answered):
            _write(root / reference, content)
    for reference, (code, content) in refused.items():
        _write(root / reference, content)
        if code == "PATH_ESCAPE":  # the other half of a pair, out of the folder
            outside = root.with_name(f"{root.name}_outside.img")
            outside.write_bytes(bytes(1440))
            (root / reference).with_suffix(".img").symlink_to(outside)
    codes = {reference: code for reference, (code, _) in refused.items()}
    return Mixed(root, tuple(answered), codes, _write_no_scans(root))


def write_pictures(root: Path, *, good: int = 100, bad: int = 30) -> Mixed:
    """PNG, JPEG, TIFF, DICOM radiographs and rows of archives, for a classifier. Fewer on request; then no archives."""
    whole = (good, bad) == (100, 30)
    contents, refused = _spread(good_pictures(), 93 if whole else good), _spread(bad_pictures(), 28 if whole else bad)
    codes = {reference: code for reference, (code, _) in refused.items()}
    for reference, content in {**contents, **{name: content for name, (_, content) in refused.items()}}.items():
        _write(root / reference, content)
    answered = [reference for reference in contents if reference != "set.npz"]
    if whole:
        answered += [f"set.npz#row=train/{row}" for row in range(8)]
        rows = codes.pop("volumes.npz")
        codes |= {f"volumes.npz#row=val/{row}": rows for row in range(3)}
    return Mixed(root, tuple(answered), codes, _write_no_scans(root))


def _spread(items: dict[str, T], count: int) -> dict[str, T]:
    """So many of them, from the first on at even distances."""
    names = list(items)
    return {names[at * len(names) // count]: items[names[at * len(names) // count]] for at in range(count)}


def _write(path: Path, content: Content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    path.mkdir()
    for number, part in enumerate(content):
        (path / f"{number:02d}.dcm").write_bytes(part)


def _write_no_scans(root: Path) -> dict[str, str]:
    """What lies about in such folders."""
    folder = root / "other"
    folder.mkdir()
    blank = np.zeros((20, 20), np.uint8)
    scout = picture(2000, blank, Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    report = picture(2001, blank, Modality="SR", SOPClassUID=STRUCTURED_REPORT)
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelData", "PixelRepresentation"):
        delattr(report, keyword)
    files = {
        "notes.txt": ("NOT_DICOM", b"hello"),
        "list.csv": ("NOT_DICOM", b"patient,scan\n=1+1,2\n"),
        "letter.pdf": ("NOT_DICOM", b"%PDF-1.7\n" + b" " * 500),
        "empty.dcm": ("NOT_DICOM", b""),
        "program.dcm": ("NOT_DICOM", b"\x7fELF" + bytes(500)),
        "noise": ("NOT_DICOM", np.random.default_rng(0).bytes(4096)),
        "DICOMDIR": ("NOT_AN_IMAGE", bytes(128) + b"DICM" + bytes(100)),
        ".hidden": ("NOT_AN_IMAGE", b"x"),
        "report.dcm": ("NOT_AN_IMAGE", as_bytes(report)),
        "scout.dcm": ("LOCALIZER", as_bytes(scout)),
    }
    for name, (_, content) in files.items():
        (folder / name).write_bytes(content)
    for name, target in {"loop": "..", "myself": "myself", "dead": "nowhere", "away": os.devnull}.items():
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe")
    odd = dict.fromkeys(("loop", "myself", "dead", "away", "pipe"), "NOT_REGULAR_FILE")
    return {f"other/{name}": code for name, code in {**{k: v[0] for k, v in files.items()}, **odd}.items()}
