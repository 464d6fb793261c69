"""The files that a volume was read from, as the sources of a segmentation: each with its plane of the scan's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from medcnn.geometry import Geometry
from medcnn.io.dicom.header import text
from medcnn.io.dicom.plane import Place, place_in, plane_of_slice
from medcnn.io.dicom.slices import slices_of
from medcnn.io.dicom.source import Source, headers_of, newest, only_frames, open_whole
from medcnn.io.dicom.split import select
from medcnn.io.dicom.stack import without_copies
from medcnn.io.read import rejecting
from medcnn.scan import Reason, ScanRejected


@rejecting
def source_of(paths: Sequence[Path], geometry: Geometry, chosen: Mapping[str, str]) -> Source:
    """GEOMETRY_MISMATCH where the slices are not the grid's planes, each once; META_INVALID without the UIDs needed.

    Each file is walked once, and no pixel decoded: reports and pictures take the same sources.

    chosen  which part of the series, as in read_volume
    """
    slices = without_copies([one for path in sorted(paths) for one in slices_of(open_whole(path))])
    if chosen:
        slices = select(slices, chosen)
    placed = sorted(
        ((place_in(geometry, plane_of_slice(one)), one) for one in slices),
        key=lambda pair: (pair[0].index, pair[1].name),
    )
    places = [place for place, _ in placed]
    _check_all(geometry, places)
    slices = [one for _, one in placed]
    moment = newest(one.file.header for one in slices)
    if not any("PerFrameFunctionalGroupsSequence" in one.file.header for one in slices):
        headers = headers_of([one.file for one in slices], "FrameOfReferenceUID")
        for place, header in zip(places, headers, strict=True):
            if not text(header, "SliceThickness"):  # where nothing is said, a plane is as thick as its step
                header.SliceThickness = f"{geometry.spacing_mm()[place.axis]:.6g}"
        return Source(headers, places, None, [], moment)
    if (files := len({one.file.path for one in slices})) > 1:
        raise ScanRejected(
            Reason.NOT_A_VOLUME, f"the scan is spread over {files} files of several frames", "Write its result as NIfTI"
        )
    frames = tuple(one.frame for one in slices)
    (header,) = headers_of([slices[0].file], "FrameOfReferenceUID")
    return Source([only_frames(header, frames)], places, frames, [], moment)


def _check_all(geometry: Geometry, places: Sequence[Place]) -> None:
    """Places in order: every plane of the grid along one axis, once."""
    if len({(place.axis, place.rows_axis, place.rows_mirrored, place.columns_mirrored) for place in places}) > 1:
        raise ScanRejected(
            Reason.ORIENTATION_INCONSISTENT, "the sources lie in several orientations", "Name the files of one volume"
        )
    repeated = len(places) - len({place.index for place in places})
    if repeated:
        raise ScanRejected(
            Reason.SLICE_DUPLICATE,
            f"{repeated} planes of the scan have a second source",
            "Name the files of one volume alone, or choose one as for reading it",
        )
    wanted = geometry.shape_vox[places[0].axis] if places else 0
    if not places or len(places) != wanted:
        raise ScanRejected(
            Reason.GEOMETRY_MISMATCH,
            f"{len(places)} sources for the {wanted} planes of the scan",
            "Name all files of the scan",
        )
