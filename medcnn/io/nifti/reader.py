"""NIfTI-1 and NIfTI-2, one file or a .hdr and .img pair, plain or gzip: every byte checked, nothing guessed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medcnn.geometry import Geometry
from medcnn.io.nifti.file_bytes import Source, read_exactly, skip
from medcnn.io.nifti.header import NiftiHeader, checked_header, rescale_rejected
from medcnn.io.nifti.kin import voxel_file
from medcnn.io.nifti.layout import Fields, pass_extensions, read_fields
from medcnn.io.nifti.place import Place, header_rejected, place_of
from medcnn.io.options import Form
from medcnn.scan import Reason, Scan, ScanRejected

LABEL_TOLERANCE = 1e-3


def read_nifti(path: Path, *, form: Form = "sform", volume: int | None = None) -> Scan:
    """(1, I, J, K) in the file's own order, or (1, H, W) for a 2D file; float32 after its scaling.

    path    a .nii, or the .hdr of a pair; gzip of either
    form    which affine to take where both are set
    volume  number of one volume in a 4D file, from 0
    """
    header, place, raw, facts = _read(path, form)
    raw = _selected(raw, volume)
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        count = int(np.size(raw) - np.isfinite(raw).sum())
        raise ScanRejected(
            Reason.NONFINITE,
            f"{count} voxel(s) are no finite numbers",
            "Repair the file where it was made; do not fill in",
        )
    voxels, spacing_mm = _scaled(raw, header), place.spacing_mm
    if voxels.ndim == 2:
        voxels, spacing_mm = voxels.T, spacing_mm and spacing_mm[::-1]  # rows by columns
    return Scan(
        voxels=voxels[None],
        geometry=place.geometry,
        spacing_mm=spacing_mm,
        value_range=_value_range(header),
        facts={"format": "NIfTI", "dtype": raw.dtype.name, "spacing_source": _spacing_source(place)}
        | place.facts
        | facts,
    )


def read_labels(
    path: Path, *, declared: Collection[int] | None = None, form: Form = "sform"
) -> tuple[npt.NDArray[np.int32], Geometry | None]:
    """A mask as whole numbers, exactly, (I, J, K) or (H, W); LABEL_VALUES for anything that is none, or not declared.

    Its axes are those of read_nifti without the channel; check_same_grid compares the two.
    """
    header, place, raw, _ = _read(path, form)
    raw = _selected(raw, None)
    values = raw.astype(np.float64) * header.slope + header.inter
    labels = np.rint(values)
    whole = np.isfinite(values) & (np.abs(values - labels) <= LABEL_TOLERANCE)
    wrong = np.unique(values[~whole])[:5].tolist()
    if declared is not None:
        wrong += [value for value in np.unique(labels[whole]).tolist() if value not in declared][:5]
    if wrong:
        named = ", ".join(f"{value:g}" for value in wrong)
        raise ScanRejected(
            Reason.LABEL_VALUES, f"the mask holds {named}", "Correct the mask, or declare these labels in the task"
        )
    if labels.size and np.abs(labels).max() >= 2**31:
        raise ScanRejected(Reason.LABEL_VALUES, "the mask holds labels beyond 32 bits", "Renumber the labels")
    labels = labels.T if labels.ndim == 2 else labels
    return labels.astype(np.int32), place.geometry


def _read(path: Path, form: Form) -> tuple[NiftiHeader, Place, npt.NDArray[Any], dict[str, str]]:
    """Header, place, voxels as stored (trailing axes of one dropped), and what was odd about the bytes."""
    with Source(path) as source:
        fields = read_fields(source)
        if not fields.paired and path.name.lower().endswith((".hdr", ".hdr.gz")):
            raise ScanRejected(Reason.NOT_NIFTI, "one file with its voxels, named .hdr", "Name it .nii, or .nii.gz")
        if fields.paired:
            images = voxel_file(path)
            pass_extensions(source, fields, end=None)
            _end(source)
            with Source(images) as voxels:
                return _with_voxels(fields, voxels, form)
        return _with_voxels(fields, source, form)


def _with_voxels(
    fields: Fields, source: Source, form: Form
) -> tuple[NiftiHeader, Place, npt.NDArray[Any], dict[str, str]]:
    header = checked_header(fields, source)
    place = place_of(fields, header.shape, form)
    if not fields.paired:
        pass_extensions(source, fields, end=header.offset)
    skip(source, header.offset - source.position)
    data = read_exactly(source, header.data_bytes)
    facts = _end(source)
    raw = np.frombuffer(data, dtype=header.dtype).reshape(header.stored_shape, order="F")
    return header, place, raw.reshape(header.shape, order="F"), facts


def _end(source: Source) -> dict[str, str]:
    """Nothing may follow: surplus bytes mean that a size or the start of the voxels is wrong."""
    surplus = source.drain()
    if surplus:
        raise header_rejected(f"{surplus} bytes follow that the header does not account for")
    return {"bytes_behind_gzip": str(source.trailing_bytes)} if source.trailing_bytes else {}


def _selected(raw: npt.NDArray[Any], volume: int | None) -> npt.NDArray[Any]:
    """One volume, which must be named where there are several."""
    if raw.ndim <= 3 and volume in (None, 0):
        return raw
    axes = " x ".join(map(str, raw.shape))
    if raw.ndim > 4 or volume is None:
        raise ScanRejected(
            Reason.FOUR_D_AMBIGUOUS,
            f"the file has {raw.ndim} axes: {axes}",
            "Name one volume of a 4D file with #frame=<number from 0>, or store it in a file of its own",
        )
    if volume >= (raw.shape[3] if raw.ndim == 4 else 1):
        raise ScanRejected(
            Reason.READ_ERROR, f"volume {volume} is asked for, the axes are {axes}", "Name a volume that exists, from 0"
        )
    return raw[..., volume]


def _value_range(header: NiftiHeader) -> tuple[float, float] | None:
    if header.dtype.kind == "f":
        return None
    info = np.iinfo(header.dtype)
    low, high = sorted(float(end) * header.slope + header.inter for end in (info.min, info.max))
    return low, high


def _spacing_source(place: Place) -> str:
    return place.facts.get("form", "unknown" if place.spacing_mm is None else "pixdim")


def _scaled(raw: npt.NDArray[Any], header: NiftiHeader) -> npt.NDArray[np.float32]:
    if header.slope == 1 and header.inter == 0 and raw.dtype.str[1:] != "f8":
        return raw.astype(np.float32)
    scaled = np.empty(raw.shape, dtype=np.float32, order="F")
    with np.errstate(over="ignore"):  # looked for below
        for index in range(raw.shape[-1]):  # slice by slice: double precision without double memory
            scaled[..., index] = raw[..., index].astype(np.float64) * header.slope + header.inter
    if not np.isfinite(scaled).all():
        raise ScanRejected(Reason.NONFINITE, "scaled values are beyond 32-bit floats", "Repair the file's scaling")
    if scaled.min() == scaled.max() and raw.min() != raw.max():
        raise rescale_rejected("after the scaling all voxels are equal, though they were not")
    return scaled
