"""Headers repaired as far as a result repeats them: scanners and anonymisers write what no archive should be sent."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from pydicom.charset import python_encoding
from pydicom.config import RAISE
from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag
from pydicom.valuerep import validate_value

from medcnn.scan import Reason, ScanRejected

_MAY_BE_EMPTY = (  # of type 2: every result has them, some sources lack them
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
_OWN = (  # what says whose and which it is: repeated as it stands or not at all
    *("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"),
    "FrameOfReferenceUID",
)
_ONE_OF: dict[str, set[Any]] = {  # enumerated values of what results repeat, PS3.3 C.7.1 to C.7.3
    "PatientSex": {"M", "F", "O"},
    "SmokingStatus": {"YES", "NO", "UNKNOWN"},
    "PatientIdentityRemoved": {"YES", "NO"},
    "PregnancyStatus": {1, 2, 3, 4},
    "QualityControlSubject": {"YES", "NO"},
    "TypeOfPatientID": {"TEXT", "RFID", "BARCODE"},
    "PatientSexNeutered": {"ALTERED", "UNALTERED"},
    "LossyImageCompression": {"00", "01"},
    "BurnedInAnnotation": {"YES", "NO"},
    "RecognizableVisualFeatures": {"YES", "NO"},
}
_REFERENCE = ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID")
_NEEDED = {  # what an item must have
    "ReferencedStudySequence": _REFERENCE,
    "ReferencedPatientSequence": _REFERENCE,
    "ReferencedPerformedProcedureStepSequence": _REFERENCE,
    "OtherPatientIDsSequence": ("PatientID", "TypeOfPatientID"),
}
_BREAKS = dict.fromkeys(map(ord, "\r\n\f\t"), " ")
_WORDS = ("LO", "SH", "PN", "ST", "LT", "UT", "UC")
_PIXELS, _OVERLAYS, _OVERLAYS_END, _FRAME_GROUPS = 0x7FE0, 0x6000, 0x60FF, 0x5200
_FREE = ("OB", "OW", "OD", "OF", "OL", "OV", "UN")


def sound(header: Dataset) -> Dataset:
    """The public elements of a header that are what the standard says they are; the others left out, or left empty
    where every object has them. TAG_INVALID for what names the patient or the study and cannot be repeated.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, which quote what is broken
        kept = _public(header)
    for keyword in _OWN:
        if keyword in header and keyword not in kept:
            raise ScanRejected(
                Reason.TAG_INVALID,
                f"{keyword} is not as DICOM wants it, and a result in the same study would have to repeat it",
                "Export the study again; results as NIfTI and tables are not affected",
            )
    for keyword in _MAY_BE_EMPTY:
        if keyword not in kept:
            setattr(kept, keyword, "")
    if kept.get("PatientIdentityRemoved") == "YES" and not (
        kept.get("DeidentificationMethod") or kept.get("DeidentificationMethodCodeSequence")
    ):
        kept.DeidentificationMethod = "not stated"  # the two belong together, and who removed it did not say how
    return kept


def _public(header: Dataset) -> Dataset:
    kept = Dataset()
    for tag in header.keys():  # noqa: SIM118  values would be parsed, and a broken one raise
        if tag.is_private or tag.group == _PIXELS or _OVERLAYS <= tag.group <= _OVERLAYS_END:
            continue
        element = _element(header, tag)
        if element is not None:
            kept[tag] = element
    return kept


def _element(header: Dataset, tag: BaseTag) -> DataElement | None:
    """One that is fit to be repeated."""
    try:
        element = header[tag]
        if element.VR == "SQ":
            return _items(element)
        return element if _is_sound(element) else None
    except Exception:  # whatever pydicom makes of broken bytes
        return None


def _items(element: DataElement) -> DataElement | None:
    """Codes and references whole or not at all; the frames' own groups untouched."""
    if element.tag.group == _FRAME_GROUPS:
        return element
    is_whole = _wanted(element.keyword)
    items = [item for item in map(_public, element.value) if len(item) and is_whole(item)]
    return DataElement(element.tag, "SQ", Items(items)) if items else None


def _wanted(keyword: str) -> Callable[[Dataset], bool]:
    if keyword.endswith("CodeSequence"):
        return _is_code
    needed = _NEEDED.get(keyword, ())
    return lambda item: all(item.get(part) for part in needed)


def _is_code(item: Dataset) -> bool:
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue")
    return bool(value and item.get("CodingSchemeDesignator") and item.get("CodeMeaning"))


def _is_sound(element: DataElement) -> bool:
    """As many values as the dictionary says, each of its representation."""
    values = list(element.value) if isinstance(element.value, MultiValue | list) else [element.value]
    if element.is_empty:
        return True
    if element.keyword == "SpecificCharacterSet":
        return all(value in python_encoding for value in values)
    if element.VR not in dictionary_VR(element.tag) and element.VR != "UN":
        return False
    if element.VR not in _FREE and not _is_count(len(values), dictionary_VM(element.tag)):
        return False
    for value in values:
        validate_value(element.VR, getattr(value, "original_string", value), RAISE)
        if element.VR in _WORDS and not str(value).translate(_BREAKS).isprintable():
            return False
        if element.VR == "UI" and str(value)[0] not in "012":  # ISO 8824 knows three roots
            return False
    return _is_known(element.keyword, values)


def _is_known(keyword: str, values: list[Any]) -> bool:
    allowed = _ONE_OF.get(keyword)
    return allowed is None or all(value in allowed for value in values)


def _is_count(found: int, multiplicity: str) -> bool:
    """PS3.6: 1, 2, 1-3, 1-n, 2-2n ..."""
    least, _, most = multiplicity.partition("-")
    if not most:
        return found == int(least)
    if most.endswith("n"):
        step = int(most[:-1] or 1)
        return found >= int(least) and found % step == 0
    return int(least) <= found <= int(most)
