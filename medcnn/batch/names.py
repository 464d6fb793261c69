"""What the files of a case are called, so that a person finds the scan they belong to."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

from medcnn.batch.cases import Case
from medcnn.io.reference import Reference
from medcnn.scan import ScanRejected

_SUFFIX = re.compile(r"\.((nii|img|hdr)(\.gz)?|dcm|dicom|ima|png|jpe?g|tiff?|bmp|npz)$", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\w.+=@,() -]")
_LONGEST_BYTES = 150  # with a structure's name and a suffix behind it, below what file systems take
_SHORT = 24  # characters of a structure's name, of up to four bytes each
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # no file's name on Windows

FilesOf = Callable[[str], Sequence[str]]


def names_of(cases: Sequence[Case], root_name: str, files_of: FilesOf = lambda name: [name]) -> dict[str, str]:
    """case_id -> name: the path of the scan's file (or series' folder) below the input, without its suffix.

    ward/a.nii.gz is ward__a, a series in the folder ward/t1 is ward__t1. What no file system likes becomes _. Where two
    scans would have files that are called alike (also but for upper and lower case), each has its case_id behind.

    root_name  stands for a series that lies in the input itself
    files_of   a name -> what is called after it
    """
    names = {case.case_id: _name(case.reference, root_name) for case in cases}
    times = Counter(_alike(file) for name in names.values() for file in files_of(name))

    def is_clear(name: str) -> bool:
        return not _is_cut(name) and all(times[_alike(file)] == 1 for file in files_of(name))

    return {case_id: name if is_clear(name) else f"{name}_{case_id}" for case_id, name in names.items()}


def structure_names(structures: Sequence[str]) -> dict[str, str]:
    """Structure -> what its files are called; numbered where two would be alike or one is too long."""
    plain = [safe(structure) for structure in structures]
    times = Counter(_alike(name) for name in plain)
    return {
        structure: f"{number}_{name[:_SHORT]}" if times[_alike(name)] > 1 or len(name) > _SHORT else name
        for number, (structure, name) in enumerate(zip(structures, plain, strict=True), start=1)
    }


def files_like(structures: Sequence[str]) -> FilesOf:
    """Whatever may be called after a case, for names_of."""
    named = list(structure_names(structures).values())
    stems = [*named, *(f"{stem}_seg" for stem in named), "seg", "sr", "sc"]
    return lambda name: [name, *(f"{name}_{stem}" for stem in stems)]


def safe(text: str) -> str:
    """As part of a file's name, anywhere."""
    plain = _UNSAFE.sub("_", unicodedata.normalize("NFC", text)).strip(" .")
    return f"_{plain}" if not plain or _DEVICES.match(plain) else plain


def _name(reference: str, root_name: str) -> str:
    """Before anything is told apart; cut to a length that can be had."""
    try:
        parsed = Reference.parse(reference)
    except ScanRejected:  # a file whose own name looks like a selector
        parsed = Reference(reference)
    above, slash, last = parsed.path.rpartition("/")
    path = root_name if parsed.path == "." else f"{above}{slash}{_SUFFIX.sub('', last)}"
    picked = [] if parsed.frame is None else [f"frame={parsed.frame}"]
    picked += [] if parsed.row is None else [f"row={parsed.row[0]}-{parsed.row[1]}"]
    picked += [f"{key}={value}" for key, value in parsed.chosen]
    whole = safe("_".join([path.replace("/", "__"), *picked]))
    return whole.encode()[:_LONGEST_BYTES].decode(errors="ignore").rstrip(" .")


def _is_cut(name: str) -> bool:
    return len(name.encode()) > _LONGEST_BYTES - 4


def _alike(name: str) -> str:
    return name.casefold()
