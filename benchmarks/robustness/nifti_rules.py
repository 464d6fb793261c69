"""What contradicts itself in a NIfTI file: the rules that make a mutation detectable. None: plausible throughout."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.robustness.nifti_fields import VOXEL_BYTES, fields_of, value_of

Matrix = npt.NDArray[np.float64]
MOST_BYTES = 64 * 2**20
MOST_EDGE_MM = 100.0
SAME_EDGE = 0.01  # relative, of a voxel edge by pixdim and by the sform of the same scanner
SAME_CORNER_VOX = 0.02  # twice what conformance tolerates: between the two, either answer is right
LOST = 1e-6  # of the squared quaternion: near a half turn its first part drowns in the rounding of 32 bits
_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}


def contradiction(files: Mapping[str, bytes]) -> str | None:
    """Which rule the file, or the pair of header and voxels, breaks."""
    plain = [inflated(data) if name.endswith(".gz") else data for name, data in sorted(files.items())]
    if any(data is None for data in plain):
        return "a gzip stream that is damaged, ends early, or has another checksum"
    header, *voxels = (data for data in plain if data is not None)
    return header_contradiction(header, voxels[0] if voxels else None)


def inflated(data: bytes) -> bytes | None:
    """The content of all members; None where a checksum, a length or the structure is wrong."""
    found, rest = b"", data
    while rest:
        if rest[:2] != b"\x1f\x8b":
            return None if found == b"" or rest.strip(b"\0") else found  # padding with zeros is gzip's own custom
        inflater = zlib.decompressobj(wbits=31)
        try:
            found += inflater.decompress(rest, MOST_BYTES)
        except zlib.error:
            return None
        if not inflater.eof:
            return None
        rest = inflater.unused_data
    return found


def header_contradiction(plain: bytes, voxels: bytes | None = None) -> str | None:
    """voxels: the other file of a pair."""
    size = {348: "n+1" if voxels is None else "ni1", 540: "n+2" if voxels is None else "ni2"}.get(
        int.from_bytes(plain[:4], "little" if plain[:2] != b"\0\0" else "big")
    )
    if size is None or len(plain) < 352:
        return "no NIfTI header"
    fields = fields_of(plain)
    if len(plain) < fields["extension"].end:
        return "the end within the header"
    said = {name: value_of(plain, field) for name, field in fields.items()}
    if not said["magic"][0].startswith(size.encode() + b"\0"):
        return "another magic than the header's size"
    if size.endswith("2") and said["magic"][0][4:] != b"\r\n\x1a\n":
        return "a NIfTI-2 magic that was converted as text"
    least = fields["extension"].end
    if voxels is not None and said["extension"][0] == 0 and len(plain) > least:
        return "bytes behind a header without extensions"
    return (
        _size(said, len(plain if voxels is None else voxels), least if voxels is None else 0)
        or _values(said)
        or _forms(said)
    )


def _size(said: dict[str, tuple[Any, ...]], file_bytes: int, least: int) -> str | None:
    dim, datatype = said["dim"], said["datatype"][0]
    if not 1 <= dim[0] <= 7 or min(dim[1 : 1 + dim[0]]) < 1:
        return "dimensions that cannot be"
    if datatype not in VOXEL_BYTES or said["bitpix"][0] != 8 * VOXEL_BYTES[datatype]:
        return "a voxel type that is not grey, or another number of bits"
    offset = said["vox_offset"][0]
    if not math.isfinite(offset) or offset != int(offset) or offset < least:
        return "voxels that begin within the header"
    if int(offset) + math.prod(dim[1 : 1 + dim[0]]) * VOXEL_BYTES[datatype] != file_bytes:
        return "another number of voxel bytes than the file has"
    if least and said["extension"][0] == 0 and offset > least:
        return "room for an extension that is not announced"
    return None


def _values(said: dict[str, tuple[Any, ...]]) -> str | None:
    slope, inter = said["scl_slope"][0], said["scl_inter"][0]
    if math.isinf(slope) or (slope not in (0, 1) and not math.isnan(slope) and not math.isfinite(inter)):
        return "a scaling that is not finite"
    unit = said["xyzt_units"][0] & 7
    if unit not in _UNIT_MM:
        return "an undefined unit"
    axes = min(said["dim"][0], 3)
    edges = [edge * _UNIT_MM[unit] for edge in said["pixdim"][1 : 1 + axes]]
    if not all(0 < edge <= MOST_EDGE_MM for edge in edges):
        return "voxel edges that cannot be"
    if said["dim"][0] < 2:
        return "fewer than two axes"
    for code in (said["qform_code"][0], said["sform_code"][0]):
        if not 0 <= code <= 5:
            return "an undefined form code"
    return None


def _forms(said: dict[str, tuple[Any, ...]]) -> str | None:
    qcode, scode = said["qform_code"][0], said["sform_code"][0]
    qform = _qform(said) if qcode else None
    sform = np.vstack([said["srow_x"], said["srow_y"], said["srow_z"], [0, 0, 0, 1]]) if scode else None
    if qcode and (qform is None or not np.isfinite(qform).all()):
        return "a quaternion that is none"
    if sform is not None and (not np.isfinite(sform).all() or np.linalg.matrix_rank(sform[:3, :3], tol=1e-6) < 3):
        return "a singular sform"
    if sform is not None and scode in (1, 2):
        edges = np.linalg.norm(sform[:3, : min(said["dim"][0], 3)], axis=0)
        if (np.abs(edges / said["pixdim"][1 : 1 + edges.size] - 1) > SAME_EDGE).any():
            return "voxel edges of the sform that are not pixdim's"
    if qform is not None and sform is not None:
        return _agreement(qform, sform, said, same_space=qcode == scode)
    return None


def _agreement(qform: Matrix, sform: Matrix, said: dict[str, tuple[Any, ...]], *, same_space: bool) -> str | None:
    if np.linalg.det(qform[:3, :3]) * np.linalg.det(sform[:3, :3]) < 0:
        return "forms of different handedness"
    if not same_space:
        return None
    edge_mm = float(np.linalg.norm(sform[:3, :3], axis=0).min())
    if not np.linalg.norm(qform[:3, 3] - sform[:3, 3]) <= SAME_CORNER_VOX * edge_mm:
        return "forms of one space whose origins lie apart"
    shape = [*said["dim"][1 : 1 + min(said["dim"][0], 3)], 1, 1][:3]
    size_mm = float(np.linalg.norm(np.linalg.norm(sform[:3, :3], axis=0) * shape))
    corners = np.array(np.meshgrid(*([0, size - 1] for size in shape))).reshape(3, -1)
    apart = np.linalg.norm((qform - sform) @ np.vstack([corners, np.ones((1, 8))]), axis=0).max()
    half_turn = 1 - sum(part * part for part in said["quatern"]) < LOST
    if not apart <= SAME_CORNER_VOX * edge_mm + half_turn * 2 * math.sqrt(LOST) * size_mm:
        return "forms of one space whose corners lie apart"
    return None


def _qform(said: dict[str, tuple[Any, ...]]) -> Matrix | None:
    b, c, d = said["quatern"]
    square = 1 - (b * b + c * c + d * d)
    if not square >= -1e-5:
        return None
    a = math.sqrt(max(square, 0))
    length = math.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = (part / length for part in (a, b, c, d))
    affine = np.eye(4)
    affine[:3, :3] = [
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
    ]
    affine[:3, :3] *= np.array(said["pixdim"][1:4]) * [1, 1, -1 if said["pixdim"][0] < 0 else 1]
    affine[:3, 3] = said["qoffset"]
    return affine
