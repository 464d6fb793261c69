"""A DICOM segmentation as masks in the grid of the scan it was made from.

BINARY, FRACTIONAL (a voxel belongs from 0.5 on, and a flag says so) and LABELMAP. Every frame goes where its own
position and directions say; a plane without a frame is background. DICOM PS3.3 A.51 and C.8.20.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medcnn.geometry import Geometry
from medcnn.io.dicom.decode import MAX_BYTES
from medcnn.io.dicom.header import missing, reader_errors, text
from medcnn.io.dicom.seg_frames import HALF, Masks, Segmentation, frames_on, masks_of, open_seg, seg_file
from medcnn.io.dicom.segment import Segment, segments_of
from medcnn.io.read import rejecting
from medcnn.scan import Reason, ScanRejected

Labels = npt.NDArray[np.int32]


@rejecting
def segments(path: Path) -> tuple[Segment, ...]:
    """What a segmentation outlines, by number. META_INVALID where the file is no segmentation."""
    return segments_of(seg_file(path).header)


@rejecting
def referenced_series(path: Path) -> str:
    """SeriesInstanceUID of the one series that a segmentation was made from; for the private zone only."""
    dataset = seg_file(path).header
    with reader_errors():
        items = dataset.get("ReferencedSeriesSequence") or []
        found = {uid for item in items if (uid := text(item, "SeriesInstanceUID"))}
    if not found:
        raise missing("ReferencedSeriesSequence")
    if len(found) > 1:
        raise ScanRejected(
            Reason.NOT_A_VOLUME,
            f"the segmentation refers to {len(found)} series",
            "Name the scan that it belongs to in the manifest",
        )
    return found.pop()


@rejecting
def read_seg(
    path: Path, geometry: Geometry, *, segments: Sequence[int] | None = None
) -> tuple[Labels, tuple[str, ...]]:
    """A label map (I, J, K) on the scan's grid, 0 is background, each segment its number; and what to know about it.

    geometry  of the scan that the segmentation belongs to
    segments  the numbers wanted; None takes all
    Raises ScanRejected: GEOMETRY_MISMATCH off the grid, LABEL_VALUES where segments overlap (read_masks takes these).
    """
    opened = open_seg(path)
    wanted = _wanted(opened, segments)
    labels = np.zeros(geometry.shape_vox, dtype=np.int32, order="F")  # planes, as they come, lie together
    overlaps: set[tuple[int, int]] = set()
    for frame in frames_on(opened, geometry):
        view = frame.place.of(labels)
        for number, mask in masks_of(opened, frame, wanted):
            overlaps |= {(int(other), number) for other in np.unique(view[mask]) if other}
            view[mask] = number
    if overlaps:
        pairs = ", ".join(f"{first} and {second}" for first, second in sorted(overlaps)[:5])
        raise ScanRejected(
            Reason.LABEL_VALUES,
            f"segments overlap and cannot be one label map: {pairs}{' ...' if len(overlaps) > 5 else ''}",
            "Choose segments that do not overlap, or read each as a mask of its own",
        )
    return labels, _flags(opened)


@rejecting
def read_masks(
    path: Path, geometry: Geometry, *, segments: Sequence[int] | None = None
) -> tuple[Masks, tuple[int, ...], tuple[str, ...]]:
    """Masks (I, J, K, S) on the scan's grid, which may overlap; the S segments' numbers; and what to know about them.

    As read_seg otherwise.
    """
    opened = open_seg(path)
    wanted = _wanted(opened, segments)
    if (size := int(np.prod(geometry.shape_vox)) * len(wanted)) > MAX_BYTES:
        raise ScanRejected(
            Reason.SIZE_IMPLAUSIBLE,
            f"{len(wanted)} masks of the scan take {size / 2**30:.0f} GiB",
            "Choose fewer segments",
        )
    masks = np.zeros((*geometry.shape_vox, len(wanted)), dtype=bool, order="F")
    channel = {number: at for at, number in enumerate(wanted)}
    for frame in frames_on(opened, geometry):
        for number, mask in masks_of(opened, frame, wanted):
            frame.place.of(masks)[..., channel[number]] = mask
    return masks, wanted, _flags(opened)


def _wanted(opened: Segmentation, segments: Sequence[int] | None) -> tuple[int, ...]:
    if segments is None:
        return opened.numbers
    if unknown := sorted(set(segments) - set(opened.numbers)):
        raise ScanRejected(
            Reason.LABEL_VALUES,
            f"the segmentation has no segment {', '.join(map(str, unknown[:5]))}",
            f"It has {len(opened.numbers)}, numbered {opened.numbers[0]} to {opened.numbers[-1]}",
        )
    return tuple(dict.fromkeys(segments))


def _flags(opened: Segmentation) -> tuple[str, ...]:
    if opened.kind != "FRACTIONAL":
        return ()
    meaning = text(opened.dataset, "SegmentationFractionalType").lower()
    said = meaning if meaning in ("probability", "occupancy") else "value"
    return (f"fractional segmentation: a voxel belongs to its segment from a {said} of {HALF} on",)
