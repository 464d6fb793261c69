"""Good NIfTI scans to damage: every header kind, byte order, voxel type and form, and nibabel's own examples."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness.mutation import Seed
from benchmarks.robustness.nifti_fields import fields_of

CANARY = b"QZXJ"
OBLIQUE = np.array([[1.9, -0.3, 0.2, -11], [0.4, 2.8, 0.5, 22], [-0.2, -0.7, 3.9, 33], [0, 0, 0, 1.0]])
_EXAMPLES = {  # nibabel's file -> the volume to read, where there are several
    "anatomical.nii": None,
    "functional.nii": 1,
    "standard.nii.gz": None,
    "reoriented_anat_moved.nii": None,
    "example_nifti2.nii.gz": 1,
}


def nifti_seeds() -> list[Seed]:
    """All of them, always in the same order."""
    return [*_made(), *_bundled()]


def _made() -> list[Seed]:
    rng = np.random.default_rng(11)
    small = rng.integers(-900, 1200, (9, 8, 7)).astype(np.int16)
    masks = (rng.random((9, 8, 7)) * 3).astype(np.uint8)
    files: dict[str, bytes] = {
        "int16.nii": nifti(small),
        "int16.nii.gz": packed(nifti(small)),
        "float32.nii": nifti(small.astype(np.float32) / 7),
        "float64.nii.gz": packed(nifti(small / 7)),
        "uint8, sform only.nii": nifti(small.astype(np.uint8), qform=None),
        "int16, qform only.nii": nifti(small, sform=None),
        "int16, qform only.nii.gz": packed(nifti(small, sform=None)),
        "int16, no form.nii": nifti(small, qform=None, sform=None),
        "int16, template sform.nii": nifti(small, codes=(1, 4)),
        "int16, scaled.nii": nifti(small, slope=2.5, inter=-10.0),
        "uint16, scaled.nii.gz": packed(nifti(small.view(np.uint16), slope=0.5, inter=3.0)),
        "int16, big endian.nii": nifti(small, order=">"),
        "int16, big endian.nii.gz": packed(nifti(small, order=">")),
        "NIfTI-2 int16.nii": nifti(small, two=True),
        "NIfTI-2 float32.nii.gz": packed(nifti(small.astype(np.float32), two=True)),
        "2D uint8.nii": nifti(small[:, :, 0].astype(np.uint8)),
        "two members.nii.gz": packed(nifti(small)[:700]) + packed(nifti(small)[700:]),
        "with an extension.nii": nifti(small, comment=CANARY * 5),
        "large int16.nii.gz": packed(nifti(rng.integers(0, 300, (40, 36, 30)).astype(np.int16))),
    }
    seeds = [Seed(name, {_file(name): data}, _file(name)) for name, data in files.items()]
    pair = pair_of(nifti(small))
    seeds.append(Seed("pair.hdr and .img", {"one.hdr": pair[0], "one.img": pair[1]}, "one.hdr"))
    both = {"one.hdr.gz": packed(pair[0]), "one.img.gz": packed(pair[1])}
    seeds.append(Seed("pair.hdr.gz and .img.gz", both, "one.hdr.gz"))
    labels = {"labels": (0, 1, 2)}
    for name, data in (("mask.nii", nifti(masks)), ("mask.nii.gz", packed(nifti(masks)))):
        seeds.append(Seed(name, {_file(name): data}, _file(name), labels))
    return seeds


def _file(name: str) -> str:
    return "one.nii.gz" if name.endswith(".gz") else "one.nii"


def pair_of(data: bytes) -> tuple[bytes, bytes]:
    """The same scan as header and voxels in two files."""
    fields, header = fields_of(data), bytearray(data[:352])
    struct.pack_into(fields["magic"].layout, header, fields["magic"].start, b"ni1\0")
    struct.pack_into(fields["vox_offset"].layout, header, fields["vox_offset"].start, 0)
    return bytes(header), data[352:]


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def nifti(
    voxels: np.ndarray[Any, Any],
    *,
    qform: Any = OBLIQUE,
    sform: Any = OBLIQUE,
    codes: tuple[int, int] = (1, 1),
    slope: float | None = None,
    inter: float | None = None,
    order: str = "<",
    two: bool = False,
    comment: bytes | None = None,
) -> bytes:
    """One file; qform and sform as asked, the personal texts filled with a canary."""
    import nibabel

    kind: Any = nibabel.Nifti2Image if two else nibabel.Nifti1Image
    image = kind(voxels, None, kind.header_class(endianness=order))
    header = image.header
    header.set_data_dtype(voxels.dtype.newbyteorder(order))
    right_angled = _right_angled()
    header.set_zooms(np.linalg.norm(right_angled[:3, :3], axis=0)[: voxels.ndim])
    image.set_qform(None if qform is None else right_angled, 0 if qform is None else codes[0])
    image.set_sform(None if sform is None else right_angled, 0 if sform is None else codes[1])
    header.set_xyzt_units("mm")
    header["descrip"], header["aux_file"], header["intent_name"] = CANARY * 6, CANARY * 3, CANARY
    if comment is not None:
        header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", comment))
    if slope is not None:
        header.set_slope_inter(slope, inter)
    file = io.BytesIO()
    header["vox_offset"] = 0
    image = kind(voxels, image.affine if sform is not None or qform is not None else None, header)
    image.update_header()
    image.set_qform(None if qform is None else right_angled, 0 if qform is None else codes[0])
    image.set_sform(None if sform is None else right_angled, 0 if sform is None else codes[1])
    image.file_map["image"].fileobj = file
    image.to_file_map()
    data = bytearray(file.getvalue())
    for name, value in {"scl_slope": slope, "scl_inter": inter}.items():  # as stored: nibabel would recompute them
        if value is not None:
            field = fields_of(bytes(data))[name]
            struct.pack_into(field.layout, data, field.start, value)
    return bytes(data)


def _right_angled() -> np.ndarray[Any, Any]:
    """The oblique affine with right angles, so that a quaternion can say it."""
    rotation, _, other = np.linalg.svd(OBLIQUE[:3, :3])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ other @ np.diag([2.0, 3.0, 4.0])
    affine[:3, 3] = OBLIQUE[:3, 3]
    return affine


def _bundled() -> list[Seed]:
    import nibabel

    folder = Path(nibabel.__file__).parent / "tests" / "data"
    seeds = []
    for name, volume in _EXAMPLES.items():
        if not (folder / name).is_file():
            continue
        file = _file(name)
        seeds.append(
            Seed(name, {file: (folder / name).read_bytes()}, file if volume is None else f"{file}#frame={volume}")
        )
    return seeds


def by_name(seeds: list[Seed]) -> Mapping[str, Seed]:
    return {seed.name: seed for seed in seeds}
