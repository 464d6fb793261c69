"""Writes masks as PNG, volumes as NIfTI and manifests as CSV, without a time stamp in any of them."""

from __future__ import annotations

import csv
import gzip
import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt


def write_png(grey: npt.NDArray[np.uint8], path: Path) -> None:
    """An 8-bit grey picture, (rows, columns)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = grey.shape
    lines = b"".join(b"\x00" + line.tobytes() for line in np.ascontiguousarray(grey))  # 0: unfiltered

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


def write_nifti(voxels: npt.NDArray[np.generic], affine: npt.NDArray[np.float64], path: Path) -> None:
    """Sform, and qform where it can say the same, in mm; the gzip header holds neither time nor name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    if np.abs(image.get_qform() - affine).max() > 1e-4:
        # Near a half turn the float32 quaternion is too coarse (a = sqrt(1 - b^2 - c^2 - d^2)): the sform alone speaks.
        image.set_qform(None, code=0)
    image.header.set_xyzt_units("mm")
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=9, mtime=0))


def write_manifest(rows: list[dict[str, str]], path: Path) -> None:
    """One line a case; the columns are the keys of the first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
