"""What stands beside NIfTI: the second file of a pair, Analyze 7.5 and FreeSurfer's MGH."""

from __future__ import annotations

import struct
from pathlib import Path

from medcnn.scan import Reason, ScanRejected

_HALVES = {".hdr": ".img", ".hdr.gz": ".img.gz", ".img": ".hdr", ".img.gz": ".hdr.gz"}
_MGH_SUFFIXES = (".mgz", ".mgh")
_ANALYZE_START = tuple(struct.pack(f"{order}i", 348) for order in "<>")


def pair_of(path: Path) -> Path | None:
    """The other file of a .hdr and .img pair, by name; None where there is none, or path belongs to no pair.

    A pair is one case, named by its .hdr; its voxels lie in pair_of(.hdr).
    """
    other = _other_half(path)
    return other if other is not None and other.is_file() else None


def voxel_file(path: Path) -> Path:
    """The .img of a .hdr. Raises NOT_NIFTI where path is no .hdr, READ_ERROR where the .img is missing.

    Only the .hdr was checked to lie inside the data root, so a .img that is a link out of its folder is PATH_ESCAPE.
    """
    if not path.name.lower().endswith((".hdr", ".hdr.gz")):
        raise ScanRejected(
            Reason.NOT_NIFTI,
            "the header of a two-file pair, under a name that does not end in .hdr",
            "Name the two files .hdr and .img, or convert the pair into one .nii file",
        )
    pair = pair_of(path)
    if pair is None:
        raise ScanRejected(
            Reason.READ_ERROR, "the .img file of this pair is not there", "Put it beside its .hdr, under the same name"
        )
    if pair.resolve().parent != path.resolve().parent:
        raise ScanRejected(
            Reason.PATH_ESCAPE, "the .img file of this pair is a link out of its folder", "Put the file itself there"
        )
    return pair


def check_not_kin(path: Path, head: bytes) -> None:
    """Raises NOT_NIFTI, with what to do, for a lone .img, Analyze 7.5 and MGH; head: the first bytes, unpacked."""
    name = path.name.lower()
    if name.endswith((".img", ".img.gz")):
        raise ScanRejected(
            Reason.NOT_NIFTI,
            "voxels alone, the second file of a pair",
            "Name the pair by its .hdr file, which must lie beside it",
        )
    if name.endswith((".hdr", ".hdr.gz")) and head[:4] in _ANALYZE_START:
        raise ScanRejected(
            Reason.NOT_NIFTI,
            "an Analyze 7.5 header, which does not say which side is left",
            "Convert the pair to NIfTI with a program that knows how it was written",
        )
    if name.endswith(_MGH_SUFFIXES) or _is_mgh(head):
        raise ScanRejected(
            Reason.NOT_NIFTI, "a volume in FreeSurfer's MGH format", "Convert it: mri_convert volume.mgz volume.nii.gz"
        )


def _other_half(path: Path) -> Path | None:
    """As _HALVES, in the case of the name at hand."""
    for suffix, other in _HALVES.items():
        if path.name.lower().endswith(suffix):
            stem, own = path.name[: -len(suffix)], path.name[-len(suffix) :]
            return path.with_name(stem + (other.upper() if own.isupper() else other))
    return None


def _is_mgh(head: bytes) -> bool:
    """Version 1, four sizes and one of four types, big-endian: the format has no magic."""
    if len(head) < 24:
        return False
    version, *sizes, kind = struct.unpack_from(">6i", head)
    return version == 1 and kind in (0, 1, 3, 4) and all(0 < size < 2**15 for size in sizes)
