"""A Siemens mosaic: one picture that holds all slices of a volume as tiles, row by row."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medcnn.io.dicom.header import numbers, read_file, reader_errors
from medcnn.scan import Reason, ScanRejected

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mosaic:
    """How one picture is divided.

    count     slices; the last places of the square of tiles may be empty
    per_side  tiles beside each other, and below each other
    step_mm   from one slice to the next, LPS+; the direction is the scanner's, not the tiles' own
    """

    count: int
    per_side: int
    step_mm: Vector

    def tile_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of one tile."""
        return size[0] // self.per_side, size[1] // self.per_side

    def first_position_mm(
        self,
        position_mm: Vector,
        row: Vector,
        column: Vector,
        size: tuple[int, int],
        spacing_mm: tuple[float, float],
    ) -> Vector:
        """ImagePositionPatient is that of the whole picture, as if it were one slice around the same centre."""
        rows, columns = size
        tile_rows, tile_columns = self.tile_size(size)
        across = (columns - tile_columns) / 2 * spacing_mm[1]
        down = (rows - tile_rows) / 2 * spacing_mm[0]
        return np.asarray(position_mm + across * row + down * column)

    def place(self, number: int, size: tuple[int, int]) -> tuple[slice, slice]:
        """Where in the picture one slice lies."""
        rows, columns = self.tile_size(size)
        down, across = divmod(number, self.per_side)
        return slice(down * rows, (down + 1) * rows), slice(across * columns, (across + 1) * columns)


def mosaic_of(path: Path, size: tuple[int, int]) -> Mosaic:
    """From the scanner's own (CSA) header, which alone knows how many slices there are and where they go.

    Raises MOSAIC where that header is gone or does not fit the picture.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls its DICOM reader experimental; only its header parser is used
        from nibabel.nicom import csareader

    header = read_file(path).header
    with reader_errors():
        csa = csareader.get_csa_header(header, "image")  # type: ignore[no-untyped-call]
        tags = (csa or {}).get("tags", {})
        counts = tags.get("NumberOfImagesInMosaic", {}).get("items", [])
        normal = np.array(tags.get("SliceNormalVector", {}).get("items", []), dtype=np.float64)
    spacing = numbers(header, "SpacingBetweenSlices", 1)
    if not counts or normal.shape != (3,) or spacing is None or not spacing[0] > 0:
        raise mosaic_rejected("a mosaic whose scanner header does not say how many slices it holds or where they lie")
    count = int(counts[0])
    per_side = math.isqrt(max(count - 1, 0)) + 1
    if count < 1 or size[0] % per_side or size[1] % per_side or not abs(np.linalg.norm(normal) - 1) < 1e-3:
        raise mosaic_rejected(f"a mosaic that cannot be divided into {count} slices")
    return Mosaic(count, per_side, normal * spacing[0])


def mosaic_rejected(found: str) -> ScanRejected:
    return ScanRejected(
        Reason.MOSAIC,
        found,
        "Have it taken apart with data.mosaic=detile, or convert the series with dcm2niix and read the NIfTI",
    )
