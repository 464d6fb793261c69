"""Compressed pictures to arrays: every call into a codec, and nothing else. Runs in a process that may die of it.

What the codecs are given is a Job with numbers from the header and the compressed bytes; what comes back is checked
against those numbers, since some codecs fill in or leave out what they cannot read.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import (
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from medcnn.io.decoding.jpeg_end import ends_early
from medcnn.io.decoding.rle import check_lengths
from medcnn.scan import Reason, ScanRejected

Stored = npt.NDArray[Any]

AS_DECODED = "RGB as decoded"  # a photometric interpretation: Adobe's marker made the codec turn the colours already

_BY_IMAGECODECS = (JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
_JPEG = (JPEGBaseline8Bit, *_BY_IMAGECODECS)
_LOSSLESS = (JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless, HTJ2KLosslessRPCL)
_PLUGIN = {
    JPEGBaseline8Bit: ("pillow", "pillow"),
    RLELossless: ("pydicom", "pydicom"),  # slower than pylibjpeg-rle, which panics on damaged files
    **dict.fromkeys(JPEGLSTransferSyntaxes, ("pyjpegls", "pyjpegls")),
    **dict.fromkeys(JPEG2000TransferSyntaxes, ("pylibjpeg", "pylibjpeg[openjpeg]")),
}


@dataclass(frozen=True)
class FrameJob:
    """One compressed DICOM frame: what the header says of it, by DICOM's names."""

    syntax: str
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns), or (rows, columns, samples) for colour."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def kind(self) -> np.dtype[Any]:
        return np.dtype(f"{'i' if self.signed else 'u'}{max(self.bits_allocated // 8, 1)}")


@dataclass(frozen=True)
class PictureJob:
    """One PNG, JPEG or TIFF file, whole."""


Job = FrameJob | PictureJob
SYNTAXES = frozenset({*_BY_IMAGECODECS, *_PLUGIN})


def decode(job: Job, payload: bytes) -> Stored:
    """The picture as an array: stored values for a frame, (H, W) or (H, W, 3) for a picture; ScanRejected otherwise.

    A missing codec is NO_DECODER, a lack of memory MEMORY, anything that a codec throws DECODE_FAILED.
    """
    try:
        if isinstance(job, FrameJob):
            return _checked(_frame(job, payload), job)
        from medcnn.io.picture_pixels import picture_pixels

        return picture_pixels(payload)
    except (ScanRejected, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except MemoryError:
        raise out_of_memory() from None
    except BaseException as error:  # a Rust codec's PanicException is no Exception
        what = f"the decoder for {job.syntax}" if isinstance(job, FrameJob) else "the picture's decoder"
        raise ScanRejected(
            Reason.DECODE_FAILED,
            f"{what} refused the pixel data ({type(error).__name__})",
            "Export the file again, uncompressed if possible",
        ) from None


def shifted(frame: Stored, high_bit: int, bits_stored: int) -> Stored:
    """Only the bits from HighBit down, BitsStored of them, with their sign."""
    bits = frame.dtype.itemsize * 8
    if bits == bits_stored:
        return frame
    native = frame.astype(frame.dtype.newbyteorder("="))
    return np.asarray(np.right_shift(np.left_shift(native, bits - 1 - high_bit), bits - bits_stored))


def out_of_memory() -> ScanRejected:
    return ScanRejected(
        Reason.MEMORY, "there is not enough memory to decode this image", "Give the process more memory"
    )


def no_decoder(syntax: str, package: str) -> ScanRejected:
    return ScanRejected(
        Reason.NO_DECODER,
        f"no decoder for transfer syntax {syntax}; package: {package}",
        "Install that package, or export the file in an uncompressed transfer syntax",
    )


def _frame(job: FrameJob, code: bytes) -> Stored:
    frame = _decoded(job, code)
    if job.syntax in _JPEG and ends_early(code, frame, lambda other: _decoded(job, other)):
        raise ScanRejected(
            Reason.PIXEL_DATA_TRUNCATED, "a compressed frame ends before its picture", "Copy or export the file again"
        )
    return frame


def _decoded(job: FrameJob, code: bytes) -> Stored:
    syntax = UID(job.syntax)
    if syntax in _BY_IMAGECODECS and not (syntax == JPEGExtended12Bit and job.bits_allocated == 8):
        return _by_imagecodecs(job, code)
    plugin, package = _PLUGIN.get(syntax, ("pillow", "pillow"))
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise no_decoder(syntax, "none that medcnn knows") from None
    if plugin not in decoder.available_plugins:
        raise no_decoder(syntax, package)
    if syntax == RLELossless:
        check_lengths(code, job.rows, job.columns, job.samples * job.bits_allocated // 8)
    options: Any = {
        "rows": job.rows,
        "columns": job.columns,
        "samples_per_pixel": job.samples,
        "number_of_frames": 1,
        "bits_allocated": job.bits_allocated,
        "bits_stored": job.bits_stored,
        "pixel_representation": int(job.signed),
        "photometric_interpretation": "RGB" if job.photometric == AS_DECODED else job.photometric,
        "as_rgb": job.photometric != AS_DECODED,
        "planar_configuration": 0,  # as the codecs give colours; those that do not say so themselves
        "pixel_keyword": "PixelData",
    }
    if syntax == RLELossless:  # as stored; the bits are cut out below
        options["correct_unused_bits"] = False
    decoded, _ = decoder.as_array(encapsulate([code], has_bot=False), index=0, decoding_plugin=plugin, **options)
    frame = np.asarray(decoded)
    return shifted(frame, job.bits_stored - 1, job.bits_stored) if syntax == RLELossless and job.samples == 1 else frame


def _by_imagecodecs(job: FrameJob, code: bytes) -> Stored:
    """JPEG Lossless and 12-bit Extended, which come back unsigned."""
    try:
        codecs = importlib.import_module("imagecodecs")
    except ImportError:
        raise no_decoder(job.syntax, "imagecodecs") from None
    frame = np.asarray(codecs.jpeg8_decode(code))
    if frame.shape != job.shape or frame.dtype.kind != "u":
        raise ValueError("the decoded frame has another shape than the header says")
    if job.samples > 1:
        return convert_color_space(frame, job.photometric, "RGB") if job.photometric.startswith("YBR_FULL") else frame
    whole = frame.astype(f"u{job.bits_allocated // 8}")
    if whole.dtype.itemsize < frame.dtype.itemsize:
        raise ValueError("the decoded frame has more bits than the header says")
    if job.syntax in _LOSSLESS and not job.signed and int(frame.max()) >> job.bits_stored:
        raise ValueError("decoded values do not fit the bits that the header says")
    return shifted(whole.view(job.kind), job.bits_stored - 1, job.bits_stored)


def _checked(frame: Stored, job: FrameJob) -> Stored:
    """Of the shape and type that the header says and, where nothing was lost, within the bits that it says."""
    if frame.shape != job.shape or frame.dtype != job.kind:
        raise ValueError("the decoded frame has another shape or type than the header says")
    if job.syntax in _LOSSLESS and job.samples == 1 and job.bits_stored < job.bits_allocated:
        ends = np.iinfo(job.kind)
        unused = job.bits_allocated - job.bits_stored
        if frame.min() < ends.min >> unused or frame.max() > ends.max >> unused:
            raise ValueError("decoded values do not fit the bits that the header says")
    return frame
