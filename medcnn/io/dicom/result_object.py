"""What every DICOM object that we write has in common: what made it, its UIDs, its dates, its notice, its bytes.

UIDs follow from the sources, the model and the content alone, dates and times from the sources: an object with one UID
is one sequence of bytes, whenever and wherever it is written.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from medcnn.io.dicom.header import reader_errors, text
from medcnn.io.dicom.segment import Code
from medcnn.io.dicom.source import Source

logging.getLogger("highdicom").setLevel(logging.CRITICAL)  # as pydicom's: what matters is a Rejection here

NOTICE = "FOR RESEARCH USE ONLY"
PRIVATE_SCHEME = "99MEDCNN"  # DICOM PS3.16 8: names that begin with 99 are for one's own codes
LONGEST = 64  # characters of a DICOM long string
SEG_SERIES, SR_SERIES, SC_SERIES = 9001, 9002, 9003  # numbers far from those that scanners give
_LONGEST_CODE = 16  # characters of a code's value
_UTF8 = "ISO_IR 192"
_FRAME_GROUPS = 0x5200


@dataclass(frozen=True)
class Algorithm:
    """What made a result. digest: of the model's weights, in hex."""

    name: str
    version: str
    digest: str


def own_code(meaning: str) -> Code:
    """A private code for a thing that no known scheme names, or whose code nobody gave."""
    plain = "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in meaning)
    if len(plain) > _LONGEST_CODE or plain != meaning:  # what is shortened must still differ
        plain = f"{plain[:7]}_{hashlib.sha256(meaning.encode()).hexdigest()[:8]}"
    return Code(PRIVATE_SCHEME, plain, meaning)


def line(words: str) -> str:
    """As a long string of DICOM can hold it: 64 characters, no backslash, which would part it in two."""
    return "".join(sign if sign.isprintable() and sign != "\\" else "_" for sign in words)[:LONGEST].strip()


def concept(code: Code) -> Any:
    """As highdicom takes it."""
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, line(code.meaning))


def schemes(codes: list[Code]) -> list[Any] | None:
    """What is said of our own coding scheme in an object that uses it (PS3.3 C.12.1.1.1)."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    if all(code.scheme != PRIVATE_SCHEME for code in codes):
        return None
    return [CodingSchemeIdentificationItem(PRIVATE_SCHEME, name="medcnn's own", responsible_organization="medcnn")]


def noticed(description: str) -> str:
    """A series' or content's description: the notice is never what is cut off."""
    return f"{line(description)[: LONGEST - len(NOTICE) - 2]}, {NOTICE}" if description else NOTICE


def key_of(source: Source, kind: str, *said: object) -> bytes:
    """A digest of all that makes an object what it is; not of when it was made.

    The libraries that write it are part of it: another version may write the same in other bytes.
    """
    digest = hashlib.sha256()
    with reader_errors():
        first = source.headers[0]
        repeated = Dataset()
        repeated.update({tag: first[tag] for tag in first.keys() if tag.group != _FRAME_GROUPS})  # noqa: SIM118
        said_of_sources = sorted(source.uids), source.frames, source.moment.isoformat(), str(repeated)
    digest.update(repr((kind, _writers(), said_of_sources, said)).encode("utf-8", "surrogatepass"))
    return digest.digest()


@cache
def _writers() -> tuple[str, ...]:
    return version("pydicom"), version("highdicom")


def uid(key: bytes, what: str) -> str:
    """PS3.5 B.2: 2.25 and a UUID as a whole number."""
    return f"2.25.{uuid.UUID(bytes=hashlib.sha256(key + what.encode()).digest()[:16], version=5).int}"


def character_set(source: Source, words: str) -> str | list[str]:
    """The source's own where it can write our words too, as every one can ASCII; else Unicode in UTF-8."""
    own = source.headers[0].get("SpecificCharacterSet")
    if not words.isascii():
        return _UTF8
    return list(own) if isinstance(own, pydicom.multival.MultiValue) else str(own or "ISO_IR 100")


def common(source: Source, algorithm: Algorithm, key: bytes, description: str) -> dict[str, Any]:
    """Keyword arguments that all of highdicom's objects take."""
    return {
        "series_instance_uid": uid(key, "series"),
        "sop_instance_uid": uid(key, "instance"),
        "instance_number": 1,
        "manufacturer": "medcnn",
        "manufacturer_model_name": line(algorithm.name),
        "software_versions": line(algorithm.version),
        "device_serial_number": line(algorithm.digest) or "none",
        "series_description": noticed(description),
        "content_date": source.moment.date(),
        "content_time": source.moment.time(),
        "specific_character_set": _UTF8,  # until it is settled: highdicom refuses several at once, as Japanese has them
    }


def settle(written: Dataset, source: Source, words: str) -> None:
    """The alphabet, and the source's time wherever highdicom wrote the clock's, with the time zone it is in."""
    written.SpecificCharacterSet = character_set(source, words)
    written.InstanceCreationDate = written.ContentDate = source.moment.strftime("%Y%m%d")
    written.InstanceCreationTime = written.ContentTime = source.moment.strftime("%H%M%S")
    if equipment := written.get("ContributingEquipmentSequence"):
        equipment[-1].ContributionDateTime = source.moment.strftime("%Y%m%d%H%M%S")  # highdicom's own
    offset = text(source.headers[0], "TimezoneOffsetFromUTC")
    if re.fullmatch(r"[+-]\d{4}", offset):
        written.TimezoneOffsetFromUTC = offset


@contextmanager
def quietly() -> Iterator[None]:
    """highdicom checks what the sources say of patient and study; its warnings and errors quote it."""
    with reader_errors(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def dicom_bytes(written: Dataset) -> bytes:
    """The file: part 10, an empty preamble. The object loses its pixels, for they may be large."""
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, written, enforce_file_format=True)
    written.pop("PixelData", None)
    return buffer.getvalue()
