"""The fields of a NIfTI header as they lie in the file: version, byte order, one file or a pair."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medcnn.geometry import Affine
from medcnn.io.nifti.file_bytes import Source, skip, truncated
from medcnn.scan import Reason, ScanRejected

Order = Literal["<", ">"]
HEADER_BYTES = {348: "NIfTI-1", 540: "NIfTI-2"}
_MAGIC = {  # -> whether the voxels lie in a file of their own
    348: {b"n+1\0": False, b"ni1\0": True},
    540: {b"n+2\0\r\n\x1a\n": False, b"ni2\0\r\n\x1a\n": True},
}
_EXTENSION_UNIT = 16  # every extension's size is a multiple of it


@dataclass(frozen=True, eq=False)
class Fields:
    """Header fields, nothing checked but the magic. Names are those of the standard.

    header_bytes  348 or 540
    paired        the voxels lie in a .img file
    pixdim        8 numbers; the first is qfac
    quaternion    quatern_b, c, d and qoffset_x, y, z
    """

    order: Order
    header_bytes: int
    paired: bool
    dim: tuple[int, ...]
    datatype: int
    bitpix: int
    vox_offset: float
    scl_slope: float
    scl_inter: float
    xyzt_units: int
    qform_code: int
    sform_code: int
    pixdim: npt.NDArray[np.float64]
    quaternion: npt.NDArray[np.float64]
    sform: Affine


def read_fields(source: Source) -> Fields:
    """Read a header; source is at its start, and stands behind it afterwards. Raises NOT_NIFTI, TRUNCATED."""
    head = _exactly(source, 4)
    order: Order = "<" if int.from_bytes(head, "little") in HEADER_BYTES else ">"
    size = int.from_bytes(head, "little" if order == "<" else "big")
    if size not in HEADER_BYTES:
        raise ScanRejected(Reason.NOT_NIFTI, "no NIfTI header", "Export the file again")
    head += _exactly(source, size - 4)
    magic = head[344:348] if size == 348 else head[4:12]
    if magic not in _MAGIC[size]:
        raise ScanRejected(Reason.NOT_NIFTI, "no NIfTI magic", "Export the file again")
    paired = _MAGIC[size][magic]
    return _first(head, order, paired) if size == 348 else _second(head, order, paired)


def _first(head: bytes, order: Order, paired: bool) -> Fields:  # noqa: FBT001
    def at(place: int, layout: str) -> tuple[Any, ...]:
        return struct.unpack_from(order + layout, head, place)

    (datatype, bitpix), (offset, slope, inter) = at(70, "2h"), at(108, "3f")
    return Fields(
        order=order,
        header_bytes=348,
        paired=paired,
        dim=at(40, "8h"),
        datatype=datatype,
        bitpix=bitpix,
        vox_offset=offset,
        scl_slope=slope,
        scl_inter=inter,
        xyzt_units=head[123],
        qform_code=at(252, "h")[0],
        sform_code=at(254, "h")[0],
        pixdim=np.array(at(76, "8f"), dtype=np.float64),
        quaternion=np.array(at(256, "6f"), dtype=np.float64),
        sform=_affine(at(280, "12f")),
    )


def _second(head: bytes, order: Order, paired: bool) -> Fields:  # noqa: FBT001
    def at(place: int, layout: str) -> tuple[Any, ...]:
        return struct.unpack_from(order + layout, head, place)

    (datatype, bitpix), (offset, slope, inter) = at(12, "2h"), at(168, "q2d")
    return Fields(
        order=order,
        header_bytes=540,
        paired=paired,
        dim=at(16, "8q"),
        datatype=datatype,
        bitpix=bitpix,
        vox_offset=offset,
        scl_slope=slope,
        scl_inter=inter,
        xyzt_units=at(500, "i")[0],
        qform_code=at(344, "i")[0],
        sform_code=at(348, "i")[0],
        pixdim=np.array(at(104, "8d")),
        quaternion=np.array(at(352, "6d")),
        sform=_affine(at(400, "12d")),
    )


def pass_extensions(source: Source, fields: Fields, end: int | None) -> None:
    """Go on to `end` (None: the end of the file), checking how extensions are nested, never what is in them.

    They may hold anything, a patient's name too. Raises HEADER where their sizes contradict each other.
    """
    extender = _up_to(source, 4)  # a pair may leave it out
    if len(extender) < 4 and (extender or end is not None):
        raise truncated("the file ends inside its header")
    if not extender or extender[0] == 0:
        if end is not None:
            skip(source, end - source.position)
        return
    while end is None or source.position < end:
        start = _up_to(source, 8)
        if not start and end is None:
            return
        size = struct.unpack(f"{fields.order}i", start[:4])[0] if len(start) == 8 else 0
        if size < _EXTENSION_UNIT or size % _EXTENSION_UNIT or (end is not None and source.position - 8 + size > end):
            raise ScanRejected(
                Reason.HEADER,
                "a header extension's size cannot be right",
                "Export the file again, without extensions if the program can",
            )
        skip(source, size - 8)


def _affine(rows: tuple[float, ...]) -> Affine:
    return np.vstack([np.reshape(rows, (3, 4)), [0.0, 0.0, 0.0, 1.0]])


def _exactly(source: Source, count: int) -> bytes:
    head = _up_to(source, count)
    if len(head) < count:
        raise truncated("the file ends inside its header")
    return head


def _up_to(source: Source, count: int) -> bytes:
    head = b""
    while len(head) < count and (piece := source.read(count - len(head))):
        head += piece
    return head
