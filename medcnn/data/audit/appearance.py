"""How a scan looks, in few bytes: a thumbnail for people, a signature for finding its likes.

Both are made from grey planes. A picture is its own plane. A volume is turned to R, A, S first, so that the same
anatomy stored in another order of axes looks the same; people see its middle axial slice, and the signature is made of
its means along each axis, which hardly change when a slice is cut off or everything moves by one.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medcnn.geometry import Geometry
from medcnn.scan import Scan

Plane = npt.NDArray[np.float32]
Signature = npt.NDArray[np.uint8]

SIGNATURE_PX = 64  # a side; a volume's three planes have it each
THUMBNAIL_PX = 96  # the longer side
_DARKEST, _BRIGHTEST = 1.0, 99.0  # percentiles drawn black and white
_JPEG_QUALITY = 70
_MOST_SAMPLED = 1_000_000  # percentiles of more values would cost more than reading them
_MOST_DETAIL_PX = 512  # planes are shrunk to this first: a detector's full resolution only costs time here


@dataclass(frozen=True, eq=False)
class Appearance:
    """signature (1 or 3 planes, 64, 64) uint8; thumbnail a JPEG in base64."""

    signature: Signature
    thumbnail: str


def appearance_of(scan: Scan) -> Appearance:
    """Of any scan; several channels are shown as their mean."""
    values = scan.voxels[0] if len(scan.voxels) == 1 else scan.voxels.mean(axis=0)
    if values.ndim == 3 and scan.geometry is not None:
        values = _towards_ras(values, scan.geometry)
    shown = _shrunk(values) if values.ndim == 2 else _upright(values[:, :, values.shape[2] // 2])
    return Appearance(signature_of(values), _thumbnail(_grey(shown), _edges_mm(scan)))


def signature_of(values: Plane) -> Signature:
    """(1, 64, 64) of a picture (H, W), (3, 64, 64) of a volume (I, J, K)."""
    planes = [_shrunk(values)] if values.ndim == 2 else [values.mean(axis=axis) for axis in range(3)]
    wanted = (SIGNATURE_PX, SIGNATURE_PX)
    return np.stack([np.rint(_resized(_grey(plane), wanted)).astype(np.uint8) for plane in planes])


def _upright(axial: Plane) -> Plane:
    """(R, A) as it is looked at: anterior up, the patient's right at the left."""
    return np.ascontiguousarray(axial.T[::-1, ::-1])


def orientation_code(geometry: Geometry) -> str:
    """`RAS`, `LPS`, ...: the direction to which each axis of the file grows, the nearest of the patient's."""
    nearest, signs = _nearest_axes(geometry)
    letters = (("L", "R"), ("P", "A"), ("I", "S"))
    return "".join(letters[axis][sign > 0] for axis, sign in zip(nearest, signs, strict=True))


def _nearest_axes(geometry: Geometry) -> tuple[list[int], list[int]]:
    """For each voxel axis the patient's axis it runs along (each once, the clearest first) and its sign."""
    directions = geometry.affine[:3, :3] / geometry.spacing_mm()
    left = np.abs(directions)
    nearest, signs = [0, 0, 0], [1, 1, 1]
    for _ in range(3):
        patient, voxel = np.unravel_index(int(left.argmax()), left.shape)
        nearest[voxel], signs[voxel] = int(patient), 1 if directions[patient, voxel] > 0 else -1
        left[patient, :] = left[:, voxel] = -1
    return nearest, signs


def _towards_ras(values: Plane, geometry: Geometry) -> Plane:
    nearest, signs = _nearest_axes(geometry)
    turned = np.transpose(values, np.argsort(nearest))
    flipped = [axis for axis in range(3) if signs[nearest.index(axis)] < 0]
    return np.asarray(np.flip(turned, tuple(flipped)), np.float32)


def _shrunk(values: Plane) -> Plane:
    """Means of whole blocks of pixels, so that a 3000 px film costs what a small picture does."""
    block = -(-max(values.shape) // _MOST_DETAIL_PX)
    if block == 1 or min(values.shape) < 2 * block:
        return values
    rows, columns = (side // block * block for side in values.shape)
    blocks = values[:rows, :columns].reshape(rows // block, block, columns // block, block)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def _grey(plane: Plane) -> Plane:
    """0 to 255 between the percentiles; all 0 where nothing differs."""
    sample = plane.ravel()[:: max(1, plane.size // _MOST_SAMPLED)]
    low, high = (float(value) for value in np.percentile(sample, [_DARKEST, _BRIGHTEST]))
    if not high > low:
        low, high = float(plane.min()), float(plane.max())
    if not high > low:
        return np.zeros(plane.shape, np.float32)
    scaled = (plane.astype(np.float64) - low) * (255.0 / (high - low))
    return np.clip(scaled, 0, 255).astype(np.float32)


def _resized(plane: Plane, shape: Sequence[int]) -> Plane:
    """To (rows, columns), smoothed when it shrinks."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize(
        (shape[1], shape[0]), Image.Resampling.BILINEAR
    )
    return np.asarray(picture, np.float32)


def _edges_mm(scan: Scan) -> tuple[float, float]:
    """(row, column) edge lengths of the last plane's pixels; equal where the file does not say."""
    if scan.spacing_mm is None:
        return 1.0, 1.0
    if scan.spatial_dims == 2:
        return scan.spacing_mm[0], scan.spacing_mm[1]
    if scan.geometry is None:
        return scan.spacing_mm[1], scan.spacing_mm[0]
    nearest, _ = _nearest_axes(scan.geometry)
    along = scan.geometry.spacing_mm()
    return float(along[nearest.index(1)]), float(along[nearest.index(0)])


def _thumbnail(plane: Plane, edges_mm: tuple[float, float]) -> str:
    from PIL import Image

    height, width = plane.shape[0] * edges_mm[0], plane.shape[1] * edges_mm[1]
    scale = THUMBNAIL_PX / max(height, width)
    small = _resized(plane, (max(1, round(height * scale)), max(1, round(width * scale))))
    buffer = io.BytesIO()
    Image.fromarray(np.rint(small).astype(np.uint8)).save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
