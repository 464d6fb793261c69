"""A NIfTI-1 file with nothing in it but voxels and their place: whole or not there, the same bytes every time."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from medcnn.geometry import Geometry
from medcnn.io.nifti.place import SAME_CORNERS_VOX, affine_of_quaternion
from medcnn.whole_file import whole

SCANNER = 1  # form code: scanner-based anatomical coordinates
MOST_VOXELS = 2**15 - 1  # along one axis of NIfTI-1
EXACT_IN_FLOAT32 = 2**24
_PACKING = 6  # zlib's own default


def write_nifti(
    path: Path,
    voxels: npt.NDArray[Any],
    geometry: Geometry | None,
    *,
    labels: bool = False,
    spacing_mm: tuple[float, ...] | None = None,
) -> None:
    """Write voxels, in gzip where path ends in .nii.gz. read_nifti gives back the same voxels and the same place.

    voxels      with a geometry (I, J, K), or (I, J, K, C), whose channels become volumes of a 4D file;
                without one (H, W) rows by columns, stored column by column as the format wants, or (I, J, K)
    labels      whole numbers, stored exactly in 8 or 16 unsigned bits; otherwise 32-bit floats
    spacing_mm  edges along the axes of voxels, only where there is no geometry; None leaves the unit unknown

    qform and sform both hold the geometry, as scanner coordinates in mm; where a quaternion cannot express it to
    a hundredth of a voxel (shear, or a rotation close to a half turn), the sform alone does.
    A file is readable by its owner only until somebody decides otherwise, as scans are patient data.
    Raises ValueError for what cannot be stored exactly, OSError; either way no part of a file is left.
    """
    packed = path.name.endswith(".gz")
    if not path.name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"a NIfTI file is named .nii or .nii.gz, not {path.suffix!r}")
    _check_shape(voxels.shape, geometry, spacing_mm)
    dtype = _label_dtype(voxels) if labels else _checked_floats(voxels)
    if voxels.ndim == 2:
        voxels, spacing_mm = voxels.T, spacing_mm and spacing_mm[::-1]
    header = _header(voxels.shape, dtype, geometry, spacing_mm)
    with whole(path) as stream:
        if not packed:
            _write(stream, header, voxels, dtype)
            return
        with gzip.GzipFile(filename="", mode="wb", compresslevel=_PACKING, fileobj=stream, mtime=0) as packing:
            _write(packing, header, voxels, dtype)


def _write(stream: IO[bytes] | gzip.GzipFile, header: Any, voxels: npt.NDArray[Any], dtype: np.dtype[Any]) -> None:
    """Header, four bytes that say "no extensions", then plane by plane, so that no second copy takes memory."""
    stream.write(header.binaryblock + bytes(4))
    for index in np.ndindex(voxels.shape[:1:-1]):
        plane = voxels[(slice(None), slice(None), *reversed(index))]
        stream.write(plane.astype(dtype).tobytes(order="F"))


def _header(
    shape: tuple[int, ...], dtype: np.dtype[Any], geometry: Geometry | None, spacing_mm: tuple[float, ...] | None
) -> Any:
    """A nibabel header; description, names and intent stay empty."""
    import nibabel

    make: Any = nibabel.Nifti1Header  # its methods carry no types
    header = make(endianness="<")
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header["vox_offset"] = len(header.binaryblock) + 4
    header["scl_slope"], header["scl_inter"] = 1, 0  # read as "as stored" by everybody, unlike 0 or nan
    header.set_xyzt_units("unknown" if geometry is None and spacing_mm is None else "mm")
    if geometry is None:
        header.set_zooms(spacing_mm or (1.0,) * len(shape))
        return header
    header.set_qform(geometry.affine, SCANNER, strip_shears=True)  # sets pixdim too
    header.set_sform(geometry.affine, SCANNER)
    if not _quaternion_holds(header, geometry):
        header["qform_code"] = 0
        for name in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
            header[name] = 0
    return header


def _quaternion_holds(header: Any, geometry: Geometry) -> bool:
    """Whether what is left of the rotation in three 32-bit numbers still places the corners."""
    names = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    quaternion = np.array([float(header[name]) for name in names])
    stored = Geometry(affine_of_quaternion(quaternion, header["pixdim"].astype(np.float64)), geometry.shape_vox)
    return stored.corner_distance_mm(geometry) <= SAME_CORNERS_VOX * float(geometry.spacing_mm().min())


def _check_shape(shape: tuple[int, ...], geometry: Geometry | None, spacing_mm: tuple[float, ...] | None) -> None:
    axes = " x ".join(map(str, shape))
    if geometry is None and len(shape) not in (2, 3):
        raise ValueError(f"without a geometry voxels have 2 or 3 axes, not {axes}")
    if geometry is not None and (len(shape) not in (3, 4) or shape[:3] != geometry.shape_vox):
        raise ValueError(f"voxels of {axes} do not lie on a grid of {' x '.join(map(str, geometry.shape_vox))}")
    if geometry is not None and spacing_mm is not None:
        raise ValueError("the geometry says the spacing already")
    if spacing_mm is not None and len(spacing_mm) != len(shape):
        raise ValueError(f"{len(spacing_mm)} spacings for {len(shape)} axes")
    if not 0 < min(shape) <= max(shape) <= MOST_VOXELS:
        raise ValueError(f"NIfTI-1 holds 1 to {MOST_VOXELS} voxels along an axis, not {axes}")


def _label_dtype(voxels: npt.NDArray[Any]) -> np.dtype[Any]:
    """The smallest unsigned type that holds every label. Raises ValueError where none does."""
    if voxels.dtype.kind not in "buif":
        raise ValueError(f"labels are whole numbers, not {voxels.dtype}")
    if voxels.dtype.kind == "f" and not bool((np.isfinite(voxels) & (voxels == np.rint(voxels))).all()):
        raise ValueError("labels are whole numbers, and some voxels are none")
    low, high = float(voxels.min()), float(voxels.max())
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise ValueError(f"labels run from 0 to 65535, not from {low:g} to {high:g}")
    return np.dtype("<u1" if high <= np.iinfo(np.uint8).max else "<u2")


def _checked_floats(voxels: npt.NDArray[Any]) -> np.dtype[Any]:
    """32-bit floats. Raises ValueError where they would not hold a whole number exactly, or a float at all."""
    if voxels.dtype.kind not in "buif":
        raise ValueError(f"voxels are real numbers, not {voxels.dtype}")
    most = float(np.finfo(np.float32).max) if voxels.dtype.kind == "f" else EXACT_IN_FLOAT32
    if not max(-float(voxels.min()), float(voxels.max())) <= most:  # nan too
        raise ValueError(f"some voxels are no finite numbers, or beyond {most:g}")
    return np.dtype("<f4")
