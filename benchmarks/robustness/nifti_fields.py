"""Where each header field of NIfTI-1 and NIfTI-2 lies, from nifti1.h and nifti2.h."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ONE = """
    sizeof_hdr i, data_type 10s, db_name 18s, extents i, session_error h, regular B, dim_info B, dim
    8h, intent_p1 f, intent_p2 f, intent_p3 f, intent_code h, datatype h, bitpix h, slice_start h,
    pixdim 8f, vox_offset f, scl_slope f, scl_inter f, slice_end h, slice_code B, xyzt_units B,
    cal_max f, cal_min f, slice_duration f, toffset f, glmax i, glmin i, descrip 80s, aux_file 24s,
    qform_code h, sform_code h, quatern 3f, qoffset 3f, srow_x 4f, srow_y 4f, srow_z 4f, intent_name
    16s, magic 4s, extension 4B
"""
_TWO = """
    sizeof_hdr i, magic 8s, datatype h, bitpix h, dim 8q, intent_p1 d, intent_p2 d, intent_p3 d,
    pixdim 8d, vox_offset q, scl_slope d, scl_inter d, cal_max d, cal_min d, slice_duration d,
    toffset d, slice_start q, slice_end q, descrip 80s, aux_file 24s, qform_code i, sform_code i,
    quatern 3d, qoffset 3d, srow_x 4d, srow_y 4d, srow_z 4d, slice_code i, xyzt_units i, intent_code
    i, intent_name 16s, dim_info B, unused_str 15s, extension 4B
"""
VOXEL_BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 64: 8, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8}
#: what decides voxels, place and spacing; everything else means nothing to a scan
NEEDED = (
    *(
        "sizeof_hdr",
        "magic",
        "dim",
        "datatype",
        "bitpix",
        "pixdim",
        "vox_offset",
        "scl_slope",
        "scl_inter",
        "xyzt_units",
    ),
    *("qform_code", "sform_code", "quatern", "qoffset", "srow_x", "srow_y", "srow_z"),
)


@dataclass(frozen=True)
class Field:
    """One field. layout: as struct has it, with the byte order."""

    name: str
    start: int
    end: int
    layout: str

    @property
    def size(self) -> int:
        """Bytes of one value."""
        return struct.calcsize(self.layout[0] + self.layout[-1])


def fields_of(plain: bytes) -> Mapping[str, Field]:
    """By name, in the order of the file; of the version and byte order that its first four bytes say."""
    order = ">" if plain[:2] == b"\0\0" else "<"
    text = _TWO if 540 in (int.from_bytes(plain[:4], "little"), int.from_bytes(plain[:4], "big")) else _ONE
    found, at = {}, 0
    for part in text.split(","):
        name, layout = part.split()
        size = struct.calcsize(order + layout)
        found[name] = Field(name, at, at + size, order + layout)
        at += size
    return found


def value_of(plain: bytes, field: Field) -> tuple[Any, ...]:
    return struct.unpack_from(field.layout, plain, field.start)
