"""Who reads: medcnn, and beside it raw pydicom and raw nibabel as most people call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.robustness.catalogue import Format
from benchmarks.robustness.mutation import Seed

Affine = npt.NDArray[np.float64]
SAME_VALUES = 1e-5  # of the seed's range: below what a changed value would mean
SAME_PLACE = 1e-3  # mm, of corner voxels
SAME_SPACING = 1e-4  # relative


@dataclass(frozen=True, eq=False)
class Result:
    """What came out. An affine or a spacing that is None was said to be unknown, which is never wrong."""

    arrays: Sequence[npt.NDArray[Any]]
    affine: Affine | None = None
    spacing_mm: tuple[float, ...] | None = None
    whole: bool = True  # False: parts of one result contradict each other


Read = Callable[[Path, Seed], Result]


class Refused(Exception):  # noqa: N818  an outcome
    """A typed rejection; code names it."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        self.code = code


def reader_of(name: str, kind: Format) -> Read:
    if name == "medcnn":
        return by_medcnn
    return by_pydicom if kind == "dicom" else by_nibabel


def by_medcnn(folder: Path, seed: Seed) -> Result:
    from medcnn.io.options import Reading
    from medcnn.io.read import read_scan
    from medcnn.scan import ScanRejected

    options = dict(seed.options)
    labels = options.pop("labels", None)
    try:
        if labels is not None:
            from medcnn.io.nifti.reader import read_labels

            values, geometry = read_labels(folder / seed.reference, declared=labels)
            whole = geometry is None or geometry.shape_vox == values.shape
            return Result([values], None if geometry is None else geometry.affine, whole=whole)
        scan = read_scan(folder, seed.reference, Reading(**options))
    except ScanRejected as rejected:
        raise Refused(rejected.rejection.code.value, str(rejected)) from rejected
    shape = scan.voxels.shape[1:]
    whole = (
        scan.voxels.dtype == np.float32
        and bool(np.isfinite(scan.voxels).all())
        and (scan.geometry is None or scan.geometry.shape_vox == shape)
        and (scan.spacing_mm is None or len(scan.spacing_mm) == len(shape))
    )
    return Result([scan.voxels], None if scan.geometry is None else scan.geometry.affine, scan.spacing_mm, whole)


def by_pydicom(folder: Path, seed: Seed) -> Result:
    import pydicom
    from pydicom.errors import BytesLengthException, InvalidDicomError

    arrays, places = [], []
    try:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            dataset = pydicom.dcmread(path)
            arrays.append(dataset.pixel_array)
            slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
            spacing = [float(value) for value in dataset.get("PixelSpacing", [])]
            place = [float(value) for value in dataset.get("ImagePositionPatient", [])]
            turn = [float(value) for value in dataset.get("ImageOrientationPatient", [])]
            places.append(np.array([slope, intercept, *spacing, *place, *turn]))
    except (InvalidDicomError, BytesLengthException) as error:
        raise Refused(type(error).__name__, str(error)) from error
    return Result([*arrays, *places])


def by_nibabel(folder: Path, seed: Seed) -> Result:
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        loaded: Any = nibabel.load(folder / seed.reference.partition("#")[0])
        return Result([loaded.get_fdata()], np.asarray(loaded.affine, dtype=np.float64))
    except (ImageFileError, HeaderDataError, WrapStructError) as error:
        raise Refused(type(error).__name__, str(error)) from error


def same(found: Result, truth: Result) -> bool:
    """Equal in voxels and, where it is said, in place and spacing."""
    if len(found.arrays) != len(truth.arrays):
        return False
    if not all(_same_values(one, other) for one, other in zip(found.arrays, truth.arrays, strict=True)):
        return False
    if found.affine is not None and not _same_place(found.affine, truth.affine, truth.arrays[0].shape[-3:]):
        return False
    if found.spacing_mm is None:
        return True
    return truth.spacing_mm is not None and np.allclose(found.spacing_mm, truth.spacing_mm, rtol=SAME_SPACING, atol=0)


def _same_values(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    if one.shape != other.shape:
        return False
    if np.array_equal(one, other):
        return True
    width = float(np.ptp(other.astype(np.float64))) or 1.0
    with np.errstate(all="ignore"):
        return bool((np.abs(one.astype(np.float64) - other.astype(np.float64)) <= SAME_VALUES * width).all())


def _same_place(one: Affine, other: Affine | None, shape: tuple[int, ...]) -> bool:
    if other is None:
        return False
    corners = np.array(np.meshgrid(*([0, size - 1] for size in shape))).reshape(len(shape), -1)
    corners = np.vstack([corners, np.zeros((3 - len(shape), corners.shape[1])), np.ones((1, corners.shape[1]))])
    with np.errstate(all="ignore"):
        return bool((np.abs((one - other) @ corners) <= SAME_PLACE).all())
