"""The planes of a scan that are shown, hung as radiologists do: a picture as it is, a volume cut through one voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from medcnn.batch.view import Grey, Places, View

PICTURE_PX = 620  # the longer side of a picture on the page
MOST_ENLARGED = 16  # beyond, pixels are drawn as squares
PLANES_PX = (1240, 420)  # all planes of a volume beside each other, and the highest of them


@dataclass(frozen=True, eq=False)
class Panel:
    """One plane at the size it is drawn, in the scan's true aspect.

    grey     (h, w)
    places   the view's index along each of its axes under every drawn pixel, arrays that broadcast to (h, w)
    letters  what lies at the left, right, top and bottom in the patient; () where that is not known
    cut_px   (row, column) where the other two planes cut this one
    """

    grey: Grey
    places: Places
    name: str = ""
    letters: tuple[str, ...] = ()
    cut_px: tuple[int, int] | None = None


# Seen from the feet, from the front and from the patient's left, with the patient's right side on the left.
# Axes of the view: x to the Right, y to the Anterior, z to the Superior; both plane axes run from their far ends.
_PLANES = (("axial", 1, 0, 2, "RLAP"), ("coronal", 2, 0, 1, "RLSI"), ("sagittal", 2, 1, 0, "APSI"))


def panels(view: View, centre: Sequence[int] = ()) -> list[Panel]:
    """One panel of a picture; axial, coronal and sagittal of a volume, cut through the voxel `centre` of the view."""
    if view.grey.ndim == 2:
        height_mm, width_mm = (side * edge for side, edge in zip(view.grey.shape, view.edges_mm, strict=True))
        scale = PICTURE_PX / max(height_mm, width_mm)
        indices = [
            _spread(side, side * edge * scale) for side, edge in zip(view.grey.shape, view.edges_mm, strict=True)
        ]
        return [Panel(_resized(view.grey, *map(len, indices)), np.ix_(*indices))]
    return [_panel(view, plane, centre, _scale(view)) for plane in _PLANES]


def _scale(view: View) -> float:
    """Pixels on the page per mm, one for all planes."""
    x_mm, y_mm, z_mm = (side * edge for side, edge in zip(view.grey.shape, view.edges_mm, strict=True))
    return float(min(PLANES_PX[0] / (2 * x_mm + y_mm), PLANES_PX[1] / max(y_mm, z_mm)))


def _panel(view: View, plane: tuple[str, int, int, int, str], centre: Sequence[int], scale: float) -> Panel:
    name, rows, columns, through, letters = plane
    sliced = np.take(view.grey, centre[through], axis=through)  # (lower axis, higher axis)
    grey = np.ascontiguousarray((sliced.T if rows > columns else sliced)[::-1, ::-1])
    indices = {
        axis: _spread(view.grey.shape[axis], view.grey.shape[axis] * view.edges_mm[axis] * scale)[::-1]
        for axis in (rows, columns)
    }
    places: list[npt.NDArray[np.float64]] = [np.full((1, 1), float(centre[through]))] * 3
    places[rows], places[columns] = indices[rows][:, None], indices[columns][None, :]
    cut_px = (_nearest(indices[rows], centre[rows]), _nearest(indices[columns], centre[columns]))
    if not view.oriented:
        name, letters = "", ""
    return Panel(_resized(grey, len(indices[rows]), len(indices[columns])), tuple(places), name, tuple(letters), cut_px)


def _nearest(indices: npt.NDArray[np.float64], index: int) -> int:
    return int(np.abs(indices - index).argmin())


def _spread(side: int, wanted_px: float) -> npt.NDArray[np.float64]:
    """View indices under so many drawn pixels."""
    count = max(1, round(wanted_px))
    return np.asarray((np.arange(count) + 0.5) * (side / count) - 0.5, np.float64)


def _resized(grey: Grey, height: int, width: int) -> Grey:
    """Area means where it shrinks; smooth where it grows, but squares where there is too little to smooth between."""
    if height < grey.shape[0] or width < grey.shape[1]:
        how = Image.Resampling.BOX
    else:
        how = Image.Resampling.NEAREST if height > MOST_ENLARGED * grey.shape[0] else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(grey).resize((width, height), how), np.uint8)
