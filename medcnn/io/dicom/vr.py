"""Value representations: what kind of value an element has, by the file and by DICOM's dictionary (PS3.6)."""

from __future__ import annotations

from functools import lru_cache

from pydicom._dicom_dict import DicomDictionary

from medcnn.scan import Reason, ScanRejected

SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_BINARY = frozenset(b"AT FL FD OB OD OF OL OV OW SL SS SV UL US UV".split())  # the others are text, or sequences


@lru_cache(maxsize=4096)  # files of one scanner hold the same elements, thousands of times
def contradicts_kind(tag: int, written: bytes) -> bool:
    """Whether a file has numbers where DICOM has text, or text for numbers: other differences mean little."""
    entry = DicomDictionary.get(tag)
    if entry is None or written == b"UN":
        return False
    kinds = {vr.encode() in _BINARY for vr in entry[0].split(" or ")}
    return len(kinds) == 1 and kinds.pop() is not (written in _BINARY)


def is_sequence(tag: int) -> bool:
    """Implicit files name no VR: the dictionary knows the public ones, private ones are never evaluated."""
    return vr_of(tag) == "SQ"


def checked_vr(tag: int, written: str) -> str | None:
    """The VR as written, the dictionary's where the file names none or does not know. TAG_INVALID for another one."""
    entry = DicomDictionary.get(tag)
    if written in ("", "UN"):
        return vr_of(tag) or (written or None)
    if entry is not None and written not in entry[0].split(" or "):
        raise ScanRejected(
            Reason.TAG_INVALID, "an element has another type than DICOM gives it", "Export the file again"
        )
    return written


def vr_of(tag: int) -> str | None:
    """None for a private element, and where the VR depends on other elements."""
    entry = DicomDictionary.get(tag)
    return None if entry is None or " or " in entry[0] else entry[0]
