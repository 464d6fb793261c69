"""A NIfTI header, checked before any memory is taken for voxels, and the place it gives them."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medcnn.geometry import Affine, Geometry
from medcnn.io.nifti_bytes import Source, truncated
from medcnn.scan import Reason, ScanRejected

MAX_DATA_BYTES = 8 * 2**30
BOMB_BYTES, BOMB_RATIO = 2**30, 200
DEFLATE_MOST = 1040  # deflate cannot pack better than 1032:1
PLAIN_MOST = 64  # a plain file that claims more than this many times its size was not cut, its header lies
MAX_SPACING_MM = 100.0
SAME_CORNERS_VOX = 0.01
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown is taken as mm, as everywhere


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """What the header says, once it is plausible."""

    dtype: np.dtype[Any]
    stored_shape: tuple[int, ...]
    offset: int
    slope: float
    inter: float
    pixdim: npt.NDArray[np.float64]  # 8 numbers; the first is qfac
    unit_mm: float
    qform_code: int
    sform_code: int
    quaternion: npt.NDArray[np.float64]  # b, c, d, x, y, z
    sform: Affine

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

    def place(self, form: Literal["sform", "qform"]) -> tuple[Geometry | None, tuple[float, ...], dict[str, str]]:
        """(geometry, spacing in mm, flags); no geometry for a 2D file, or where neither form is set."""
        spacing_mm = tuple(float(size) * self.unit_mm for size in self.pixdim[1 : 1 + len(self.shape)])
        if self.qform_code <= 0 and self.sform_code <= 0:
            return None, spacing_mm, {"orientation": Reason.ORIENTATION_UNKNOWN.value}
        if self.qform_code > 0 and self.sform_code > 0:
            self._check_agreement()
        use_sform = self.sform_code > 0 and (form == "sform" or self.qform_code <= 0)
        affine = self.sform if use_sform else self.qform()
        flags = {
            "form": "sform" if use_sform else "qform",
            "form_code": str(self.sform_code if use_sform else self.qform_code),
        }
        if np.linalg.matrix_rank(_checked(affine)[:3, :3], tol=1e-6) < 3:
            raise _geometry("the affine is singular")
        if _is_sheared(affine):
            flags["sheared"] = "yes"
        affine = np.diag([self.unit_mm] * 3 + [1.0]) @ affine
        if len(self.shape) < 3:
            return None, spacing_mm, flags
        geometry = Geometry(affine, (self.shape[0], self.shape[1], self.shape[2]))
        return geometry, tuple(float(size) for size in geometry.spacing_mm()), flags

    def qform(self) -> Affine:
        """The rotation of the unit quaternion whose b, c, d are stored, with qfac on the third axis."""
        b, c, d = self.quaternion[:3]
        square = 1 - (b * b + c * c + d * d)
        if square < -1e-5:
            raise _geometry("the quaternion is longer than one")
        if square < 1e-7:  # a half turn: a is rounding noise, b, c, d alone are the unit vector
            a, (b, c, d) = 0.0, self.quaternion[:3] / np.linalg.norm(self.quaternion[:3])
        else:
            a = math.sqrt(square)
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
            ]
        )
        affine = np.eye(4)
        affine[:3, :3] = rotation * (self.pixdim[1:4] * [1, 1, -1 if self.pixdim[0] < 0 else 1])
        affine[:3, 3] = self.quaternion[3:]
        return affine

    def _check_agreement(self) -> None:
        """Both forms set: one handedness, and for the same space the same corners."""
        qform, sform = _checked(self.qform()), _checked(self.sform)
        if np.linalg.det(qform[:3, :3]) * np.linalg.det(sform[:3, :3]) < 0:
            raise _conflict("qform and sform are mirror images of each other")
        if self.qform_code != self.sform_code or len(self.shape) < 3 or abs(np.linalg.det(sform[:3, :3])) < 1e-12:
            return
        shape = (self.shape[0], self.shape[1], self.shape[2])
        apart_mm = Geometry(qform, shape).corner_distance_mm(Geometry(sform, shape))
        apart_vox = apart_mm / float(np.linalg.norm(sform[:3, :3], axis=0).min())
        if apart_vox > SAME_CORNERS_VOX:
            raise _conflict(f"qform and sform name the same space but place corners {apart_vox:.3f} voxels apart")


def parse_header(source: Source) -> NiftiHeader:
    """Read and check the header; source is at its start, and stands behind the header afterwards."""
    head = _read_head(source)
    order: Literal["<", ">"] = "<" if head[:4] in ((348).to_bytes(4, "little"), (540).to_bytes(4, "little")) else ">"
    if len(head) == 348:
        datatype, bitpix = struct.unpack_from(f"{order}2h", head, 70)
        dim = struct.unpack_from(f"{order}8h", head, 40)
        pixdim = np.array(struct.unpack_from(f"{order}8f", head, 76), dtype=np.float64)
        offset, slope, inter = struct.unpack_from(f"{order}3f", head, 108)
        units = head[123]
        codes = struct.unpack_from(f"{order}2h", head, 252)
        quaternion = np.array(struct.unpack_from(f"{order}6f", head, 256), dtype=np.float64)
        srows = struct.unpack_from(f"{order}12f", head, 280)
    else:
        datatype, bitpix = struct.unpack_from(f"{order}2h", head, 12)
        dim = struct.unpack_from(f"{order}8q", head, 16)
        pixdim = np.array(struct.unpack_from(f"{order}8d", head, 104))
        offset, slope, inter = struct.unpack_from(f"{order}q2d", head, 168)
        units = struct.unpack_from(f"{order}i", head, 500)[0]
        codes = struct.unpack_from(f"{order}2i", head, 344)
        quaternion = np.array(struct.unpack_from(f"{order}6d", head, 352))
        srows = struct.unpack_from(f"{order}12d", head, 400)
    slope, inter = _scaling(float(slope), float(inter))
    header = NiftiHeader(
        dtype=_dtype(datatype, bitpix, order),
        stored_shape=_shape(dim),
        offset=_offset(float(offset), len(head)),
        slope=slope,
        inter=inter,
        pixdim=pixdim,
        unit_mm=_UNITS_MM.get(units & 7, 1.0),
        qform_code=codes[0],
        sform_code=codes[1],
        quaternion=quaternion,
        sform=np.vstack([np.reshape(srows, (3, 4)), [0, 0, 0, 1]]),
    )
    _check(header, source)
    return header


def _read_head(source: Source) -> bytes:
    head = _fill(source, 4)
    size = int.from_bytes(head, "little")
    size = size if size in (348, 540) else int.from_bytes(head, "big")
    if size not in (348, 540):
        raise ScanRejected(Reason.NOT_NIFTI, "no NIfTI header", "Export the file again")
    head += _fill(source, size - 4)
    magic = head[344:348] if size == 348 else head[4:8]
    if magic in (b"ni1\0", b"ni2\0"):
        raise ScanRejected(
            Reason.NOT_NIFTI, "one half of a two-file .hdr and .img pair", "Convert the pair into one .nii file"
        )
    if magic not in (b"n+1\0", b"n+2\0"):
        raise ScanRejected(Reason.NOT_NIFTI, "no NIfTI magic", "Export the file again")
    return head


def _fill(source: Source, count: int) -> bytes:
    head = b""
    while len(head) < count:
        piece = source.read(count - len(head))
        if not piece:
            raise truncated("the file ends inside its header")
        head += piece
    return head


def _dtype(datatype: int, bitpix: int, order: Literal["<", ">"]) -> np.dtype[Any]:
    if datatype not in _TYPES:
        raise ScanRejected(
            Reason.DTYPE,
            f"voxels of NIfTI data type {datatype} (colour, complex ...) are no grey values",
            "Convert the file",
        )
    dtype = np.dtype(_TYPES[datatype]).newbyteorder(order)
    if bitpix != 8 * dtype.itemsize:
        raise _header(f"{bitpix} bits per voxel do not fit data type {datatype}")
    return dtype


def _shape(dim: tuple[int, ...]) -> tuple[int, ...]:
    if not 1 <= dim[0] <= 7:
        raise _header("the number of dimensions is not 1 to 7")
    shape = dim[1 : 1 + dim[0]]
    if min(shape) <= 0:
        raise _header("a dimension is zero or negative")
    return shape


def _offset(offset: float, header_bytes: int) -> int:
    if not math.isfinite(offset) or not header_bytes + 4 <= offset < 2**31 or offset != int(offset):
        raise _header("the voxels are said to begin where they cannot")
    return int(offset)


def _scaling(slope: float, inter: float) -> tuple[float, float]:
    """Slope 0 and nan mean that nothing is scaled."""
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if not math.isfinite(slope) or not math.isfinite(inter):
        raise ScanRejected(Reason.RESCALE_INVALID, "the scaling is not finite", "Repair scl_slope and scl_inter")
    return slope, inter


def _check(header: NiftiHeader, source: Source) -> None:
    """Size against bytes, spacing, number of axes: before memory is taken."""
    claimed, present = header.data_bytes, source.file_bytes
    if claimed > MAX_DATA_BYTES:
        raise _header(f"{claimed / 2**30:.0f} GiB of voxels are claimed")
    if source.packed and claimed > BOMB_BYTES and claimed > BOMB_RATIO * present:
        raise ScanRejected(
            Reason.BOMB,
            f"the file would unpack to {claimed / present:.0f} times its size",
            "Store it unpacked, if it is real",
        )
    if claimed > (DEFLATE_MOST if source.packed else PLAIN_MOST) * present:
        raise _header("far more voxels are claimed than the file can hold")
    if not source.packed and header.offset + claimed > present:
        if header.offset > present:
            raise _header("the voxels are said to begin behind the file's end")
        raise truncated(f"{max(present - header.offset, 0)} of {claimed} voxel bytes are there")
    if len(header.shape) < 2:
        raise _header("fewer than two axes make no image")
    sizes = header.pixdim[1 : 1 + min(len(header.shape), 3)] * header.unit_mm
    if not ((sizes > 0) & (sizes <= MAX_SPACING_MM)).all():  # nan too
        raise _header(f"a voxel edge is not between 0 and {MAX_SPACING_MM:g} mm")


def _checked(affine: Affine) -> Affine:
    if not np.isfinite(affine).all():
        raise _geometry("the affine holds values that are no finite numbers")
    return affine


def _is_sheared(affine: Affine) -> bool:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3)


def _header(found: str) -> ScanRejected:
    return ScanRejected(Reason.HEADER, found, "Export the file again; its header cannot be right")


def _geometry(found: str) -> ScanRejected:
    return ScanRejected(Reason.GEOMETRY_INVALID, found, "Correct qform and sform where the file was made")


def _conflict(found: str) -> ScanRejected:
    return ScanRejected(
        Reason.QSFORM_CONFLICT, found, "Find out which one is right and write it into both, where the file was made"
    )
