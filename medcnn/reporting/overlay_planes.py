"""Which planes of a segmented case are shown, cropped to the structures and hung as radiologists do.

Volumes come as three planes, the patient's right on the left, anterior or superior on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]

_CONTEXT = 0.6  # of the structures' greatest extent, shown around them on each side
_LEAST_VOXELS = 24  # along each axis of a picture

# name, axis of the rows, axis of the columns, axis looked along; letters left, right, top, bottom. Axes run to Right,
# Anterior and Superior, and are drawn from their far ends.
_PLANES = (("axial", 1, 0, 2, "RLAP"), ("coronal", 2, 0, 1, "RLSI"), ("sagittal", 2, 1, 0, "APSI"))


@dataclass(frozen=True, eq=False)
class SegmentedCase:
    """One case with what may be shared.

    image       (I, J, K) in RAS order, or (H, W)
    truth, predicted  (M, *size): M = 1 with a class per voxel, or a plane of 0 and 1 per structure; 255 is ignored
    spacing_mm  edges of a voxel along the axes of the image; None for pictures with square pixels
    case_id     the keyed id; never a path, a UID or a patient's id
    text        one line: its scores
    oriented    whether the axes are known to be the patient's; without it, no letters are drawn
    """

    image: Image
    truth: Labels
    predicted: Labels
    spacing_mm: Sequence[float] | None
    case_id: str
    text: str = ""
    oriented: bool = True

    def __post_init__(self) -> None:
        if not self.truth.shape[1:] == self.predicted.shape[1:] == self.image.shape or self.image.ndim not in (2, 3):
            raise ValueError(
                f"image {self.image.shape}, truth {self.truth.shape} and prediction {self.predicted.shape} do not fit: "
                "expected (*size), (M, *size), (M, *size) with 2 or 3 axes"
            )

    @property
    def edges(self) -> tuple[float, ...]:
        return tuple(self.spacing_mm) if self.spacing_mm is not None else (1.0,) * self.image.ndim


@dataclass(frozen=True, eq=False)
class Plane:
    """One picture of a case, rows downwards; edges (row, column) of a pixel in mm."""

    title: str
    image: Image
    truth: Labels
    predicted: Labels
    edges: tuple[float, float]
    letters: str = ""


def planes_of(case: SegmentedCase) -> list[Plane]:
    """The picture; or axial, coronal and sagittal through the slices with most of the structures."""
    box = _view(case)
    everything: list[npt.NDArray[Any]] = [case.image[None], case.truth, case.predicted]
    image, truth, predicted = (x[(slice(None), *box)] for x in everything)
    if case.image.ndim == 2:
        return [Plane("", image[0], truth, predicted, (case.edges[0], case.edges[1]))]
    centre = [index - side.start for index, side in zip(_fullest(case), box, strict=True)]
    found = []
    for title, rows, columns, through, letters in _PLANES:
        cut = [_hung(x.take(centre[through], axis=1 + through)) for x in (image, truth, predicted)]
        edges = (case.edges[rows], case.edges[columns])
        known = case.oriented
        found.append(Plane(title if known else "", cut[0][0], cut[1], cut[2], edges, letters if known else ""))
    return found


def _hung(flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(M, lower axis, higher axis) -> (M, rows, columns), the higher axis upwards and the lower one to the left."""
    return np.swapaxes(flat, -1, -2)[..., ::-1, ::-1]


def _marked(labels: Labels) -> Mask:
    """Where any structure is."""
    return np.asarray(((labels > 0) & (labels != 255)).any(axis=0))


def _fullest(case: SegmentedCase) -> list[int]:
    """Along each axis the slice with most of the truth; of the prediction where there is no truth; else the middle."""
    for labels in (case.truth, case.predicted):
        marked = _marked(labels)
        if marked.any():
            others = [tuple(a for a in range(3) if a != axis) for axis in range(3)]
            return [int(marked.sum(axis=other).argmax()) for other in others]
    return [side // 2 for side in case.image.shape]


def _view(case: SegmentedCase) -> tuple[slice, ...]:
    """The structures with what is around them; the whole image where there are none."""
    marked = _marked(case.truth) | _marked(case.predicted)
    if not marked.any():
        return tuple(slice(0, side) for side in case.image.shape)
    sides = []
    for axis in range(marked.ndim):
        along = np.flatnonzero(marked.any(axis=tuple(a for a in range(marked.ndim) if a != axis)))
        sides.append((int(along[0]), int(along[-1]) + 1))
    # One margin in mm for all axes, or the proportions of what is shown would be arbitrary.
    margin_mm = _CONTEXT * max((stop - start) * edge for (start, stop), edge in zip(sides, case.edges, strict=True))
    view = []
    for (start, stop), edge, side in zip(sides, case.edges, case.image.shape, strict=True):
        more = max(round(margin_mm / edge), (_LEAST_VOXELS - (stop - start) + 1) // 2)
        view.append(slice(max(0, start - more), min(side, stop + more)))
    return tuple(view)
