"""Scans whose every field that may hold a person or free text holds a canary, and the search for canaries.

A canary is `Qzcnry` and the number of the field it stands in, so that a find says where it came from.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pydicom
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

WORD = "Qzcnry"
BIRTH_DATE, OTHER_DATE = "19030203", "19040506"
PATH_WORD = "qzpath"  # a part of the input's path: may stand in the private zone, not in the shared one
_TEXT = {"PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE", "CS"}
_NEEDED = {  # what a reader must understand; canaries in these are tried one by one, since each spoils its scan
    "SpecificCharacterSet", "Modality", "PhotometricInterpretation", "ImageType", "PatientOrientation", "PatientSex",
    "BodyPartExamined", "Laterality", "ImageLaterality", "PresentationLUTShape", "PixelIntensityRelationship",
    "RescaleType", "AcquisitionContrast", "ComplexImageComponent", "VolumetricProperties",
    "PresentationIntentType", "LossyImageCompression", "PositionReferenceIndicator",
    "NumericValue", "FloatingPointValue", "VolumeBasedCalculationTechnique", "PatientPosition", "ViewPosition",
}  # fmt: skip
_FOUND = re.compile(rb"qzcnry[0-9a-f]{0,8}|(?<![0-9.])190(?:3-?02-?03|4-?05-?06)|03[./]02[./]1903")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_DEEPEST = 5


def canary(tag: int) -> str:
    return f"{WORD}{int(tag):08x}"


def fill(data: Dataset) -> None:
    """Every public element of text that is not needed, nested ones and private ones too."""
    data.update(_filled())
    data.preamble = canary(0).encode().ljust(128, b"\0")


@cache
def _filled() -> Dataset:
    data = Dataset()
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        group = tag >> 16
        if not keyword or keyword in _NEEDED or group in (0x0000, 0x0002, 0x0004) or (retired and group != 0x0010):
            continue
        if vr in _TEXT and group < 0x5000:
            value = canary(tag).upper() if vr == "CS" else canary(tag)
            data.add_new(tag, vr, f"{value}^Given" if vr == "PN" else value)
        elif vr == "DA":
            data.add_new(tag, vr, OTHER_DATE)
    data.PatientBirthDate, data.StudyDate, data.StudyTime, data.PatientSex = BIRTH_DATE, OTHER_DATE, "101112", "F"
    data.RequestAttributesSequence = Sequence([_item("RequestedProcedureDescription", "ScheduledProcedureStepID")])
    data.OtherPatientIDsSequence = Sequence([_item("PatientID", "IssuerOfPatientID")])
    data.ProcedureCodeSequence = Sequence([_item("CodeValue", "CodingSchemeDesignator", "CodeMeaning")])
    data.PatientSpeciesCodeSequence = Sequence([_item("CodeMeaning")])
    block = data.private_block(0x0009, canary(0x00090010), create=True)
    block.add_new(0x01, "LO", canary(0x00091001))
    block.add_new(0x02, "UN", canary(0x00091002).encode())
    block.add_new(0x03, "SQ", Sequence([_item("PatientName")]))
    return data


def _item(*keywords: str) -> Dataset:
    item = Dataset()
    for keyword in keywords:
        setattr(item, keyword, canary(Tag(keyword)))
    return item


def refill(path: Path, change: Callable[[Dataset], None] | None = None) -> Path:
    """Put canaries into a file; `change` may spoil it further."""
    data = pydicom.dcmread(path)
    fill(data)
    if change:
        change(data)
    data.save_as(path)
    return path


def put_anything(path: Path, keyword: str) -> Path:
    """A canary in place of this element's value, whatever its VR allows; explicit little endian, short length."""
    tag = Tag(keyword)
    content = path.read_bytes()
    at = content.index(struct.pack("<HH", tag.group, tag.element), 132)
    vr, length = content[at + 4 : at + 6], int.from_bytes(content[at + 6 : at + 8], "little")
    assert vr.isalpha(), keyword
    assert vr not in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR"), vr
    word = canary(tag).encode()
    word += b" " * (len(word) % 2)
    path.write_bytes(content[: at + 6] + struct.pack("<H", len(word)) + word + content[at + 8 + length :])
    return path


# The search


def found_in(content: bytes) -> set[str]:
    """Canaries, in words: in plain text, UTF-16, base64, and within what is packed."""
    return {_said(match) for part in unpacked(content) for match in _FOUND.findall(_plain(part))}


def fields(found: set[str]) -> set[str]:
    """The keywords of the elements that the canaries stood in; "" for dates and words cut short."""
    return {word.partition("(")[2].rstrip(")") for word in found}


def _plain(part: bytes) -> bytes:
    """In lower case, and once more without the zeros of UTF-16."""
    lowered = part.lower()
    return lowered + b"\n" + lowered.replace(b"\0", b"") if b"\0" in lowered else lowered


def _said(match: bytes) -> str:
    text = match.decode()
    number = text.removeprefix(WORD.lower())
    return f"{text} ({keyword_for_tag(int(number, 16))})" if len(number) == 8 and number != text else text


def unpacked(content: bytes, depth: int = 0) -> Iterator[bytes]:
    """The bytes, and those that are packed within them, at any depth."""
    yield content
    if depth == _DEEPEST:
        return
    for part in _packed(content):
        yield from unpacked(part, depth + 1)


def _packed(content: bytes) -> Iterator[bytes]:
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    elif content[:4] == b"PK\3\4":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    elif content[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png_words(content)
    elif content[:4] == b"PAR1":
        yield from _parquet_words(content)
    elif content[:1] == b"\x78" and content[1:2] in (b"\x01", b"\x5e", b"\x9c", b"\xda"):
        yield from _inflated(content)
    for match in _BASE64.findall(content):
        yield from _decoded(match)


def _png_words(content: bytes) -> Iterator[bytes]:
    """All but the pixels; packed texts unpacked."""
    at = 8
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        body = content[at + 8 : at + 8 + length]
        if kind != b"IDAT":
            yield body
            for start in (match.start() for match in re.finditer(b"\x78[\x01\x5e\x9c\xda]", body)):
                yield from _inflated(body[start:])
        at += 12 + length


def _parquet_words(content: bytes) -> Iterator[bytes]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(io.BytesIO(content))
    yield str(table.schema.metadata).encode()
    yield table.to_pandas().to_csv().encode()


def _inflated(content: bytes) -> Iterator[bytes]:
    try:
        yield zlib.decompressobj().decompress(content)
    except zlib.error:
        return


def _decoded(match: bytes) -> Iterator[bytes]:
    body = match.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    for start in range(4) if len(body) < 4096 else (0,):  # a short run may begin with other letters
        whole = body[start:]
        whole = whole[: len(whole) // 4 * 4] if len(whole) % 4 == 1 else whole + b"=" * (-len(whole) % 4)
        try:
            yield base64.b64decode(whole)
        except binascii.Error:
            continue


def leaks(folder: Path, *, but_for: tuple[str, ...] = (), allowed: frozenset[str] = frozenset()) -> dict[str, set[str]]:
    """File below -> the canaries in its name or content; not what lies in folders of these names, or was in allowed
    fields.
    """
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file():
            content = b"" if name.parts[0] in but_for else path.read_bytes()
            said = found_in(str(name).encode()) | found_in(content)
            said = {word for word in said if not fields({word}) <= allowed}
            found |= {str(name): said} if said else {}
    return found
