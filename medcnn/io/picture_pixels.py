"""What a PNG, JPEG or TIFF file shows, checked from end to end first: decoders pass over damage that they could see."""

from __future__ import annotations

import importlib
import io
import warnings
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from medcnn.io.decoding.codestream import read_codestream
from medcnn.io.decoding.jpeg_end import ends_early
from medcnn.scan import Reason, ScanRejected

Pixels = npt.NDArray[Any]

MAX_PIXELS = 2**28
PNG, JPEG, TIFF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", (b"II*\0", b"MM\0*")
_BITS, _PHOTOMETRIC, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES, _SAMPLE_FORMAT = 258, 262, 273, 279, 324, 325, 339
_ORIENTATION = 0x0112
_UNSIGNED, _FLOAT = 1, 3
_UPRIGHT = {  # EXIF: how the picture lies in the file -> (quarter turns anticlockwise, then mirrored left to right)
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}


def picture_pixels(content: bytes) -> Pixels:
    """(H, W) for grey, (H, W, 3) for colour and palettes; uint8, uint16 or float32; upright, transparency dropped.

    Raises ScanRejected for what can be told, and whatever the decoder throws for the rest.
    """
    from PIL import Image

    if content.startswith(PNG):
        _check_png(content)
    elif content.startswith(JPEG):
        _check_jpeg(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pillow's own size warning; the check below decides
        try:
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "TIFF")) as picture:
                _check_size(picture)
                orientation = int(picture.getexif().get(_ORIENTATION, 1))
                if content.startswith(TIFF):
                    return np.ascontiguousarray(_tiff(picture, content, orientation))
                pixels = _png_or_jpeg(picture, content)
                if content.startswith(JPEG) and ends_early(content, pixels, _jpeg_alone):
                    raise _cut()
                return _upright(pixels, orientation)
        except Image.DecompressionBombError:
            raise ScanRejected(Reason.BOMB, "the picture unpacks to far too many pixels", "Save it smaller") from None
        except OSError as error:
            if "truncated" in str(error):
                raise _cut() from None
            raise


def _check_size(picture: Any) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        raise ScanRejected(
            Reason.SIZE_IMPLAUSIBLE,
            f"the picture claims {picture.width} x {picture.height} pixels",
            "Save it smaller",
        )
    frames = getattr(picture, "n_frames", 1)
    if picture.format in ("PNG", "TIFF") and frames > 1:
        raise ScanRejected(
            Reason.NOT_A_VOLUME,
            f"the file holds {frames} pictures, which say nothing of where they lie",
            "Save each as a file of its own, or a volume as NIfTI",
        )


def _check_png(content: bytes) -> None:
    """Chunk by chunk, each with its checksum, to the end: pillow reads neither all checksums nor the end."""
    at, kind = len(PNG), b""
    while kind != b"IEND":
        length = int.from_bytes(content[at : at + 4])
        end = at + 12 + length
        if end > len(content):
            raise _cut()
        kind = content[at + 4 : at + 8]
        if zlib.crc32(memoryview(content)[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end]):
            raise ScanRejected(Reason.DECODE_FAILED, "the picture fails its own checksum", "Copy or save it again")
        at = end


def _check_jpeg(content: bytes) -> None:
    """Pillow fills a missing end with grey where an end marker follows all the same."""
    stream = read_codestream(content)
    if stream is None or not stream.complete:
        raise _cut()


def _png_or_jpeg(picture: Any, content: bytes) -> Pixels:
    mode = picture.mode
    if picture.format == "PNG" and content[24] == 16 and not mode.startswith("I"):  # bit depth, in its first chunk
        return _colours(np.asarray(_imagecodecs().png_decode(content)))  # pillow would keep 8 of the 16 bits
    if mode.startswith("I"):  # 16-bit grey, which pillow holds in 16 or 32 bits
        return np.asarray(picture).astype(np.uint16)
    if mode == "1":
        picture = picture.convert("L")
    elif mode in ("LA", "La"):
        picture = picture.getchannel(0)
    elif mode != "L":
        picture = picture.convert("RGB")
    return np.asarray(picture)


def _jpeg_alone(content: bytes) -> Pixels:
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=("JPEG",)) as picture:
        return _png_or_jpeg(picture, content)


def _tiff(picture: Any, content: bytes, orientation: int) -> Pixels:
    """Pillow turns a TIFF upright itself."""
    tags = picture.tag_v2
    bits, kinds = set(_numbers(tags, _BITS) or (1,)), set(_numbers(tags, _SAMPLE_FORMAT) or (_UNSIGNED,))
    photometric = tags.get(_PHOTOMETRIC, 1)
    grey = photometric in (0, 1)
    unsigned = kinds == {_UNSIGNED} and (bits in ({8}, {16}) or (bits == {1} and grey))
    if not unsigned and not (kinds == {_FLOAT} and bits == {32} and photometric == 1):
        raise ScanRejected(
            Reason.DTYPE,
            f"a TIFF of {'/'.join(map(str, sorted(bits)))} bits a sample, of another kind than medcnn reads",
            "Save it with unsigned 8 or 16 bits a sample, or as grey float32",
        )
    _check_strips(tags, content)
    if bits == {16} and not picture.mode.startswith("I"):
        return _upright(_colours(np.asarray(_imagecodecs().tiff_decode(content))), orientation)
    if bits == {32}:
        return np.asarray(picture, dtype=np.float32)
    pixels = _png_or_jpeg(picture, content)
    return np.asarray(65535 - pixels) if bits == {16} and photometric == 0 else pixels  # pillow inverts 8 bits only


def _numbers(tags: Any, tag: int) -> tuple[int, ...]:
    found = tags.get(tag, ())
    return tuple(found) if isinstance(found, tuple) else (found,)


def _check_strips(tags: Any, content: bytes) -> None:
    """Every strip or tile lies within the file."""
    for starts, lengths in ((_STRIPS, _STRIP_BYTES), (_TILES, _TILE_BYTES)):
        places = _numbers(tags, starts)
        sizes = _numbers(tags, lengths)
        if any(start + size > len(content) for start, size in zip(places, sizes, strict=False)):
            raise _cut()


def _colours(pixels: Pixels) -> Pixels:
    """Without transparency: grey (H, W) or colour (H, W, 3)."""
    if pixels.ndim == 2:
        return pixels
    return pixels[..., 0] if pixels.shape[2] < 3 else pixels[..., :3]


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    quarters, mirrored = _UPRIGHT.get(orientation, (0, False))
    turned = np.rot90(pixels, quarters)
    return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)


def _imagecodecs() -> Any:
    try:
        return importlib.import_module("imagecodecs")
    except ImportError:
        raise ScanRejected(
            Reason.NO_DECODER,
            "no decoder for colours of 16 bits a sample; package: imagecodecs",
            "Install that package, or save the picture with 8 bits a sample",
        ) from None


def _cut() -> ScanRejected:
    return ScanRejected(Reason.PIXEL_DATA_TRUNCATED, "the picture breaks off before its end", "Copy or save it again")
