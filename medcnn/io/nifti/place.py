"""Where a NIfTI header puts its voxels: qform, sform, and whether they, pixdim and the units can all be true."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medcnn.geometry import Affine, Geometry
from medcnn.io.nifti.layout import Fields
from medcnn.io.options import Form
from medcnn.scan import Reason, ScanRejected

MAX_SPACING_MM = 100.0
MIN_FIELD_MM = 1.0  # no scan of a patient is smaller; micrometres in place of millimetres make one
MAX_AWAY_MM = 1e4  # no scanner's table moves ten metres
SAME_CORNERS_VOX = 0.01  # what qform and sform of one space may differ by; one of nibabel's own files by 0.002
SAME_EDGES = 1e-3  # relative, pixdim against the sform's columns; files at hand agree to 1e-7
_ABSURD = 1e12  # keeps what follows from overflowing
_LOST_SQUARE = 3e-7  # what the rounding of b, c, d and a half turn's threshold leave open in the quaternion's a * a
_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown is taken as mm, as everywhere
_SPACE, _TIME, _TIMES = 0b111, 0b111000, {0, 8, 16, 24, 32, 40, 48}
_FORM_CODES = range(6)


@dataclass(frozen=True, eq=False)
class Place:
    """The grid, as far as a file names one.

    geometry    None for a 2D file, or where neither form is set
    spacing_mm  along the file's own axes; None where the file says neither edges nor a unit
    facts       form, form_code, orientation, sheared
    """

    geometry: Geometry | None
    spacing_mm: tuple[float, ...] | None
    facts: dict[str, str]


def place_of(fields: Fields, shape: tuple[int, ...], form: Form) -> Place:
    """Raises HEADER, GEOMETRY_INVALID, QSFORM_CONFLICT."""
    unit_mm = _unit_mm(fields.xyzt_units)
    axes = min(len(shape), 3)
    edges_mm = fields.pixdim[1 : 1 + axes] * unit_mm
    _check_edges(edges_mm, shape)
    _check_codes(fields)
    use_sform = fields.sform_code > 0 and (form == "sform" or fields.qform_code <= 0)
    if fields.sform_code > 0 and fields.qform_code in (0, fields.sform_code):
        _check_sform_edges(fields, axes)
    spacing_mm = tuple(float(edge) for edge in edges_mm)
    if fields.qform_code <= 0 and fields.sform_code <= 0:
        known = fields.xyzt_units & _SPACE != 0 or bool((edges_mm != 1).any())
        return Place(None, spacing_mm if known else None, {"orientation": Reason.ORIENTATION_UNKNOWN.value})
    code = fields.sform_code if use_sform else fields.qform_code
    facts = {"form": "sform" if use_sform else "qform", "form_code": str(code)}
    if axes < 3:
        return Place(None, spacing_mm, facts)
    grid = (shape[0], shape[1], shape[2])
    if fields.qform_code > 0 and fields.sform_code > 0:
        _check_agreement(fields, grid)
    affine = np.diag([unit_mm] * 3 + [1.0]) @ _invertible(fields.sform if use_sform else qform(fields))
    geometry = Geometry(affine, grid)
    _check_edges(geometry.spacing_mm(), shape)
    if np.abs(geometry.corners_mm()).max() > MAX_AWAY_MM:
        raise _geometry(f"the volume lies more than {MAX_AWAY_MM / 1000:g} m from the scanner's centre")
    if is_sheared(affine):
        facts["sheared"] = "yes"
    return Place(geometry, tuple(float(edge) for edge in geometry.spacing_mm()), facts)


def qform(fields: Fields) -> Affine:
    """The rotation of the unit quaternion whose b, c, d are stored, with qfac on the third axis."""
    return affine_of_quaternion(fields.quaternion, fields.pixdim)


def affine_of_quaternion(quaternion: npt.NDArray[np.float64], pixdim: npt.NDArray[np.float64]) -> Affine:
    """Quaternion b, c, d and offset x, y, z; pixdim's 8 numbers."""
    b, c, d = quaternion[:3]
    a = _real_part(quaternion)
    if a == 0:  # a half turn: b, c, d alone are the unit vector
        b, c, d = quaternion[:3] / np.linalg.norm(quaternion[:3])
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * (pixdim[1:4] * [1, 1, -1 if pixdim[0] < 0 else 1])
    affine[:3, 3] = quaternion[3:]
    return affine


def _real_part(quaternion: npt.NDArray[np.float64]) -> float:
    """The a that is not stored; below 1e-7 its square is rounding noise, as in the standard's own code."""
    sane = bool((np.abs(quaternion[:3]) < 1.1).all())  # nan is not; nor is what would overflow
    square = 1 - float(quaternion[:3] @ quaternion[:3]) if sane else -1.0
    if square < -1e-5:
        raise _geometry("the quaternion is no rotation")
    return 0.0 if square < 1e-7 else math.sqrt(square)


def is_sheared(affine: Affine) -> bool:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3)


def _check_agreement(fields: Fields, shape: tuple[int, int, int]) -> None:
    """Both forms set: one handedness, and for the same space the same corners."""
    by_quaternion, by_matrix = _finite(qform(fields)), _invertible(fields.sform)
    if np.linalg.det(by_quaternion[:3, :3]) * np.linalg.det(by_matrix[:3, :3]) < 0:
        raise _conflict("qform and sform are mirror images of each other")
    if fields.qform_code != fields.sform_code:
        return
    one, other = Geometry(_invertible(by_quaternion), shape), Geometry(by_matrix, shape)
    apart, edge = one.corner_distance_mm(other), float(other.spacing_mm().min())
    diagonal = float(np.linalg.norm(other.spacing_mm() * shape))
    origin_apart = float(np.linalg.norm(by_quaternion[:3, 3] - by_matrix[:3, 3]))  # stored as it is, turn or no turn
    if (
        origin_apart > SAME_CORNERS_VOX * edge
        or apart > SAME_CORNERS_VOX * edge + _turn_lost(fields.quaternion) * diagonal
    ):
        raise _conflict(f"qform and sform name the same space but place corners {apart / edge:.3f} voxels apart")


def _turn_lost(quaternion: npt.NDArray[np.float64]) -> float:
    """The angle, in radians, that a stored quaternion cannot tell: near a half turn the a that is left out matters.

    With b, c, d in 32 bits, a volume tilted by a tenth of a degree is stored up to half a voxel off at its corners.
    """
    return 2 * _LOST_SQUARE / (_real_part(quaternion) + math.sqrt(_LOST_SQUARE))


def _check_sform_edges(fields: Fields, axes: int) -> None:
    """pixdim and the sform say the edges twice, unless the sform leads into another space than the qform."""
    by_matrix = np.linalg.norm(_finite(fields.sform)[:3, :axes], axis=0)
    by_pixdim = fields.pixdim[1 : 1 + axes]
    if (by_matrix == 0).any():
        raise _geometry("the affine is singular")
    apart = np.abs(by_matrix - by_pixdim) / by_pixdim
    if apart.max() > SAME_EDGES:
        raise header_rejected(f"pixdim and the sform give voxel edges that differ by {apart.max():.3%}")


def _check_edges(edges_mm: npt.NDArray[np.float64], shape: tuple[int, ...]) -> None:
    if not ((edges_mm > 0) & (edges_mm <= MAX_SPACING_MM)).all():  # nan too
        raise header_rejected(f"a voxel edge is not between 0 and {MAX_SPACING_MM:g} mm")
    if (edges_mm * shape[: len(edges_mm)]).max() < MIN_FIELD_MM:
        raise header_rejected(f"the whole volume is smaller than {MIN_FIELD_MM:g} mm: its unit cannot be right")


def _check_codes(fields: Fields) -> None:
    if fields.qform_code not in _FORM_CODES or fields.sform_code not in _FORM_CODES:
        raise header_rejected("a form code is none that the standard knows")
    if fields.qform_code > 0 and fields.pixdim[0] not in (-1, 0, 1):
        raise header_rejected("qfac, the sign of the third axis, is neither -1 nor 1")


def _unit_mm(xyzt_units: int) -> float:
    if xyzt_units & ~(_SPACE | _TIME) or xyzt_units & _SPACE not in _MM or xyzt_units & _TIME not in _TIMES:
        raise header_rejected("the unit of length or time is none that the standard knows")
    return _MM[xyzt_units & _SPACE]


def _finite(affine: Affine) -> Affine:
    if not (np.abs(affine) < _ABSURD).all():  # nan too
        raise _geometry("the affine holds values that are no finite numbers, or beyond any scanner")
    return affine


def _invertible(affine: Affine) -> Affine:
    if np.linalg.matrix_rank(_finite(affine)[:3, :3], tol=1e-6) < 3:
        raise _geometry("the affine is singular")
    return affine


def header_rejected(found: str) -> ScanRejected:
    return ScanRejected(Reason.HEADER, found, "Export the file again; its header cannot be right")


def _geometry(found: str) -> ScanRejected:
    return ScanRejected(Reason.GEOMETRY_INVALID, found, "Correct qform and sform where the file was made")


def _conflict(found: str) -> ScanRejected:
    return ScanRejected(
        Reason.QSFORM_CONFLICT, found, "Find out which one is right and write it into both, where the file was made"
    )
