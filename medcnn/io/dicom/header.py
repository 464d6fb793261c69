"""From a file to a DICOM data set that is an image for sure: what it is, checked before any pixel is decoded."""

from __future__ import annotations

import logging
import math
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from medcnn.io.dicom.elements import UNDEFINED, Elements, PixelPlace, nesting, read_pixels, walk_file
from medcnn.io.files import FileStart
from medcnn.scan import Reason, ScanRejected

# pydicom's warnings and log lines quote raw values, which may be a patient's; what matters of them is a Rejection here.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\..*")
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE  # values are checked where they are used

IMAGE_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_SHIFTED = re.compile(rb"\x08\0..(?:CS|DA|LO|OB|PN|SH|SQ|TM|UI|UL|US)", re.DOTALL)  # an element, wherever it begins
_MEDIA_CLASS = re.compile(rb"\x02\0\x02\0UI..([0-9.]+)", re.DOTALL)
_AGAIN = "Export the file again"
_UID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_DECIMAL = re.compile(rb" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *")
_IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
_DECIMALS = ("DS", "IS")
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_WORDS = ("AS", "CS", "DA", "DS", "IS", "LO", "SH", "TM", "UI")
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_NO_PIXELS = (  # directory, palette, presentation, waveform, SR, document, segmentation, raw data, RT structures, plans
    "1.2.840.10008.1.3.10",
    "1.2.840.10008.5.1.4.39.",
    "1.2.840.10008.5.1.4.1.1.11.",
    "1.2.840.10008.5.1.4.1.1.9.",
    "1.2.840.10008.5.1.4.1.1.88.",
    "1.2.840.10008.5.1.4.1.1.104.",
    "1.2.840.10008.5.1.4.1.1.66",
    "1.2.840.10008.5.1.4.1.1.481.3",
    "1.2.840.10008.5.1.4.1.1.481.5",
    "1.2.840.10008.5.1.4.1.1.481.8",
)


def looks_like_dicom(head: bytes) -> bool:
    """Whether a file's first bytes are DICOM's: the part 10 mark at 128, or an element of group 0002 or 0008 at 0."""
    return head[128:132] == b"DICM" or starts_with_an_element(head)


def starts_with_an_element(head: bytes) -> bool:
    """A first tag (0002,xxxx) or (0008,xxxx) with a VR, or a length that is not absurd: a file without a preamble."""
    if len(head) < 16 or head[:2] not in (b"\x02\0", b"\x08\0", b"\0\x02", b"\0\x08"):
        return False
    order: Literal["little", "big"] = "little" if head[0] else "big"
    element = int.from_bytes(head[2:4], order)
    implicit_length = int.from_bytes(head[4:8], order)
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return element <= 0x1200 and (explicit or implicit_length <= 1024)


@dataclass(eq=False)
class DicomFile:
    """One DICOM file, its structure checked from end to end, its pixel data left where they are.

    elements  those asked for, as bytes
    """

    path: Path
    elements: Elements

    @cached_property
    def header(self) -> FileDataset:
        """What pydicom makes of the elements; without pixel data until image() reads them."""
        return _dataset(self.path, self.elements)

    def text(self, keyword: str) -> str:
        """A value as one line, without pydicom where it is plain text: sorting files asks for nothing else."""
        raw = self.elements.data.get(_tag(keyword))
        if raw is None:
            return ""
        plain = _plain_text(raw)
        return text(self.header, keyword) if plain is None else plain

    def has(self, keyword: str) -> bool:
        """Whether the file has this element."""
        return _tag(keyword) in self.elements.data

    @property
    def has_pixels(self) -> bool:
        """Whether there are pixel data, whole or not."""
        return self.elements.pixels is not None

    def image(self) -> FileDataset:
        """The header with the pixel data read into it. PIXEL_DATA_TRUNCATED where they break off."""
        place = self.elements.pixels
        if place is None:
            return self.header
        self._check_encapsulation(place)
        if not place.whole:
            found = "have no end" if place.encapsulated else "claim more bytes than follow"
            raise ScanRejected(Reason.PIXEL_DATA_TRUNCATED, f"the pixel data {found}", "Copy or export the file again")
        value, encoding = read_pixels(self.path, self.elements), self.elements.encoding
        length = UNDEFINED if place.encapsulated else place.length
        tag = BaseTag(place.tag)
        self.header[tag] = RawDataElement(tag, place.vr, length, value, place.start, encoding.implicit, encoding.little)
        return self.header

    def _check_encapsulation(self, place: PixelPlace) -> None:
        syntax = text(self.header.file_meta, "TransferSyntaxUID")
        known = UID(syntax) if syntax else None
        if known is not None and known.is_transfer_syntax and known.is_encapsulated != place.encapsulated:
            raise ScanRejected(
                Reason.META_INVALID,
                "the pixel data are written in another way than the transfer syntax says",
                "Export the file again",
            )

    def release(self) -> None:
        """Let the pixel data go: the files of a series are opened one after the other."""
        if self.elements.pixels is not None and self.elements.pixels.tag in self.header:
            del self.header[self.elements.pixels.tag]


def read_file(
    path: Path, *, tags: frozenset[int] | None = None, stop: int | None = None, start: FileStart | None = None
) -> DicomFile:
    """Walk one DICOM file, not yet known to be an image.

    tags  to keep; None keeps all
    stop  a tag where a walk that only sorts files may end: nothing behind it is known then
    start the file's first bytes, where somebody has read them already
    """
    try:
        elements = walk_file(path, tags, stop=stop, start=start, check_head=_check_head)
    except ScanRejected:
        with path.open("rb") as file:
            head = file.read(256)
        if looks_like_dicom(head) and _class_in_meta(head).startswith(_NO_PIXELS):
            raise _not_an_image() from None
        raise
    if not elements.meta and not elements.count and elements.pixels is None:
        raise ScanRejected(
            Reason.NOT_DICOM_PART10, "it starts like DICOM but holds no readable element", "Export the file again"
        )
    return DicomFile(path, elements)


def _check_head(head: bytes) -> None:
    if not looks_like_dicom(head[:256]):
        raise not_dicom(head[:256])


def _dataset(path: Path, elements: Elements) -> FileDataset:
    """What pydicom makes of the bytes: it gives values their meaning, one by one, when they are asked for."""
    encoding = elements.encoding
    with reader_errors():
        return FileDataset(
            str(path),
            dict(elements.data),
            elements.preamble,
            FileMetaDataset(dict(elements.meta)),
            encoding.implicit,
            encoding.little,
        )


def _class_in_meta(head: bytes) -> str:
    """MediaStorageSOPClassUID, of a file whose walk broke off: it stands within the first bytes of the meta group."""
    found = _MEDIA_CLASS.search(head)
    return found[1].decode("ascii", "replace") if found else ""


@contextmanager
def reader_errors() -> Iterator[None]:
    """Pydicom raises bare ValueError, AttributeError and others on damaged elements: each becomes TAG_INVALID."""
    try:
        yield
    except ScanRejected:
        raise
    except RecursionError:
        raise nesting() from None
    except MemoryError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise ScanRejected(  # pydicom's own, where an element begins and the file ends
            Reason.PIXEL_DATA_TRUNCATED, "the file ends inside its header", "Copy or export the file again"
        ) from None
    except Exception as error:
        raise ScanRejected(
            Reason.TAG_INVALID,
            f"an element cannot be read ({type(error).__name__})",
            "Export the file again, or take it out of the manifest",
        ) from None


def check_is_image(file: DicomFile, *, pixels_unknown: bool = False) -> None:
    """Reject what holds no picture, and what should and does not.

    pixels_unknown  the walk ended before them: whether they are there shows when the scan is read
    """
    own_class, *_ = [uid_of(file, keyword) for keyword in _IDENTIFIERS]
    stored = file.elements.meta.get(_tag("MediaStorageSOPClassUID"))
    stored_class = (_plain_text(stored) or "") if stored is not None else ""
    if own_class and stored_class and own_class != stored_class:
        raise ScanRejected(
            Reason.META_INVALID, "the file's header and its content name different kinds of object", _AGAIN
        )
    sop_class = own_class or stored_class
    has_pixels = file.has_pixels or (pixels_unknown and file.has("Rows"))
    # without a SOP class of its own it may be any fragment; with one, with rows, or with nothing at all, it was cut
    claims_pixels = file.has("Rows") or file.elements.count == 0 or own_class.startswith(_STORAGE)
    if sop_class.startswith(_NO_PIXELS) or (not has_pixels and not claims_pixels):
        raise _not_an_image()
    if not has_pixels:
        raise ScanRejected(
            Reason.PIXEL_DATA_TRUNCATED, "the file ends before its pixel data", "Copy or export the file again"
        )


def promises_an_image(head: bytes) -> bool:
    """Whether a file's first bytes name an image class, whatever became of the rest."""
    named = _class_in_meta(head[:512])
    return named.startswith(_STORAGE) and not named.startswith(_NO_PIXELS)


def _not_an_image() -> ScanRejected:
    return ScanRejected(
        Reason.NOT_AN_IMAGE,
        "a DICOM object without an image (report, plan, waveform, segmentation, directory ...)",
        "Leave it out of the manifest",
    )


_tag = cache(Tag)  # keyword -> tag; pydicom looks every one up


def _raw(dataset: Dataset, keyword: str) -> Any:
    """An element as it stands in the file where pydicom has not touched it yet; None where there is none."""
    try:
        return dataset.get_item(_tag(keyword))
    except KeyError:
        return None


def _plain_text(raw: RawDataElement) -> str | None:
    """The words of an element that is text without an alphabet of its own; None for any other."""
    value = raw.value or b""
    if raw.VR not in _WORDS or not value.isascii():
        return None
    if b"\\" not in value:
        return value.decode("ascii").strip(" \0")
    return "\\".join(part.strip(" \0") for part in value.decode("ascii").split("\\"))


def text(dataset: Dataset, keyword: str) -> str:
    """A value as one line, multiple values joined as DICOM writes them; "" where there is none."""
    raw = _raw(dataset, keyword)
    if raw is None:
        return ""
    if isinstance(raw, RawDataElement) and (plain := _plain_text(raw)) is not None:
        return plain
    with reader_errors():
        value = dataset.get(keyword)
    if value is None:
        return ""
    if isinstance(value, (list, tuple, pydicom.multival.MultiValue)):
        return "\\".join(str(part) for part in value)
    return str(value).strip()


def numbers(dataset: Dataset, keyword: str, count: int | None = None) -> tuple[float, ...] | None:
    """Finite numbers, or None where the element is absent or empty; TAG_INVALID for anything else or another count."""
    with reader_errors():
        parts = _parsed(dataset, keyword)
    if not parts:
        return None
    if (count is not None and len(parts) != count) or not all(map(math.isfinite, parts)):
        raise ScanRejected(
            Reason.TAG_INVALID,
            f"{keyword} holds {len(parts)} value(s), or one that is no number",
            "Export the file again",
        )
    return parts


def _parsed(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    raw = _raw(dataset, keyword)
    if raw is None:
        return ()
    if isinstance(raw, RawDataElement) and raw.value and raw.VR in _BINARY:
        order = "<" if raw.is_little_endian else ">"
        size = struct.calcsize(_BINARY[raw.VR])
        return struct.unpack(f"{order}{len(raw.value) / size:g}{_BINARY[raw.VR]}", raw.value)  # a broken length raises
    if isinstance(raw, RawDataElement) and raw.VR in _DECIMALS:
        written = (raw.value or b"").strip(b" \0")
        return tuple(_decimal(part) for part in written.split(b"\\")) if written else ()
    value = dataset.get(keyword)
    if value is None or value == "":
        return ()
    return tuple(_number(part) for part in (value if _is_multiple(value) else [value]))


def _number(part: Any) -> float:
    """A number as pydicom gives it; one that was text must have been a number in DICOM's own notation."""
    text = getattr(part, "original_string", None)
    return float(part) if text is None else _decimal(str(text).encode("ascii", "replace"))


def _decimal(part: bytes) -> float:
    if not _DECIMAL.fullmatch(part):  # Python's float takes more than DICOM's: 1_000, line feeds, words
        raise ValueError
    return float(part)


def written(dataset: Dataset, keyword: str) -> list[str]:
    """The numbers of an element as they are written, with all their decimals."""
    raw = _raw(dataset, keyword)
    if isinstance(raw, RawDataElement) and raw.VR in _DECIMALS:
        return [part.strip(" \0") for part in (raw.value or b"").decode("ascii", "replace").split("\\")]
    with reader_errors():
        value = dataset.get(keyword)
        return [str(part) for part in (value if _is_multiple(value) else [value])]


def _is_multiple(value: Any) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, (str, bytes))


def integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """A whole number that an image cannot do without; META_INVALID where it is missing."""
    found = numbers(dataset, keyword, 1)
    if found is None:
        if default is None:
            raise missing(keyword)
        return default
    return int(found[0])


def uid_of(file: DicomFile, keyword: str) -> str:
    """A UID, or "". Letters pass, for anonymisers write them; TAG_INVALID for what no program writes."""
    uid = file.text(keyword)
    if uid and not _UID.fullmatch(uid):
        raise ScanRejected(Reason.TAG_INVALID, f"{keyword} is no UID", "Export the file again")
    return uid


def missing(keyword: str) -> ScanRejected:
    return ScanRejected(Reason.META_INVALID, f"{keyword} is missing", "Export the file again with its full header")


def not_dicom(head: bytes = b"") -> ScanRejected:
    """Why a file with these first bytes is no DICOM: nothing of it, or its start is lost."""
    if _SHIFTED.search(head[:256]):
        return ScanRejected(
            Reason.NOT_DICOM_PART10, "DICOM elements without a usable start of the file", "Export the file again"
        )
    return ScanRejected(Reason.NOT_DICOM, "no DICOM content", "Leave it out, or name a file that medcnn reads")


def first_item(dataset: Any, keyword: str) -> Dataset | None:
    """The only item of a sequence, or None."""
    with reader_errors():
        items = dataset.get(keyword)
        return items[0] if items else None
