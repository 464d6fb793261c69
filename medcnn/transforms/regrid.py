"""Onto the network's grid, by MONAI's spatial transforms. Imports monai (seconds)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor
from monai.transforms import CenterSpatialCrop, Orientation, Resize, Spacing

from medcnn.scan import Reason, Scan, ScanRejected

Image = npt.NDArray[np.float32]


def on_grid(
    image: Image, scan: Scan, size_px: Sequence[int], spacing_mm: Sequence[float], *, keep_aspect: bool
) -> Image:
    """At most size_px large in every direction; padding to the full size comes after the intensities.

    Volumes are turned to RAS first. With spacing_mm they are resampled to it and cropped around their centre, else
    resized: with keep_aspect by one factor of mm for all directions, else each direction by its own.
    Raises ScanRejected where millimetres are asked for and the scan does not know them.
    """
    if spacing_mm and scan.geometry is None and scan.spacing_mm is None:
        raise ScanRejected(
            Reason.SPACING_UNKNOWN,
            "the file does not say how large its pixels are, and transforms.spacing_mm asks for millimetres",
            "Use transforms.spacing_mm=[], or scans that say it",
        )
    tensor: Any = MetaTensor(torch.from_numpy(np.ascontiguousarray(image)))  # Any: MONAI annotates Tensor
    if scan.geometry is not None:
        tensor = MetaTensor(tensor.as_tensor(), affine=torch.from_numpy(scan.geometry.affine))
        tensor = Orientation(axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(tensor)
        edges_mm: Sequence[float] = [float(edge) for edge in tensor.pixdim]
    else:
        edges_mm = scan.spacing_mm or (1.0,) * (image.ndim - 1)
    if spacing_mm:
        if scan.geometry is None:
            sides = zip(tensor.shape[1:], edges_mm, spacing_mm, strict=True)
            tensor = _resized(tensor, [max(1, round(side * edge / wanted)) for side, edge, wanted in sides])
        else:
            tensor = Spacing(pixdim=tuple(spacing_mm), mode="bilinear", padding_mode="border")(tensor)
        tensor = CenterSpatialCrop(tuple(size_px))(tensor)
    elif keep_aspect:
        tensor = _resized(tensor, fitted(tensor.shape[1:], edges_mm, size_px))
    else:
        tensor = _resized(tensor, size_px)
    return np.asarray(tensor.numpy(), np.float32)


def fitted(shape_px: Sequence[int], edges_mm: Sequence[float], size_px: Sequence[int]) -> list[int]:
    """The largest shape inside size_px with the aspect, in mm, of the scan."""
    sides_mm = [n * edge for n, edge in zip(shape_px, edges_mm, strict=True)]
    factor = min(size / side for size, side in zip(size_px, sides_mm, strict=True))
    return [max(1, min(size, round(side * factor))) for size, side in zip(size_px, sides_mm, strict=True)]


def _resized(tensor: Any, shape_px: Sequence[int]) -> Any:
    """Area averaging where it shrinks, so that no detail turns into noise; linear where it grows."""
    wanted, linear = tuple(shape_px), "bilinear" if len(shape_px) == 2 else "trilinear"
    shrunk = tuple(min(new, old) for new, old in zip(wanted, tensor.shape[1:], strict=True))
    if shrunk != tuple(tensor.shape[1:]):
        tensor = Resize(shrunk, mode="area")(tensor)
    return tensor if wanted == shrunk else Resize(wanted, mode=linear)(tensor)
