"""One DICOM series as a volume: classic slices or enhanced frames, put in order by their positions, never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset

from medcnn.geometry import Geometry
from medcnn.io.dicom_decode import PixelFormat, check_size, pixel_format
from medcnn.io.dicom_frames import FRAME_KEYWORDS, frame_header
from medcnn.io.dicom_header import check_is_image, integer, missing, read_header, text
from medcnn.io.dicom_image import check_burned_in, facts_of
from medcnn.io.dicom_pixels import frame_values
from medcnn.io.dicom_slices import (
    Slice,
    affine_of_slices,
    check_alike,
    check_grid,
    check_repeats,
    in_order,
    slice_of,
    too_few,
)
from medcnn.io.options import AS_THE_FILE_SAYS, BurnedIn, Reading
from medcnn.scan import Reason, Scan, ScanRejected

SLICE_TAGS = [
    *FRAME_KEYWORDS,
    *("SOPInstanceUID", "Rows", "Columns", "NumberOfFrames"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]


@dataclass(frozen=True)
class Stack:
    """Voxels (columns, rows, slices) and what was learned of the files on the way."""

    voxels: npt.NDArray[np.float32]
    value_range: tuple[float, float]
    header: FileDataset
    form: PixelFormat


def read_volume(paths: Sequence[Path], reading: Reading = AS_THE_FILE_SAYS) -> Scan:
    """The files of one series as (1, I, J, K) with i along a row, j down a column, k along the slices."""
    every = [one for path in sorted(paths) for one in slices_of(path)]
    slices = without_copies(every)
    check_alike(slices)
    slices = in_order(slices)
    check_repeats(slices)
    positions_mm = np.array([one.position_mm for one in slices])
    rounding_mm = min(one.rounding_mm for one in slices)  # a writer drops trailing zeros, so the longest counts
    check_grid(positions_mm, slices[0].normal, pixel_mm=min(slices[0].spacing_mm), rounding_mm=rounding_mm)
    if len(slices) < reading.min_slices:
        raise too_few(len(slices), reading.min_slices)
    stack = _stack(slices, reading)
    rows, columns = slices[0].size
    geometry = Geometry(affine_of_slices(slices), (columns, rows, len(slices)))
    first, second, third = geometry.spacing_mm()
    copies = len(every) - len(slices)
    return Scan(
        voxels=stack.voxels[None],
        geometry=geometry,
        spacing_mm=(float(first), float(second), float(third)),
        value_range=stack.value_range,
        modality=text(stack.header, "Modality").upper(),
        body_part=text(stack.header, "BodyPartExamined").upper(),
        identity=tuple(sorted({one.uid for one in slices})),
        patient_id=text(stack.header, "PatientID"),
        facts=facts_of(stack.header, stack.form, reading.voi)
        | {"spacing_source": "PixelSpacing", "slices": str(len(slices))}
        | ({"copies_ignored": str(copies)} if copies else {}),
    )


def slices_of(path: Path) -> list[Slice]:
    """The slices of one file, from its header alone."""
    dataset = read_header(path, tags=SLICE_TAGS, pixels=False)
    uid = text(dataset, "SOPInstanceUID")
    size = integer(dataset, "Rows"), integer(dataset, "Columns")
    frames = max(integer(dataset, "NumberOfFrames", 1), 1)
    if frames > 1:
        _check_frames(dataset, frames)
    return [slice_of(frame_header(dataset, index), path, index, uid, size) for index in range(frames)]


def _check_frames(dataset: Dataset, frames: int) -> None:
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != frames:
        raise ScanRejected(
            Reason.GEOMETRY_INVALID,
            f"{frames} frames, of which {len(groups)} say where they lie",
            "Export the series as an enhanced object with its functional groups, or slice by slice; "
            "a single frame can be named with #frame=",
        )


def without_copies(slices: Sequence[Slice]) -> list[Slice]:
    """A file copied twice counts once; two different slices under one UID are an error."""
    kept: dict[tuple[str, int], Slice] = {}
    for one in slices:
        if not one.uid:
            raise missing("SOPInstanceUID")
        other = kept.setdefault((one.uid, one.frame), one)
        if not np.allclose(other.position_mm, one.position_mm, atol=1e-3):
            raise ScanRejected(
                Reason.META_INVALID, "two different slices share one SOPInstanceUID", "Export the series again"
            )
    return list(kept.values())


def _stack(slices: Sequence[Slice], reading: Reading) -> Stack:
    """Decode slice by slice, each with its own rescale."""
    rows, columns = slices[0].size
    voxels = np.empty((len(slices), rows, columns), dtype=np.float32)
    lows, highs = [], []
    opened: tuple[Path, FileDataset, PixelFormat] | None = None
    for number, one in enumerate(slices):
        if opened is None or opened[0] != one.path:
            opened = one.path, *_open(one.path, reading.burned_in)
        _, dataset, form = opened
        meaning = frame_values(dataset, form, one.frame, frame_header(dataset, one.frame), reading.voi)
        voxels[number] = meaning.values
        lows.append(meaning.value_range[0])
        highs.append(meaning.value_range[1])
    assert opened is not None
    return Stack(voxels.transpose(2, 1, 0), (min(lows), max(highs)), opened[1], opened[2])


def _open(path: Path, burned_in: BurnedIn) -> tuple[FileDataset, PixelFormat]:
    dataset = read_header(path)
    check_is_image(dataset)
    form = pixel_format(dataset)
    check_size(dataset, form)
    check_burned_in(dataset, burned_in)
    return dataset, form
