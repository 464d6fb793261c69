"""From a DICOM data set to stored pixel values: sizes first, then numpy for native frames and a codec for the rest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from medcnn.io.decoding.codecs import AS_DECODED, SYNTAXES, FrameJob, no_decoder, shifted
from medcnn.io.decoding.codestream import JPEG_LS, Codestream, read_codestream
from medcnn.io.decoding.decoder import decode_guarded
from medcnn.io.decoding.fragments import Broken, CutOff, Piece, Surplus, content, frames_of
from medcnn.io.dicom.format import PixelFormat, pixel_format
from medcnn.io.dicom.header import reader_errors
from medcnn.scan import Reason, ScanRejected

__all__ = ["MAX_BYTES", "MAX_FRAME_PIXELS", "PixelFormat", "Stored", "check_size", "decode_frame", "pixel_format"]

Stored = npt.NDArray[Any]

MAX_FRAME_PIXELS = 2**28
MAX_BYTES = 2**33
_FAR_TOO_MANY = 64  # claimed frames per frame present: above, the count lies; below, the file was cut
_MOST_PADDING_BYTES = 128
_RLE_MOST = 64  # RLE packs at most 128 bytes into two
_PROCESSES = {  # JPEG's frame markers, 0 for JPEG 2000
    JPEGBaseline8Bit: frozenset({0xC0}),
    JPEGExtended12Bit: frozenset({0xC0, 0xC1}),  # every baseline picture is an extended one, too
    **dict.fromkeys((JPEGLossless, JPEGLosslessSV1), frozenset({0xC3})),
    **dict.fromkeys(JPEGLSTransferSyntaxes, frozenset({JPEG_LS})),
}


def check_size(dataset: FileDataset, form: PixelFormat) -> None:
    """Compare what the header claims with the bytes that are there, before memory is taken for it."""
    with reader_errors():
        data = dataset[form.keyword].value or b""
    if form.rows * form.columns > MAX_FRAME_PIXELS:
        raise _implausible(form)
    if form.syntax.is_encapsulated:
        _fragments(dataset, form)
    else:
        _check_native_size(data, form)


def _check_native_size(data: bytes, form: PixelFormat) -> None:
    """Exactly the bytes that the header claims, and perhaps one to an even length, or a little padding of zeros.

    Some writers pad (pydicom's MR_small_padded by 128 bytes). Anything more shows that rows, columns, bits or frames
    are other than the header says; so may zeros that only go on from a black border.
    """
    total, present = form.total_bytes, len(data) // form.frame_bytes
    if total > max(MAX_BYTES, len(data)) or form.frames > _FAR_TOO_MANY * max(present, 1):
        raise _implausible(form)
    if len(data) < total:
        raise _too_few(form.frames, present)
    surplus = len(data) - total
    last_pixel = data[total - form.bits_allocated // 8 : total]
    padding = surplus <= _MOST_PADDING_BYTES and not any(data[total:]) and any(last_pixel)
    if surplus > total % 2 and not padding:
        raise ScanRejected(
            Reason.SIZE_IMPLAUSIBLE,
            f"{form.frames} frame(s) of {form.rows} x {form.columns} take {total} bytes, {surplus} more are there",
            "Export the file again; its header does not describe its content",
        )


def _fragments(dataset: FileDataset, form: PixelFormat) -> list[list[Piece]]:
    """Where each frame's fragments are."""
    with reader_errors():
        data = dataset[form.keyword].value or b""
        tables = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    try:
        return frames_of(data, form.frames, tables if all(tables) else None)
    except Broken as broken:
        if form.frames > _FAR_TOO_MANY * max(broken.present, 1):
            raise _implausible(form) from None
        if isinstance(broken, CutOff):
            raise _too_few(form.frames, broken.present) from None
        code = Reason.SIZE_IMPLAUSIBLE if isinstance(broken, Surplus) else Reason.META_INVALID
        raise ScanRejected(code, f"in the encapsulated pixel data, {broken}", "Copy or export the file again") from None


def decode_frame(dataset: FileDataset, form: PixelFormat, index: int) -> Stored:
    """Stored values of one frame: (rows, columns), or (rows, columns, 3) RGB for colour; palette indices as they are.

    Bits above HighBit (overlays, rubbish) are masked, the sign is extended from BitsStored.
    """
    if form.syntax.is_encapsulated:
        return _encapsulated_frame(dataset, form, index)
    if _is_plain(form):
        return shifted(_native_frame(dataset, form, index), form.high_bit, form.bits_stored)
    try:
        return _native_by_pydicom(dataset, form, index)
    except (ScanRejected, MemoryError):
        raise
    except Exception as error:
        raise ScanRejected(
            Reason.DECODE_FAILED,
            f"the pixel data cannot be taken apart ({type(error).__name__})",
            "Export the file again",
        ) from None


def _is_plain(form: PixelFormat) -> bool:
    """One sample, whole bytes; big-endian 8 bit may be swapped in words, which pydicom undoes."""
    swapped = not form.syntax.is_little_endian and form.bits_allocated == 8
    return not (form.samples > 1 or form.bits_allocated == 1 or form.is_float or swapped)


def _native_frame(dataset: FileDataset, form: PixelFormat, index: int) -> Stored:
    order = "<" if form.syntax.is_little_endian else ">"
    kind = np.dtype(f"{order}{'i' if form.signed else 'u'}{form.bits_allocated // 8}")
    count = form.rows * form.columns
    frame = np.frombuffer(dataset.PixelData, dtype=kind, count=count, offset=index * form.frame_bytes)
    return frame.reshape(form.rows, form.columns)


def _native_by_pydicom(dataset: FileDataset, form: PixelFormat, index: int) -> Stored:
    """Colours, single bits, floats and swapped bytes: numpy only, no codec."""
    options: Any = {"correct_unused_bits": False}
    decoded, _ = get_decoder(form.syntax).as_array(dataset, index=index, **options)
    frame = np.asarray(decoded)
    one_bit_or_float = form.is_float or form.bits_allocated == 1
    return frame if one_bit_or_float or form.samples > 1 else shifted(frame, form.high_bit, form.bits_stored)


def _encapsulated_frame(dataset: FileDataset, form: PixelFormat, index: int) -> Stored:
    if form.syntax not in SYNTAXES:
        raise no_decoder(form.syntax, "none that medcnn knows")
    code = content(dataset.PixelData, _fragments(dataset, form)[index])
    photometric = form.photometric
    if form.syntax == RLELossless:
        if form.frame_bytes > _RLE_MOST * len(code):
            raise _implausible(form)
    else:
        stream = read_codestream(code)
        _check_codestream(stream, form)
        if form.syntax == JPEGBaseline8Bit and stream is not None and stream.adobe_transform >= 0:
            photometric = AS_DECODED
    job = FrameJob(
        syntax=str(form.syntax),
        rows=form.rows,
        columns=form.columns,
        samples=form.samples,
        bits_allocated=form.bits_allocated,
        bits_stored=form.bits_stored,
        signed=form.signed,
        photometric=photometric,
    )
    return decode_guarded(job, code)


def _check_codestream(stream: Codestream | None, form: PixelFormat) -> None:
    """What a compressed frame says of itself must be what the header says, and it must go on to its end."""
    if stream is None or stream.process not in _PROCESSES.get(form.syntax, {0}):
        raise ScanRejected(
            Reason.DECODE_FAILED,
            f"the pixel data is no compressed picture of transfer syntax {form.syntax}",
            "Export the file again",
        )
    if form.rows > stream.rows or form.columns > stream.columns:
        raise _implausible(form)
    if (stream.rows, stream.columns) != (form.rows, form.columns):
        raise ScanRejected(
            Reason.DECODE_FAILED, "the compressed picture is larger than the header says", "Export the file again"
        )
    becomes_rgb = stream.colour_transform or stream.adobe_transform == 0  # by itself
    turned_twice = becomes_rgb and form.photometric.startswith("YBR_FULL")
    deeper = form.samples > 1 and form.bits_allocated != 8 * math.ceil(stream.precision / 8)  # grey has BitsStored
    if stream.components != form.samples or stream.precision > form.bits_allocated or turned_twice or deeper:
        raise ScanRejected(
            Reason.META_INVALID,
            f"the compressed picture has {stream.components} sample(s) of {stream.precision} bits, the header says "
            f"{form.samples} of {form.bits_stored} in {form.bits_allocated}, {form.photometric}",
            "Export the file again",
        )
    if stream.trailing:
        raise ScanRejected(
            Reason.DECODE_FAILED, "something follows the end of a compressed frame", "Export the file again"
        )
    if not stream.complete:
        raise ScanRejected(
            Reason.PIXEL_DATA_TRUNCATED, "a compressed frame breaks off before its end", "Copy or export the file again"
        )


def _too_few(claimed: int, present: int) -> ScanRejected:
    return ScanRejected(
        Reason.PIXEL_DATA_TRUNCATED,
        f"{claimed} frame(s) are claimed, {present} whole one(s) are there",
        "Copy or export the file again",
    )


def _implausible(form: PixelFormat) -> ScanRejected:
    return ScanRejected(
        Reason.SIZE_IMPLAUSIBLE,
        f"{form.frames} frame(s) of {form.rows} x {form.columns} do not fit the pixel data or the limits",
        "Export the file again; its header does not describe its content",
    )
