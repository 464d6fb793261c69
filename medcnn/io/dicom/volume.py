"""One DICOM series as a volume: slices, enhanced frames or tiles, put in order by their positions, never guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset

from medcnn.geometry import Geometry
from medcnn.io.dicom.decode import PixelFormat, check_size, pixel_format
from medcnn.io.dicom.header import DicomFile, text
from medcnn.io.dicom.image import check_burned_in, facts_of, image_of
from medcnn.io.dicom.pixels import Meaning, frame_values
from medcnn.io.dicom.slices import Slice, rounding_mm, slices_of
from medcnn.io.dicom.split import check_repeats, select
from medcnn.io.dicom.stack import (
    affine_of_slices,
    check_alike,
    check_grid,
    check_one_origin,
    check_tilt,
    in_order,
    too_few,
    without_copies,
)
from medcnn.io.dicom.tilt import straightened
from medcnn.io.options import AS_THE_FILE_SAYS, Reading
from medcnn.scan import Scan

Voxels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Stack:
    """Voxels (slices, rows, columns) and what was learned of the files on the way."""

    voxels: Voxels
    value_range: tuple[float, float]
    header: FileDataset
    form: PixelFormat


def read_volume(
    files: Sequence[DicomFile], reading: Reading = AS_THE_FILE_SAYS, *, chosen: Mapping[str, str] | None = None
) -> Scan:
    """The files of one series, in any order, as (1, I, J, K) with i along a row, j down a column, k along the slices.

    chosen  which part of the series, where it holds several volumes: key -> value, see dicom_split
    """
    every = [one for file in files for one in slices_of(file, detile=reading.mosaic == "detile")]
    slices = without_copies(every)
    copies = len(every) - len(slices)
    check_one_origin(slices)
    if chosen:
        slices = select(slices, chosen)
    if chosen and len(slices) == 1:  # one of several directions, say: a picture, not a volume
        return image_of(slices[0].file, reading, frame=slices[0].frame, chosen=chosen)
    check_alike(slices)
    slices = in_order(slices)
    check_repeats(slices)
    tilted = _check_places(slices, reading)
    stack = _stack(slices, reading)
    flags = _flags(slices, copies, chosen or {}, tilted=tilted)
    return _scan(slices, stack, reading, flags, tilted=tilted, chosen=chosen or {})


def _check_places(slices: Sequence[Slice], reading: Reading) -> bool:
    """Tilt, spacing, count, in this order; whether the stack must be sheared back."""
    positions_mm = np.array([one.position_mm for one in slices])
    tilted = check_tilt(positions_mm, slices[0], resample=reading.tilt == "resample")
    decimals_mm = min(rounding_mm(one.header) for one in slices)  # writers drop trailing zeros: the longest counts
    check_grid(positions_mm, slices[0].normal, rounding_mm=decimals_mm)
    if len(slices) < reading.min_slices:
        raise too_few(len(slices), reading.min_slices)
    return tilted


def _flags(slices: Sequence[Slice], copies: int, chosen: Mapping[str, str], *, tilted: bool) -> dict[str, str]:
    flags = {"spacing_source": "PixelSpacing", "slices": str(len(slices)), **chosen}
    if copies:
        flags["copies_ignored"] = str(copies)
    if slices[0].mosaic:
        flags["mosaic"] = "taken apart"
    if tilted:
        flags["tilt"] = "resampled"
    return flags


def _scan(
    slices: Sequence[Slice],
    stack: Stack,
    reading: Reading,
    flags: dict[str, str],
    *,
    tilted: bool,
    chosen: Mapping[str, str],
) -> Scan:
    voxels, affine = straightened(stack.voxels, slices) if tilted else (stack.voxels, affine_of_slices(slices))
    count, rows, columns = voxels.shape
    geometry = Geometry(affine, (columns, rows, count))
    first, second, third = geometry.spacing_mm()
    return Scan(
        voxels=voxels.transpose(2, 1, 0)[None],
        geometry=geometry,
        spacing_mm=(float(first), float(second), float(third)),
        value_range=stack.value_range,
        modality=text(stack.header, "Modality").upper(),
        body_part=text(stack.header, "BodyPartExamined").upper(),
        identity=(*sorted({one.uid for one in slices}), *(f"{key}={value}" for key, value in chosen.items())),
        patient_id=text(stack.header, "PatientID"),
        facts=facts_of(stack.header, stack.form, reading.voi) | flags,
    )


def _stack(slices: Sequence[Slice], reading: Reading) -> Stack:
    """Decode slice by slice, each with its own rescale."""
    rows, columns = slices[0].size
    voxels = np.empty((len(slices), rows, columns), dtype=np.float32)
    ranges = []
    opened: _Open | None = None
    meaning: tuple[tuple[str, int], Meaning] | None = None
    for number, one in enumerate(slices):
        if opened is None or opened.file is not one.file:
            if opened is not None:
                opened.file.release()
            opened = _Open.of(one.file, reading)
        if meaning is None or meaning[0] != one.name[:2]:  # the tiles of a mosaic share one picture
            values = frame_values(opened.dataset, opened.form, one.frame, one.header, reading.voi)
            meaning = one.name[:2], values
            ranges.append(values.value_range)
        place = one.mosaic[0].place(one.mosaic[1], (opened.form.rows, opened.form.columns)) if one.mosaic else ...
        voxels[number] = meaning[1].values[place]
    assert opened is not None
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return Stack(voxels, (low, high), opened.dataset, opened.form)


@dataclass(frozen=True)
class _Open:
    file: DicomFile
    dataset: FileDataset
    form: PixelFormat

    @classmethod
    def of(cls, file: DicomFile, reading: Reading) -> _Open:
        dataset = file.image()
        form = pixel_format(dataset)
        check_size(dataset, form)
        check_burned_in(dataset, reading.burned_in)
        return cls(file, dataset, form)
