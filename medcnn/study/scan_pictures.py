"""Prepared scans as pictures for a report."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def middle_plane(heat: npt.NDArray[np.float32]) -> int:
    """The slice along the last axis with most heat; of a picture 0."""
    return int(heat.sum(axis=(0, 1)).argmax()) if heat.ndim == 3 else 0


def picture(image: npt.NDArray[np.float32], plane: int) -> npt.NDArray[np.float32]:
    """(C, *size) as one (H, W) picture: the first channel; of a volume (axes growing to R, A, S) an axial plane.

    Hung as radiologists do: anterior up, the patient's right side on the left.
    """
    first = image[0]
    return first if first.ndim == 2 else np.ascontiguousarray(first[::-1, ::-1, plane].T)
