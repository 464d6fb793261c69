"""What a file is by its first bytes; its suffix may only contradict them."""

from __future__ import annotations

import zlib
from enum import Enum, auto
from pathlib import Path

from medcnn.io.dicom.header import looks_like_dicom, not_dicom
from medcnn.io.files import FileStart
from medcnn.io.nifti.kin import check_not_kin
from medcnn.io.picture import looks_like_picture
from medcnn.scan import Reason, ScanRejected

HEAD_BYTES = 540  # a NIfTI-2 header
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_NIFTI_SUFFIXES = (".nii", ".nii.gz")


class Content(Enum):
    """The kinds of file that medcnn reads."""

    DICOM = auto()
    NIFTI = auto()
    PICTURE = auto()
    ARCHIVE = auto()


def content_of(path: Path, start: FileStart | None = None) -> Content:
    """Raises NOT_REGULAR_FILE, NOT_NIFTI or NOT_DICOM where it is none of them."""
    head = (start or FileStart.of(path)).head[:HEAD_BYTES]
    name = path.name.lower()
    if name.endswith(_NIFTI_SUFFIXES):
        if not looks_like_nifti(head) or name.endswith(".gz") != head.startswith(b"\x1f\x8b"):
            raise not_nifti()
        return Content.NIFTI
    if looks_like_dicom(head):
        return Content.DICOM
    if name.endswith(DICOM_SUFFIXES):
        raise not_dicom(head)
    if looks_like_nifti(head) and not name.endswith((".img", ".img.gz")):
        return Content.NIFTI
    check_not_kin(path, _unpacked(head))
    if looks_like_picture(head):
        return Content.PICTURE
    if head[:4] == b"PK\x03\x04" and name.endswith(".npz"):
        return Content.ARCHIVE
    raise not_dicom()


def looks_like_nifti(head: bytes) -> bool:
    """NIfTI-1 or -2 by its magic, one file or the header of a pair, plain or in gzip."""
    start = _unpacked(head)
    if start is not head and len(start) < 348:  # so small a start can hold no more: the reader will say what is wrong
        return start[:4] in _HEADER_SIZES
    return start[344:348] in (b"n+1\0", b"ni1\0") or start[4:8] in (b"n+2\0", b"ni2\0")


def _unpacked(head: bytes) -> bytes:
    """The content's first bytes; the same where they are not in gzip, none where the gzip is damaged."""
    if not head.startswith(b"\x1f\x8b"):
        return head
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""


_HEADER_SIZES = tuple(size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big"))


def not_nifti() -> ScanRejected:
    return ScanRejected(
        Reason.NOT_NIFTI,
        "the content is not what a .nii or .nii.gz file holds",
        "Export it again, with the suffix that fits: .nii plain, .nii.gz in gzip",
    )
