"""Pictures for the hostile folder: good ones in every dress, and bad ones with the code that each must end with."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
from mixed_dicom import LEAVE_OUT, as_bytes, compressed, nested, picture
from mixed_volumes import nifti, packed, voxels
from numpy.lib import format as npy
from PIL import Image
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless

SIDE = 20
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def grey(seed: int) -> np.ndarray:
    """(20, 20) values from 0 to 255: a bright spot somewhere, in noise."""
    generator = np.random.default_rng(seed)
    row, column = generator.uniform(4, 16, 2)
    down, across = np.mgrid[:SIDE, :SIDE]
    spot = 150 * np.exp(-((down - row) ** 2 + (across - column) ** 2) / generator.uniform(4, 30))
    return np.asarray(spot + generator.uniform(20, 90, (SIDE, SIDE)), np.uint8)


def good_pictures() -> dict[str, bytes]:
    """A hundred scans: reference -> content; eight of them are the rows of one archive."""
    found: dict[str, bytes] = {}
    for number in range(92):
        pixels, where = grey(number), f"room{number % 5}/p{number:03d}"
        match number % 12:
            case 0:
                found[f"{where}.jpg"] = _saved(pixels, "JPEG")
            case 1:
                found[f"{where}.tif"] = _saved(pixels, "TIFF")
            case 2 | 3 | 4 | 5 | 6 | 7:
                found[where if number % 12 == 3 else f"{where}.dcm"] = _good_dicom(number, pixels)
            case 8:
                found[f"{where}.png"] = _saved(pixels.astype(np.uint16) * 200, "PNG")
            case 9:
                found[f"{where}.png"] = _saved(np.stack([pixels] * 3, axis=2), "PNG")
            case _:
                found[f"{where}.png"] = _saved(pixels, "PNG")
    return {**found, "set.npz": archive(train_images=np.stack([grey(900 + row) for row in range(8)]))}


def _good_dicom(number: int, pixels: np.ndarray) -> bytes:
    """Inverted, run-length encoded in 12 bits, deflated, without VRs, plain."""
    data = picture(number, pixels)
    match number % 12:
        case 2:
            data = picture(number, 255 - pixels, PhotometricInterpretation="MONOCHROME1")
        case 3:
            data = picture(number, pixels.astype(np.uint16) * 16, BitsStored=12, HighBit=11)
            data.compress(RLELossless, generate_instance_uid=False)
        case 4:
            data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        case 5:
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return as_bytes(data)


def bad_pictures() -> dict[str, tuple[str, bytes]]:
    """Files with thirty scans: reference -> code and content; three of them are the rows of one archive."""
    found = {**_bad_files(), **_bad_dicom()}
    placed = {f"room{at % 5}/{name}": end for at, (name, end) in enumerate(found.items())}
    volumes = archive(val_images=np.zeros((3, 8, 8, 8), np.uint8))
    return {**placed, "volumes.npz": ("GEOMETRY_MISMATCH", volumes)}


def archive(**arrays: np.ndarray) -> bytes:
    """An .npz that is the same bytes each time: numpy's own holds the hour."""
    members = {}
    for name, values in arrays.items():
        stream = io.BytesIO()
        npy.write_array(stream, np.asanyarray(values), allow_pickle=True)
        members[name] = stream.getvalue()
    return _zipped(members)


def _zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), content)
    return stream.getvalue()


def _saved(pixels: np.ndarray, kind: str, **settings: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **settings)
    return stream.getvalue()


def _bad_files() -> dict[str, tuple[str, bytes]]:
    png, jpeg = _saved(grey(950), "PNG"), _saved(grey(951), "JPEG")
    two = [Image.fromarray(grey(952)), Image.fromarray(grey(953))]
    spoilt = bytearray(png)
    spoilt[png.index(b"IDAT") + 40] ^= 1
    huge = io.BytesIO()
    npy.write_array_header_1_0(huge, {"descr": "|u1", "fortran_order": False, "shape": (2**21, 64, 64)})
    no_number = np.full((8, 8), np.nan, np.float32)
    whole = archive(train_images=np.stack([grey(960)]))
    return {
        "cut.png": ("PIXEL_DATA_TRUNCATED", png[:-60]),
        "cut.jpg": ("PIXEL_DATA_TRUNCATED", jpeg[: len(jpeg) // 2]),
        "moving.png": ("NOT_A_VOLUME", _saved_all(two, "PNG")),
        "pages.tif": ("NOT_A_VOLUME", _saved_all(two, "TIFF")),
        "checksum.png": ("DECODE_FAILED", bytes(spoilt)),
        "bomb.png": ("BOMB", _claiming(png, 30_000, 30_000)),
        "nan.tif": ("NONFINITE", _saved(no_number, "TIFF")),
        "numbers.tif": ("DTYPE", _saved(np.zeros((8, 8), np.int32), "TIFF")),
        "volume.nii.gz": ("GEOMETRY_MISMATCH", packed(nifti(voxels(970)))),
        "page.nii": ("NOT_NIFTI", b"<html>not found</html>"),
        "pickled.npz": ("ARCHIVE_UNSAFE", archive(train_images=np.array([{"a": 1}], dtype=object))),
        "huge.npz": ("BOMB", _zipped({"train_images": huge.getvalue()})),
        "cut.npz": ("READ_ERROR", whole[: len(whole) // 2]),
    }


def _saved_all(pictures: list[Image.Image], kind: str) -> bytes:
    stream = io.BytesIO()
    pictures[0].save(stream, kind, save_all=True, append_images=pictures[1:])
    return stream.getvalue()


def _claiming(png: bytes, width: int, height: int) -> bytes:
    """With another size in its first chunk, whose checksum holds."""
    chunk = b"IHDR" + struct.pack(">2I", width, height) + png[24:29]
    return png[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]


def _bad_dicom() -> dict[str, tuple[str, bytes]]:
    data = [picture(1000 + number, grey(1000 + number)) for number in range(12)]
    plain = [as_bytes(one) for one in data]
    rle = picture(1020, grey(1020))
    rle.compress(RLELossless, generate_instance_uid=False)
    rle.Rows = rle.Columns = 65535
    uid = data[7].SeriesInstanceUID.encode()
    wrong_type = plain[3].replace(b"\x28\0\x10\0US", b"\x28\0\x10\0ZZ")
    code = b"\xff\x4f\xff\x51" + bytes(400) + b"\xff\xd9"
    return {
        "cut.dcm": ("PIXEL_DATA_TRUNCATED", plain[0][:-100]),
        "header.dcm": ("PIXEL_DATA_TRUNCATED", plain[1][:500]),
        "headless.dcm": ("NOT_DICOM_PART10", plain[2][100:]),
        "type.dcm": ("TAG_INVALID", wrong_type),
        "no_rows.dcm": ("META_INVALID", as_bytes(picture(1021, grey(1021), Rows=LEAVE_OUT))),
        "zero.dcm": ("RESCALE_INVALID", as_bytes(picture(1022, grey(1022), RescaleSlope="0", RescaleIntercept="0"))),
        "text.dcm": ("BURNED_IN", as_bytes(picture(1023, grey(1023), BurnedInAnnotation="YES"))),
        "capture.dcm": ("BURNED_IN", as_bytes(picture(1025, grey(1025), SOPClassUID=CAPTURE))),
        "deep.dcm": ("NESTING", nested(plain[4], 200)),
        "large.dcm": ("SIZE_IMPLAUSIBLE", as_bytes(rle)),
        "film.dcm": ("NO_DECODER", as_bytes(compressed(data[5], bytes(64), UID("1.2.840.10008.1.2.4.102")))),
        "garbled.dcm": ("DECODE_FAILED", as_bytes(compressed(data[6], code, JPEG2000Lossless))),
        "frames.dcm": ("NOT_A_VOLUME", as_bytes(picture(1024, grey(1024), NumberOfFrames="2", PixelData=bytes(800)))),
        "uid.dcm": ("TAG_INVALID", plain[7].replace(uid, b"no uid".ljust(len(uid)))),
    }
