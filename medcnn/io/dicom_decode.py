"""From a DICOM data set to stored pixel values: sizes first, then the codec that each transfer syntax needs."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset
from pydicom.encaps import get_frame, parse_fragments
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from medcnn.io.codestream import codestream_size
from medcnn.io.dicom_header import IMAGE_KEYWORDS, integer, missing, reader_errors, text
from medcnn.scan import Reason, ScanRejected

Stored = npt.NDArray[Any]

MAX_FRAME_PIXELS = 2**28
MAX_BYTES = 2**33
_FAR_TOO_MANY = 64  # claimed frames per frame present: above, the count lies; below, the file was cut
_RLE_MOST = 64  # RLE packs at most 128 bytes into two
_BY_IMAGECODECS = (JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
_PLUGIN = {
    JPEGBaseline8Bit: ("pillow", "pillow"),
    RLELossless: ("pydicom", "pydicom"),  # slower than pylibjpeg-rle, which panics on damaged files
    **dict.fromkeys(JPEGLSTransferSyntaxes, ("pyjpegls", "pyjpegls")),
    **dict.fromkeys(JPEG2000TransferSyntaxes, ("pylibjpeg", "pylibjpeg[openjpeg]")),
}


@dataclass(frozen=True)
class PixelFormat:
    """How the header says that pixels are stored."""

    rows: int
    columns: int
    samples: int
    frames: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric: str
    syntax: UID
    keyword: str

    @property
    def is_float(self) -> bool:
        return self.keyword != "PixelData"

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame when nothing is compressed."""
        samples = 2 if self.photometric == "YBR_FULL_422" and not self.syntax.is_encapsulated else self.samples
        return math.ceil(self.rows * self.columns * samples * self.bits_allocated / 8)

    def stored_range(self) -> tuple[float, float]:
        """The least and the greatest stored value that the bits can represent."""
        if self.signed:
            return -float(2 ** (self.bits_stored - 1)), float(2 ** (self.bits_stored - 1) - 1)
        return 0.0, float(2**self.bits_stored - 1)


def pixel_format(dataset: FileDataset) -> PixelFormat:
    """Read and check the Image Pixel module; META_INVALID where it contradicts itself."""
    keyword = next(keyword for keyword in IMAGE_KEYWORDS if keyword in dataset)
    bits_allocated = integer(dataset, "BitsAllocated")
    bits_stored = integer(dataset, "BitsStored", bits_allocated)
    form = PixelFormat(
        rows=integer(dataset, "Rows"),
        columns=integer(dataset, "Columns"),
        samples=integer(dataset, "SamplesPerPixel", 1),
        frames=max(integer(dataset, "NumberOfFrames", 1), 1),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=integer(dataset, "HighBit", bits_stored - 1),
        signed=bool(integer(dataset, "PixelRepresentation", 0)),
        photometric=text(dataset, "PhotometricInterpretation"),
        syntax=transfer_syntax(dataset),
        keyword=keyword,
    )
    _check_format(form)
    return form


def _check_format(form: PixelFormat) -> None:
    if not form.photometric:
        raise missing("PhotometricInterpretation")
    if form.rows <= 0 or form.columns <= 0:
        raise ScanRejected(Reason.SIZE_IMPLAUSIBLE, "the image has no rows or no columns", "Export the file again")
    consistent = (
        form.bits_allocated in ((32, 64) if form.is_float else (1, 8, 16, 32))
        and 0 < form.bits_stored <= form.bits_allocated
        and form.bits_stored - 1 <= form.high_bit < form.bits_allocated
        and form.samples in (1, 3, 4)
    )
    if not consistent:
        raise ScanRejected(
            Reason.META_INVALID,
            f"bits allocated {form.bits_allocated}, stored {form.bits_stored}, high bit {form.high_bit} and "
            f"{form.samples} sample(s) per pixel do not fit together",
            "Export the file again",
        )


def transfer_syntax(dataset: FileDataset) -> UID:
    """As the file meta says; a file without any meta is native, in the encoding that reading it showed."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax:
        uid = UID(syntax)
        if not uid.is_valid:
            raise ScanRejected(Reason.META_INVALID, "TransferSyntaxUID is no UID", "Export the file again")
        if not uid.is_transfer_syntax:
            raise _no_decoder(uid, "none that medcnn knows")
        return uid
    if len(dataset.file_meta) > 0:
        raise missing("TransferSyntaxUID")
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def check_size(dataset: FileDataset, form: PixelFormat) -> None:
    """Compare what the header claims with the bytes that are there, before memory is taken for it."""
    pixels, total = form.rows * form.columns, form.frame_bytes * form.frames
    with reader_errors():
        data = dataset[form.keyword].value or b""
    if pixels > MAX_FRAME_PIXELS or (total > MAX_BYTES and not form.syntax.is_encapsulated and total > len(data)):
        raise _implausible(form)
    if form.syntax.is_encapsulated:
        try:
            present = parse_fragments(data)[0]
        except Exception as error:
            raise ScanRejected(
                Reason.PIXEL_DATA_TRUNCATED,
                f"the encapsulated pixel data breaks off ({type(error).__name__})",
                "Copy or export the file again",
            ) from None
        enough = present >= form.frames
    else:
        present = len(data) // form.frame_bytes
        enough = len(data) >= total
    if form.frames > _FAR_TOO_MANY * max(present, 1):
        raise _implausible(form)
    if not enough:
        raise ScanRejected(
            Reason.PIXEL_DATA_TRUNCATED,
            f"{form.frames} frame(s) are claimed, {present} whole one(s) are there",
            "Copy or export the file again",
        )


def decode_frame(dataset: FileDataset, form: PixelFormat, index: int) -> Stored:
    """Stored values of one frame: (rows, columns), or (rows, columns, 3) RGB for colour; palette indices as they are.

    Bits above HighBit (overlays, rubbish) are masked, the sign is extended from BitsStored.
    """
    if _is_plain(form):
        return _stored_values(_native_frame(dataset, form, index), form)
    if form.syntax.is_encapsulated:
        _check_codestream(dataset, form, index)
    try:
        return _decode(dataset, form, index)
    except (ScanRejected, MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a Rust codec's PanicException is no Exception
        raise ScanRejected(
            Reason.DECODE_FAILED,
            f"the decoder for {form.syntax} refused the pixel data ({type(error).__name__})",
            "Export the file again, uncompressed if possible",
        ) from None


def _decode(dataset: FileDataset, form: PixelFormat, index: int) -> Stored:
    if form.syntax in _BY_IMAGECODECS and not (form.syntax == JPEGExtended12Bit and form.bits_allocated == 8):
        return _by_imagecodecs(_frame_bytes(dataset, form, index), form)
    plugin, package = _PLUGIN.get(form.syntax, ("pillow", "pillow")) if form.syntax.is_encapsulated else ("", "")
    try:
        decoder = get_decoder(form.syntax)
    except NotImplementedError:
        raise _no_decoder(form.syntax, "none that medcnn knows") from None
    if plugin and plugin not in decoder.available_plugins:
        raise _no_decoder(form.syntax, package)
    as_stored = form.syntax == RLELossless or not form.syntax.is_encapsulated
    options: Any = {"correct_unused_bits": False} if as_stored else {}
    decoded, _ = decoder.as_array(dataset, index=index, decoding_plugin=plugin, **options)
    frame = np.asarray(decoded)
    if form.is_float or not as_stored or form.samples > 1:
        return frame
    return _stored_values(frame, form)


def _is_plain(form: PixelFormat) -> bool:
    """Uncompressed, one sample, whole bytes; big-endian 8 bit may be swapped in words, which pydicom undoes."""
    swapped = not form.syntax.is_little_endian and form.bits_allocated == 8
    return not (form.syntax.is_encapsulated or form.samples > 1 or form.bits_allocated == 1 or form.is_float or swapped)


def _native_frame(dataset: FileDataset, form: PixelFormat, index: int) -> Stored:
    order = "<" if form.syntax.is_little_endian else ">"
    kind = np.dtype(f"{order}{'i' if form.signed else 'u'}{form.bits_allocated // 8}")
    count = form.rows * form.columns
    frame = np.frombuffer(dataset.PixelData, dtype=kind, count=count, offset=index * form.frame_bytes)
    return frame.reshape(form.rows, form.columns)


def _stored_values(frame: Stored, form: PixelFormat) -> Stored:
    """Only the bits from HighBit down, BitsStored of them, with their sign."""
    above, unused = form.bits_allocated - 1 - form.high_bit, form.bits_allocated - form.bits_stored
    if not unused:
        return frame
    native = frame.astype(frame.dtype.newbyteorder("="))
    return np.asarray(np.right_shift(np.left_shift(native, above), unused))


def _by_imagecodecs(code: bytes, form: PixelFormat) -> Stored:
    """JPEG Lossless and 12-bit Extended, which come back unsigned."""
    try:
        codecs = importlib.import_module("imagecodecs")
    except ImportError:
        raise _no_decoder(form.syntax, "imagecodecs") from None
    frame = np.asarray(codecs.jpeg8_decode(code))
    expected = (form.rows, form.columns) + ((form.samples,) if form.samples > 1 else ())
    if frame.shape != expected or frame.dtype.kind != "u":
        raise ValueError("the decoded frame has another shape than the header says")
    if form.samples > 1:
        return convert_color_space(frame, form.photometric, "RGB") if form.photometric.startswith("YBR_FULL") else frame
    whole = frame.astype(f"u{form.bits_allocated // 8}")
    return _stored_values(whole.view(f"i{whole.dtype.itemsize}") if form.signed else whole, form)


def _frame_bytes(dataset: FileDataset, form: PixelFormat, index: int) -> bytes:
    return get_frame(dataset.PixelData, index, number_of_frames=form.frames)


def _check_codestream(dataset: FileDataset, form: PixelFormat, index: int) -> None:
    """The size that a compressed frame states itself must be the header's; RLE states none but packs at most 64:1."""
    try:
        code = _frame_bytes(dataset, form, index)
    except Exception as error:
        raise ScanRejected(
            Reason.PIXEL_DATA_TRUNCATED,
            f"frame {index} cannot be found in the pixel data ({type(error).__name__})",
            "Copy or export the file again",
        ) from None
    size = codestream_size(code)
    if size is not None and (form.rows > size[0] or form.columns > size[1]):
        raise _implausible(form)
    if size is not None and size != (form.rows, form.columns):
        raise ScanRejected(
            Reason.DECODE_FAILED, "the compressed picture is larger than the header says", "Export the file again"
        )
    if form.syntax == RLELossless and form.frame_bytes > _RLE_MOST * len(code):
        raise _implausible(form)


def _implausible(form: PixelFormat) -> ScanRejected:
    return ScanRejected(
        Reason.SIZE_IMPLAUSIBLE,
        f"{form.frames} frame(s) of {form.rows} x {form.columns} do not fit the pixel data or the limits",
        "Export the file again; its header does not describe its content",
    )


def _no_decoder(syntax: UID, package: str) -> ScanRejected:
    return ScanRejected(
        Reason.NO_DECODER,
        f"no decoder for transfer syntax {syntax}; package: {package}",
        "Install that package, or export the file in an uncompressed transfer syntax",
    )
