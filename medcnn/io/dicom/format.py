"""How a DICOM header says that its pixels are stored, and whether it agrees with itself about it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydicom.dataset import FileDataset
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
)

from medcnn.io.decoding.codecs import no_decoder
from medcnn.io.dicom.header import IMAGE_KEYWORDS, integer, missing, text
from medcnn.scan import Reason, ScanRejected

_SAMPLES = {
    **dict.fromkeys(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"), 1),
    **dict.fromkeys(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"), 3),
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
    def frame_bits(self) -> int:
        """Bits of one frame when nothing is compressed."""
        samples = 2 if self.photometric == "YBR_FULL_422" and not self.syntax.is_encapsulated else self.samples
        return self.rows * self.columns * samples * self.bits_allocated

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame when nothing is compressed."""
        return math.ceil(self.frame_bits / 8)

    @property
    def total_bytes(self) -> int:
        """Bytes of all frames when nothing is compressed; those of 1 bit a pixel follow each other without a gap."""
        return math.ceil(self.frame_bits * self.frames / 8)

    def stored_range(self) -> tuple[float, float]:
        """The least and the greatest stored value that the bits can represent."""
        if self.signed:
            return -float(2 ** (self.bits_stored - 1)), float(2 ** (self.bits_stored - 1) - 1)
        return 0.0, float(2**self.bits_stored - 1)


def pixel_format(dataset: FileDataset) -> PixelFormat:
    """Read and check the Image Pixel module; META_INVALID where it is incomplete or contradicts itself."""
    keyword = next(keyword for keyword in IMAGE_KEYWORDS if keyword in dataset)
    whole_numbers = keyword == "PixelData"
    bits_allocated = integer(dataset, "BitsAllocated")
    bits_stored = integer(dataset, "BitsStored") if whole_numbers else bits_allocated
    samples = integer(dataset, "SamplesPerPixel")
    form = PixelFormat(
        rows=integer(dataset, "Rows"),
        columns=integer(dataset, "Columns"),
        samples=samples,
        frames=max(integer(dataset, "NumberOfFrames", 1), 1),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=integer(dataset, "HighBit") if whole_numbers else bits_stored - 1,
        signed=_flag(dataset, "PixelRepresentation") if whole_numbers else True,
        photometric=text(dataset, "PhotometricInterpretation"),
        syntax=transfer_syntax(dataset),
        keyword=keyword,
    )
    _check_size(form)
    _check_bits(form)
    _check_colours(form)
    if samples > 1:
        _flag(dataset, "PlanarConfiguration")
    return form


def _flag(dataset: FileDataset, keyword: str) -> bool:
    value = integer(dataset, keyword)
    if value not in (0, 1):
        raise _contradiction(f"{keyword} is neither 0 nor 1")
    return value == 1


def _check_size(form: PixelFormat) -> None:
    if form.rows <= 0 or form.columns <= 0:
        raise ScanRejected(Reason.SIZE_IMPLAUSIBLE, "the image has no rows or no columns", "Export the file again")


def _check_bits(form: PixelFormat) -> None:
    """HighBit is BitsStored - 1, as DICOM asks: the layouts of ACR-NEMA's time cannot be told from damage."""
    consistent = (
        form.bits_allocated in ((32, 64) if form.is_float else (1, 8, 16, 32))
        and 0 < form.bits_stored <= form.bits_allocated
        and form.high_bit == form.bits_stored - 1
    )
    if not consistent:
        raise _contradiction(
            f"bits allocated {form.bits_allocated}, stored {form.bits_stored} and high bit {form.high_bit} "
            "do not fit together"
        )


def _check_colours(form: PixelFormat) -> None:
    if not form.photometric:
        raise missing("PhotometricInterpretation")
    samples = _SAMPLES.get(form.photometric)
    if samples is None:
        raise _contradiction("PhotometricInterpretation is none that DICOM images use")
    if samples != form.samples:
        raise _contradiction(f"{form.photometric} has {samples} sample(s) per pixel, the header says {form.samples}")
    if samples == 3 and form.signed and not form.is_float:
        raise _contradiction("colours cannot be negative, but PixelRepresentation says so")
    if form.photometric in ("YBR_ICT", "YBR_RCT") and form.syntax not in JPEG2000TransferSyntaxes:
        raise _contradiction(f"{form.photometric} exists in JPEG 2000 only")


def transfer_syntax(dataset: FileDataset) -> UID:
    """As the file meta says; a file without any meta is native, in the encoding that reading it showed."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax:
        uid = UID(syntax)
        if not uid.is_valid:
            raise ScanRejected(Reason.META_INVALID, "TransferSyntaxUID is no UID", "Export the file again")
        if not uid.is_transfer_syntax:
            raise no_decoder(uid, "none that medcnn knows")
        return uid
    if len(dataset.file_meta) > 0:
        raise missing("TransferSyntaxUID")
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _contradiction(found: str) -> ScanRejected:
    return ScanRejected(Reason.META_INVALID, found, "Export the file again")
