"""Volumes for the hostile folder: good ones in every dress, and bad ones with the code that each must end with."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import nibabel as nib
import numpy as np
from mixed_dicom import LEAVE_OUT, as_bytes, as_series, change, compressed, nested, picture
from pydicom.dataset import Dataset
from pydicom.uid import UID, RLELossless

Content = bytes | list[bytes]  # a file, or the files of a series' folder

SHAPE = (12, 10, 6)
AFFINE = np.array([[-2.0, 0.0, 0.0, 5.0], [0.0, 3.0, 0.0, -8.0], [0.0, 0.0, 4.0, 2.0], [0.0, 0.0, 0.0, 1.0]])
_PLACES = {
    "dim": (40, "8h"), "datatype": (70, "h"), "bitpix": (72, "h"), "pixdim": (76, "8f"), "vox_offset": (108, "f"),
    "scl_slope": (112, "f"), "scl_inter": (116, "f"), "qform_code": (252, "h"), "sform_code": (254, "h"),
    "qoffset_x": (268, "f"), "srow_x": (280, "4f"), "srow_y": (296, "4f"), "srow_z": (312, "4f"), "magic": (344, "4s"),
}  # fmt: skip


def voxels(seed: int) -> np.ndarray:
    """(12, 10, 6) whole numbers near 30, 150 and 220: of a tiny segmenter's background and its two structures."""
    generator = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.int16)
    i, j, k = generator.integers(0, 3, 3)
    labels[i : i + 8, j : j + 7, k : k + 3] = 1
    labels[i + 2 : i + 5, j + 2 : j + 5, k + 1 : k + 3] = 2
    noise = generator.integers(-20, 21, SHAPE).astype(np.int16)
    return np.array([30, 150, 220], np.int16)[labels] + noise


def good_volumes() -> dict[str, Content]:
    """A hundred: reference -> content. Of a pair the header's reference, its voxels beside it under .img."""
    found: dict[str, Content] = {}
    for number in range(100):
        data, where = voxels(number), f"ward{number % 7}/v{number:03d}"
        match number % 20:
            case 0 | 1 | 2:
                turned = np.roll(np.arange(6), number)  # names say nothing of the order
                files = as_series(number, data)
                found[where] = [files[at] for at in turned]
            case 3:
                found[where] = as_series(number, data, _run_length)
            case 4:
                found[f"{where}.nii"] = nifti(data.astype(np.float32))
            case 5:
                found[f"{where}.nii"] = nifti(data.astype(np.uint8))
            case 6:
                big = nib.Nifti1Image(data, AFFINE, nib.Nifti1Header(endianness=">"))
                found[f"{where}.nii"] = big.to_bytes()
            case 7:
                found[f"{where}.nii.gz"] = packed(nib.Nifti2Image(data, AFFINE).to_bytes())
            case 8:
                plain = nifti(data, magic=b"ni1\0", vox_offset=0)
                found[f"{where}.hdr"], found[f"{where}.img"] = plain[:348], plain[352:]
            case 9:
                found[f"{where}.nii.gz"] = packed(nifti(data[..., None], dim=[4, *SHAPE, 1, 1, 1, 1]))
            case _:
                found[f"{where}.nii.gz"] = packed(nifti(data))
    return found


def bad_volumes() -> dict[str, tuple[str, Content]]:
    """Thirty: reference -> code and content."""
    return {f"ward{at % 7}/{name}": end for at, (name, end) in enumerate({**_bad_nifti(), **_bad_series()}.items())}


def nifti(values: np.ndarray, **fields: Any) -> bytes:
    """A NIfTI-1 file with header fields forced afterwards, however wrong."""
    image = nib.Nifti1Image(values, AFFINE)
    image.header.set_xyzt_units("mm")
    content = bytearray(image.to_bytes())
    for name, value in fields.items():
        place, layout = _PLACES[name]
        parts = [value] if isinstance(value, bytes) else np.atleast_1d(value).tolist()
        struct.pack_into(f"<{layout}", content, place, *parts)
    return bytes(content)


def packed(plain: bytes) -> bytes:
    """In gzip, with no time in it."""
    return gzip.compress(plain, mtime=0)


def _bad_nifti() -> dict[str, tuple[str, Content]]:
    plain = nifti(voxels(500))
    whole = packed(plain)
    generator = np.random.default_rng(0)
    with_nan = voxels(501).astype(np.float32)
    with_nan[3, 4, 2] = np.nan
    colour = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    bomb = nifti(voxels(502), dim=[3, 1024, 1024, 600, 1, 1, 1, 1])[:352] + generator.bytes(1_400_000)
    return {
        "cut_half.nii.gz": ("TRUNCATED", whole[: len(whole) // 2]),
        "cut_plain.nii": ("TRUNCATED", plain[:-100]),
        "crc.nii.gz": ("CHECKSUM", whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:]),
        "no_magic.nii": ("NOT_NIFTI", plain[:344] + b"abc\0" + plain[348:]),
        "empty.nii": ("NOT_NIFTI", b""),
        "dims.nii": ("HEADER", nifti(voxels(503), dim=[3, 12, -10, 6, 1, 1, 1, 1])),
        "bomb.nii.gz": ("BOMB", packed(bomb)),
        "two_forms.nii": ("QSFORM_CONFLICT", nifti(voxels(504), qform_code=1, sform_code=1, qoffset_x=60.0)),
        "no_form.nii": ("ORIENTATION_UNKNOWN", nifti(voxels(505), qform_code=0, sform_code=0)),
        "colour.nii": ("DTYPE", nifti(colour)),
        "nan.nii.gz": ("NONFINITE", packed(nifti(with_nan))),
        "slope.nii": ("RESCALE_INVALID", nifti(voxels(506), scl_slope=float("inf"), scl_inter=0.0)),
        "times.nii.gz": ("4D_AMBIGUOUS", packed(nifti(np.stack([voxels(507), voxels(508)], axis=3)))),
        "flat.nii": ("GEOMETRY_INVALID", nifti(voxels(509), qform_code=0, sform_code=1, srow_z=[0, 0, 0, 0])),
        "linked.hdr": ("PATH_ESCAPE", nifti(voxels(510), magic=b"ni1\0", vox_offset=0)[:348]),
    }


def _bad_series() -> dict[str, tuple[str, Content]]:
    data = [voxels(number) for number in range(600, 630)]
    one_off = as_series(601, data[1], _uneven)
    gap, whole = as_series(600, data[0]), as_series(609, data[9])
    del gap[2]
    return {
        "gap": ("SLICE_MISSING", gap),
        "uneven": ("SLICE_SPACING_IRREGULAR", one_off),
        "twice": ("SLICE_DUPLICATE", [*as_series(602, data[2]), _again(602, data[2] + 1)]),
        "turned": ("ORIENTATION_INCONSISTENT", as_series(603, data[3], _turned)),
        "tilted": ("GANTRY_TILT", as_series(604, data[4], _tilted)),
        "sizes": ("SLICE_INCONSISTENT", as_series(605, data[5], _narrower)),
        "few": ("TOO_FEW_SLICES", as_series(606, data[6][:, :, :3])),
        "mosaic": ("MOSAIC", as_series(607, data[7], ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])),
        "unspaced": ("SPACING_UNKNOWN", as_series(608, data[8], PixelSpacing=LEAVE_OUT)),
        "cut_slice": ("PIXEL_DATA_TRUNCATED", [*whole[:4], whole[4][:-50], whole[5]]),
        "garbled": ("DECODE_FAILED", as_series(610, data[10], _garbled)),
        "film": ("NO_DECODER", as_series(611, data[11], _film)),
        "no_bits": ("META_INVALID", as_series(612, data[12], BitsStored=LEAVE_OUT)),
        "deep": ("NESTING", [nested(part, 40) for part in as_series(613, data[13])]),
        "photo.dcm": ("GEOMETRY_MISMATCH", as_bytes(picture(614, np.arange(120, dtype=np.uint8).reshape(10, 12)))),
    }


def _run_length(at: int, data: Dataset) -> None:
    data.compress(RLELossless, generate_instance_uid=False)


def _again(number: int, values: np.ndarray) -> bytes:
    """A slice with other pixels at a position that is taken, and a UID of its own."""

    def alter(at: int, data: Dataset) -> None:
        data.SOPInstanceUID += ".7"

    return as_series(number, values, alter)[2]


def _turned(at: int, data: Dataset) -> None:
    if at >= 3:
        data.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]


def _uneven(at: int, data: Dataset) -> None:
    if at == 3:
        data.ImagePositionPatient = [-7, 12, 11.2]


def _tilted(at: int, data: Dataset) -> None:
    data.ImagePositionPatient = [-7, 12 + 0.6 * at, 3 + 2.5 * at]


def _narrower(at: int, data: Dataset) -> None:
    if at == 4:
        change(data, Columns=6, PixelData=data.PixelData[: data.Rows * 6 * 2])


def _garbled(at: int, data: Dataset) -> None:
    """Run lengths that break off within what the first of two planes is to hold."""
    code = struct.pack("<16I", 2, 64, 70, *[0] * 13) + b"\x05\1\2\3\4\5" + np.random.default_rng(at).bytes(200)
    compressed(data, code, RLELossless)


def _film(at: int, data: Dataset) -> None:
    compressed(data, bytes(64), UID("1.2.840.10008.1.2.4.102"))
