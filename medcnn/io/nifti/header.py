"""A NIfTI header, checked against itself and the file's size before any memory is taken for voxels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from medcnn.io.nifti.file_bytes import Source, truncated
from medcnn.io.nifti.layout import Fields, Order
from medcnn.io.nifti.place import header_rejected
from medcnn.scan import Reason, ScanRejected

MAX_DATA_BYTES = 8 * 2**30
BOMB_BYTES, BOMB_RATIO = 2**30, 200
DEFLATE_MOST = 1040  # deflate cannot pack better than 1032:1
PLAIN_MOST = 64  # a plain file that claims more than this many times its size was not cut, its header lies
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_SLOPES = (1e-15, 1e15)  # from diffusion in m²/s to activity in Bq, with room to spare


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """How the voxels are stored, once it is plausible.

    stored_shape  as in the file, axes of one included
    offset        bytes before the first voxel, in the file that holds the voxels
    """

    dtype: np.dtype[Any]
    stored_shape: tuple[int, ...]
    offset: int
    slope: float
    inter: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Without trailing axes of one beyond the third."""
        shape = self.stored_shape
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        return shape

    @property
    def data_bytes(self) -> int:
        return math.prod(self.stored_shape) * self.dtype.itemsize


def checked_header(fields: Fields, source: Source) -> NiftiHeader:
    """Check the fields against each other and the file that holds the voxels.

    Raises DTYPE, HEADER, RESCALE_INVALID, TRUNCATED, BOMB.
    """
    slope, inter = _scaling(fields.scl_slope, fields.scl_inter)
    header = NiftiHeader(
        dtype=_dtype(fields.datatype, fields.bitpix, fields.order),
        stored_shape=_shape(fields.dim),
        offset=_offset(fields.vox_offset, 0 if fields.paired else fields.header_bytes + 4),
        slope=slope,
        inter=inter,
    )
    if len(header.shape) < 2:
        raise header_rejected("fewer than two axes make no image")
    _check_size(header, source)
    return header


def _dtype(datatype: int, bitpix: int, order: Order) -> np.dtype[Any]:
    if datatype not in _TYPES:
        raise ScanRejected(
            Reason.DTYPE,
            f"voxels of NIfTI data type {datatype} (colour, complex ...) are no grey values",
            "Convert the file",
        )
    dtype = np.dtype(_TYPES[datatype]).newbyteorder(order)
    if bitpix != 8 * dtype.itemsize:
        raise header_rejected(f"{bitpix} bits per voxel do not fit data type {datatype}")
    return dtype


def _shape(dim: tuple[int, ...]) -> tuple[int, ...]:
    if not 1 <= dim[0] <= 7:
        raise header_rejected("the number of dimensions is not 1 to 7")
    shape, beyond = dim[1 : 1 + dim[0]], dim[1 + dim[0] :]
    if min(shape) <= 0:
        raise header_rejected("a dimension is zero or negative")
    if not set(beyond) <= {0, 1}:  # programs write 1, old ones 0
        raise header_rejected(f"sizes are given beyond the {dim[0]} dimensions that the file is said to have")
    return shape


def _offset(offset: float, least: int) -> int:
    if not math.isfinite(offset) or not least <= offset < 2**31 or offset != int(offset):
        raise header_rejected("the voxels are said to begin where they cannot")
    return int(offset)


def _scaling(slope: float, inter: float) -> tuple[float, float]:
    """Slope 0 and nan mean that nothing is scaled."""
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if not math.isfinite(inter) or not _SLOPES[0] <= abs(slope) <= _SLOPES[1]:  # an infinite slope too
        raise rescale_rejected("the scaling is not finite, or beyond any measured quantity")
    return slope, inter


def _check_size(header: NiftiHeader, source: Source) -> None:
    """The claimed bytes against those present. A plain file holds exactly these; what gzip holds shows at its end."""
    claimed, present = header.data_bytes, source.file_bytes
    if claimed > MAX_DATA_BYTES:
        raise header_rejected(f"{claimed / 2**30:.0f} GiB of voxels are claimed")
    total = header.offset + claimed
    if source.packed and total > BOMB_BYTES and total > BOMB_RATIO * present:
        raise ScanRejected(
            Reason.BOMB,
            f"the file would unpack to {total / present:.0f} times its size",
            "Store it unpacked, if it is real",
        )
    if total > (DEFLATE_MOST if source.packed else PLAIN_MOST) * present:
        raise header_rejected("far more voxels are claimed than the file can hold")
    if not source.packed and total > present:
        if header.offset > present:
            raise header_rejected("the voxels are said to begin behind the file's end")
        raise truncated(f"{present - header.offset} of {claimed} voxel bytes are there")


def rescale_rejected(found: str) -> ScanRejected:
    return ScanRejected(Reason.RESCALE_INVALID, found, "Repair scl_slope and scl_inter where the file was made")
