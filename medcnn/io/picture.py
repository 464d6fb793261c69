"""PNG, JPEG and TIFF pictures as scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medcnn.io.decoding.codecs import PictureJob
from medcnn.io.decoding.decoder import decode_guarded
from medcnn.io.picture_pixels import JPEG, PNG, TIFF, Pixels
from medcnn.scan import Reason, Scan, ScanRejected

MAX_FILE_BYTES = 2**31


def looks_like_picture(head: bytes) -> bool:
    """PNG, JPEG or TIFF by their first bytes; a DICOM file may begin like a TIFF, so ask for DICOM first."""
    return head.startswith((PNG, JPEG, *TIFF))


def read_picture(path: Path) -> Scan:
    """(1, H, W) for grey, (3, H, W) for colour and palettes; upright after EXIF, transparency dropped.

    No spacing: the dots per inch that such files state are a printer's, not a detector's.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ScanRejected(
            Reason.SIZE_IMPLAUSIBLE, f"a picture file of more than {MAX_FILE_BYTES // 2**30} GiB", "Save it smaller"
        )
    pixels = decode_guarded(PictureJob(), path.read_bytes())
    value_range = _range(pixels)
    voxels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return Scan(
        voxels=np.ascontiguousarray(voxels, dtype=np.float32),
        value_range=value_range,
        facts={"format": "picture", "spacing_source": "unknown"},
    )


def _range(pixels: Pixels) -> tuple[float, float]:
    """The range of the bit depth; that of the values for floats, which have none."""
    if pixels.dtype.kind == "u":
        return 0.0, float(np.iinfo(pixels.dtype).max)
    if not np.isfinite(pixels).all():
        raise ScanRejected(Reason.NONFINITE, "some pixel values are not finite numbers", "Save the picture again")
    return float(pixels.min()), float(pixels.max())
