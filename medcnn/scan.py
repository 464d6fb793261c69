"""What reading a file ends as: a Scan, or a Rejection that says what was found and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from medcnn.geometry import Geometry

Voxels = npt.NDArray[np.float32]


class Reason(StrEnum):
    """Why an input was not used. Public API: a code is never renamed, and never reused for something else."""

    NOT_DICOM = "NOT_DICOM"
    NOT_DICOM_PART10 = "NOT_DICOM_PART10"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    LOCALIZER = "LOCALIZER"
    NOT_REGULAR_FILE = "NOT_REGULAR_FILE"
    READ_ERROR = "READ_ERROR"
    META_INVALID = "META_INVALID"
    TAG_INVALID = "TAG_INVALID"
    NESTING = "NESTING"
    SIZE_IMPLAUSIBLE = "SIZE_IMPLAUSIBLE"
    PIXEL_DATA_TRUNCATED = "PIXEL_DATA_TRUNCATED"
    NO_DECODER = "NO_DECODER"
    DECODE_FAILED = "DECODE_FAILED"
    RESCALE_INVALID = "RESCALE_INVALID"
    WINDOW_INVALID = "WINDOW_INVALID"
    BURNED_IN = "BURNED_IN"
    SPACING_UNKNOWN = "SPACING_UNKNOWN"
    GEOMETRY_INVALID = "GEOMETRY_INVALID"
    ORIENTATION_INCONSISTENT = "ORIENTATION_INCONSISTENT"
    NOT_A_VOLUME = "NOT_A_VOLUME"
    TOO_FEW_SLICES = "TOO_FEW_SLICES"
    SLICE_MISSING = "SLICE_MISSING"
    SLICE_DUPLICATE = "SLICE_DUPLICATE"
    SLICE_SPACING_IRREGULAR = "SLICE_SPACING_IRREGULAR"
    SLICE_INCONSISTENT = "SLICE_INCONSISTENT"
    GANTRY_TILT = "GANTRY_TILT"
    FOUR_D_AMBIGUOUS = "4D_AMBIGUOUS"  # an enum member cannot start with a digit
    MOSAIC = "MOSAIC"
    NOT_NIFTI = "NOT_NIFTI"
    HEADER = "HEADER"
    TRUNCATED = "TRUNCATED"
    CHECKSUM = "CHECKSUM"
    BOMB = "BOMB"
    QSFORM_CONFLICT = "QSFORM_CONFLICT"
    ORIENTATION_UNKNOWN = "ORIENTATION_UNKNOWN"
    DTYPE = "DTYPE"
    NONFINITE = "NONFINITE"
    LABEL_VALUES = "LABEL_VALUES"
    GEOMETRY_MISMATCH = "GEOMETRY_MISMATCH"
    COVARIATE_MISSING = "COVARIATE_MISSING"
    COVARIATE_INVALID = "COVARIATE_INVALID"
    LEAKAGE = "LEAKAGE"
    CKPT_CORRUPT = "CKPT_CORRUPT"
    CKPT_MISMATCH = "CKPT_MISMATCH"
    CKPT_UNSAFE = "CKPT_UNSAFE"
    CONFIG_FORBIDDEN = "CONFIG_FORBIDDEN"
    PATH_ESCAPE = "PATH_ESCAPE"
    ARCHIVE_UNSAFE = "ARCHIVE_UNSAFE"
    INPUT_CHANGED = "INPUT_CHANGED"
    MEMORY = "MEMORY"
    TIMEOUT = "TIMEOUT"
    WORKER_SIGNAL = "WORKER_SIGNAL"
    NO_SPACE = "NO_SPACE"
    INTERNAL = "INTERNAL"


#: Reasons that say "this is no case at all": skipped in a folder and counted, a rejection when named directly.
SKIPPED_IN_A_FOLDER = frozenset({Reason.NOT_DICOM, Reason.NOT_AN_IMAGE, Reason.LOCALIZER, Reason.NOT_REGULAR_FILE})


@dataclass(frozen=True)
class Rejection:
    """Why one input was not used.

    found   what is wrong, with computed numbers (mm, counts); never a patient's data nor a tag's raw value
    remedy  what the user can do about it, a sentence; never the advice to loosen a check that protects patients
    """

    code: Reason
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.code}: {self.found}. {self.remedy}"


class ScanRejected(ValueError):  # noqa: N818  a rejection is an outcome that callers expect, not a fault
    """Raised by readers; carries the Rejection."""

    def __init__(self, code: Reason, found: str, remedy: str) -> None:
        self.rejection = Rejection(code, found, remedy)
        super().__init__(str(self.rejection))


@dataclass(frozen=True, eq=False)
class Scan:
    """One image or volume in its true meaning, before any normalisation.

    voxels        (C, H, W) rows by columns, or (C, I, J, K); float32. DICOM: after the modality LUT or rescale,
                  MONOCHROME1 inverted over its representable range, so that bright always means dense
    geometry      the grid in the patient; None for a plain picture or a projection X-ray
    spacing_mm    edge lengths along voxels' spatial axes (rows first in 2D); None where the file does not say
    value_range   the least and the greatest value that the format can represent here (bits and rescale), or None
    modality      DICOM's code (CR, DX, MG, MR, CT, ...), or "" where the file does not say
    body_part     DICOM BodyPartExamined in upper case, or ""
    identity      what names this case apart from its file: SOP Instance UIDs (sorted), or () where there is none
    patient_id    as in the header, only so that patients can be kept together; never logged, never written
    facts         what else was recorded: spacing_source, view_position, photometric, flags ...; no patient data
    """

    voxels: Voxels
    geometry: Geometry | None = None
    spacing_mm: tuple[float, ...] | None = None
    value_range: tuple[float, float] | None = None
    modality: str = ""
    body_part: str = ""
    identity: tuple[str, ...] = ()
    patient_id: str = field(default="", repr=False)
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def spatial_dims(self) -> int:
        return self.voxels.ndim - 1
