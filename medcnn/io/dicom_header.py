"""From a file to a DICOM data set that is an image for sure: what it is, checked before any pixel is decoded."""

from __future__ import annotations

import logging
import math
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medcnn.scan import Reason, ScanRejected

# pydicom's warnings and log lines quote raw values, which may be a patient's; what matters of them is a Rejection here.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\..*")
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE  # values are checked where they are used

MAX_NESTING = 32  # sequences in sequences; real enhanced objects use about 6
MAX_INFLATED_BYTES = 512 * 2**20
IMAGE_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_SHIFTED = re.compile(rb"\x08\0..(?:CS|DA|LO|OB|PN|SH|SQ|TM|UI|UL|US)", re.DOTALL)  # an element, wherever it begins
_ITEM_BYTES = 16  # the least that one level of nesting takes
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_NO_PIXELS = (  # directory, presentation, waveform, SR, document, segmentation and raw data, RT structures, plans
    "1.2.840.10008.1.3.10",
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


def read_header(path: Path, *, tags: list[str] | None = None, pixels: bool = True) -> FileDataset:
    """The data set of one DICOM file, not yet known to be an image.

    tags    keywords to keep, for speed; None keeps all
    pixels  whether to read on into the pixel data
    """
    with path.open("rb") as file:
        head = file.read(256)
    if not looks_like_dicom(head):
        raise not_dicom(head)
    if head[128:132] == b"DICM":
        check_inflated_size(path)
    with reader_errors():
        dataset = pydicom.dcmread(path, force=True, specific_tags=tags, stop_before_pixels=not pixels)
        check_nesting(dataset)
    if len(dataset) == 0 and len(dataset.file_meta) == 0:
        raise ScanRejected(
            Reason.NOT_DICOM_PART10, "it starts like DICOM but holds no readable element", "Export the file again"
        )
    return dataset


@contextmanager
def reader_errors() -> Iterator[None]:
    """Pydicom raises bare ValueError, AttributeError and others on damaged elements: each becomes TAG_INVALID."""
    try:
        yield
    except ScanRejected:
        raise
    except RecursionError:
        raise nesting() from None
    except InvalidDicomError:
        raise ScanRejected(
            Reason.NOT_DICOM_PART10, "the DICOM file header is unusable", "Export the file again"
        ) from None
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


def check_nesting(dataset: Dataset) -> None:
    """Sequences may not lie deeper than MAX_NESTING; walked without recursion, and only where they are long enough."""
    stack = [(dataset, 0)]
    while stack:
        current, depth = stack.pop()
        if depth > MAX_NESTING:
            raise nesting()
        for tag in list(current.keys()):
            raw: Any = current.get_item(tag)
            if raw is None or raw.VR not in ("SQ", None) or (raw.VR is None and not _may_be_a_sequence(raw.tag)):
                continue
            short = isinstance(raw.value, bytes) and len(raw.value) < _ITEM_BYTES * (MAX_NESTING - depth)
            if raw.value is None or short:
                continue
            element = current[tag]
            if element.VR == "SQ":
                stack += [(item, depth + 1) for item in element.value]


def _may_be_a_sequence(tag: int) -> bool:
    """Implicit VR files name no VR: the dictionary knows the public ones, private ones are never evaluated."""
    try:
        return pydicom.datadict.dictionary_VR(tag) == "SQ"
    except KeyError:
        return False


def check_inflated_size(path: Path) -> None:
    """A deflated file is inflated once in pieces and thrown away, so that a bomb never reaches memory."""
    with reader_errors():
        meta = read_file_meta_info(path)
        start = 132 + 12 + int(meta.get("FileMetaInformationGroupLength", 0))
        deflated = meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    if not deflated:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    with path.open("rb") as file:
        file.seek(start)
        while (piece := inflater.unconsumed_tail or file.read(2**16)) and not inflater.eof:
            try:
                total += len(inflater.decompress(piece, 2**20))
            except zlib.error:
                raise ScanRejected(
                    Reason.DECODE_FAILED, "the deflated data set is damaged", "Export the file again"
                ) from None
            if total > MAX_INFLATED_BYTES:
                raise ScanRejected(
                    Reason.BOMB,
                    f"the deflated data set grows past {MAX_INFLATED_BYTES // 2**20} MiB",
                    "Export the file without compression, if its source can be trusted",
                )


def check_is_image(dataset: Dataset) -> None:
    """Reject what holds no picture, and what should and does not."""
    with reader_errors():
        own_class = str(dataset.get("SOPClassUID") or "")
        sop_class = own_class or str(dataset.file_meta.get("MediaStorageSOPClassUID") or "")
        has_pixels = any(keyword in dataset for keyword in IMAGE_KEYWORDS)
        # without a SOP class of its own it may be any fragment; with one, with rows, or with nothing at all, it was cut
    claims_pixels = "Rows" in dataset or len(dataset) == 0 or own_class.startswith(_STORAGE)
    if sop_class.startswith(_NO_PIXELS) or (not has_pixels and not claims_pixels):
        raise ScanRejected(
            Reason.NOT_AN_IMAGE,
            "a DICOM object without an image (report, plan, waveform, segmentation, directory ...)",
            "Leave it out of the manifest",
        )
    if not has_pixels:
        raise ScanRejected(
            Reason.PIXEL_DATA_TRUNCATED, "the file ends before its pixel data", "Copy or export the file again"
        )


def text(dataset: Dataset, keyword: str) -> str:
    """A value as one line, multiple values joined as DICOM writes them; "" where there is none."""
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
        value = dataset.get(keyword)
        if value is None or value == "":
            return None
        parts = tuple(
            float(part) for part in ([value] if not hasattr(value, "__iter__") or isinstance(value, str) else value)
        )
    if not parts:
        return None
    if (count is not None and len(parts) != count) or not all(map(math.isfinite, parts)):
        raise ScanRejected(
            Reason.TAG_INVALID,
            f"{keyword} holds {len(parts)} value(s), or one that is no number",
            "Export the file again",
        )
    return parts


def integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """A whole number that an image cannot do without; META_INVALID where it is missing."""
    found = numbers(dataset, keyword, 1)
    if found is None:
        if default is None:
            raise missing(keyword)
        return default
    return int(found[0])


def missing(keyword: str) -> ScanRejected:
    return ScanRejected(Reason.META_INVALID, f"{keyword} is missing", "Export the file again with its full header")


def nesting() -> ScanRejected:
    return ScanRejected(
        Reason.NESTING, f"sequences lie more than {MAX_NESTING} deep", "Export the file again from a trusted source"
    )


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
