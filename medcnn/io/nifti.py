"""NIfTI-1 and NIfTI-2 in one file, plain or gzip: every byte checked, nothing guessed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medcnn.geometry import Geometry
from medcnn.io.nifti_bytes import Source, read_exactly
from medcnn.io.nifti_header import NiftiHeader, parse_header
from medcnn.io.options import Form
from medcnn.scan import Reason, Scan, ScanRejected

LABEL_TOLERANCE = 1e-3


def read_nifti(path: Path, *, form: Form = "sform", volume: int | None = None) -> Scan:
    """(1, I, J, K) in the file's own order, or (1, H, W) for a 2D file; float32 after its scaling.

    form    which affine to take where both are set
    volume  number of one volume in a 4D file, from 0
    """
    header, raw, facts = _read(path)
    raw = _selected(raw, volume)
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        count = int(np.size(raw) - np.isfinite(raw).sum())
        raise ScanRejected(
            Reason.NONFINITE,
            f"{count} voxel(s) are no finite numbers",
            "Repair the file where it was made; do not fill in",
        )
    voxels = _scaled(raw, header)
    value_range = None
    if raw.dtype.kind != "f":
        info = np.iinfo(raw.dtype)
        ends = sorted(float(end) * header.slope + header.inter for end in (info.min, info.max))
        value_range = (ends[0], ends[1])
    geometry, spacing_mm, geometry_facts = header.place(form)
    spacing_mm = spacing_mm[: voxels.ndim]
    if voxels.ndim == 2:
        voxels, spacing_mm = voxels.T, spacing_mm[1::-1]  # rows by columns
    return Scan(
        voxels=voxels[None],
        geometry=geometry,
        spacing_mm=spacing_mm,
        value_range=value_range,
        facts={"format": "NIfTI", "dtype": raw.dtype.name, "spacing_source": geometry_facts.get("form", "pixdim")}
        | geometry_facts
        | facts,
    )


def read_labels(
    path: Path, *, declared: Collection[int] | None = None, form: Form = "sform"
) -> tuple[npt.NDArray[np.int32], Geometry | None]:
    """A mask as whole numbers (I, J, K), exactly; LABEL_VALUES for anything that is none, or not declared."""
    header, raw, _ = _read(path)
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
    return labels.astype(np.int32), header.place(form)[0]


def _read(path: Path) -> tuple[NiftiHeader, npt.NDArray[Any], dict[str, str]]:
    """Header, voxels as stored (trailing axes of one dropped), and what was odd about the bytes."""
    with Source(path) as source:
        header = parse_header(source)
        data = read_exactly(source, header.offset - source.position, header.data_bytes)
        facts = source.drain(header.data_bytes)
    raw = np.frombuffer(data, dtype=header.dtype).reshape(header.stored_shape, order="F")
    return header, raw.reshape(header.shape, order="F"), facts


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


def _scaled(raw: npt.NDArray[Any], header: NiftiHeader) -> npt.NDArray[np.float32]:
    if header.slope == 1 and header.inter == 0:
        return raw.astype(np.float32)
    scaled = np.empty(raw.shape, dtype=np.float32, order="F")
    for index in range(raw.shape[-1]):  # slice by slice: double precision without double memory
        scaled[..., index] = raw[..., index].astype(np.float64) * header.slope + header.inter
    if not np.isfinite(scaled).all():
        raise ScanRejected(Reason.NONFINITE, "scaled values are beyond 32-bit floats", "Repair the file's scaling")
    return scaled
