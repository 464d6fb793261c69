"""A picture of a result as a Secondary Capture in the patient's study, for viewers that know nothing newer."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from medcnn.io.dicom.header import integer, text
from medcnn.io.dicom.result_object import (
    NOTICE,
    SC_SERIES,
    Algorithm,
    common,
    concept,
    dicom_bytes,
    key_of,
    quietly,
    settle,
)
from medcnn.io.dicom.segment import Code
from medcnn.io.dicom.source import Source
from medcnn.io.read import rejecting

Picture = npt.NDArray[np.uint8]

_FOR_PROCESSING = Code("DCM", "121322", "Source image for image processing operation")
_MOST_PX = 65535
_LONGEST_TEXT = 1024  # characters of a DICOM short text
_STUDY = (  # Patient, Clinical Trial Subject, General Study, Patient Study: what is repeated of the first source
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "IssuerOfPatientID", "OtherPatientIDsSequence"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("PatientAge", "PatientSize", "PatientWeight", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName", "StudyDescription"),
)
_SIDES = ("L", "R")


@rejecting
def sc_bytes(picture: Picture, source: Source, algorithm: Algorithm, description: str = "Overlay") -> bytes:
    """picture (H, W, 3), RGB of 8 bits, as it is. Raises ScanRejected: TAG_INVALID."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or max(picture.shape) > _MOST_PX:
        raise ValueError("a picture is (H, W, 3) of 8 bits, at most 65535 pixels a side")
    content = hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()
    key = key_of(source, "SC", picture.shape, content, algorithm, description)
    with quietly():
        return dicom_bytes(_capture(picture, source, algorithm, description, key))


def _capture(picture: Picture, source: Source, algorithm: Algorithm, description: str, key: bytes) -> Dataset:
    from highdicom import SOPClass

    first = source.headers[0]
    written: Any = SOPClass(
        study_instance_uid=first.StudyInstanceUID,
        series_number=SC_SERIES,
        sop_class_uid=SecondaryCaptureImageStorage,
        modality="OT",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **common(source, algorithm, key, description),
    )
    for keyword in (*_STUDY, "RecognizableVisualFeatures"):
        if keyword in first:
            written[keyword] = first[keyword]
    written.ConversionType = "WSD"  # made on a workstation, not scanned or photographed
    written.DateOfSecondaryCapture = source.moment.strftime("%Y%m%d")
    written.TimeOfSecondaryCapture = source.moment.strftime("%H%M%S")
    written.ImageType = ["DERIVED", "SECONDARY"]
    # Both are asked for unless something else says it (2C). The side: as the source has it, empty where it has none;
    # its body part is not repeated, since an unpaired one must have no side at all and no list says which these are.
    # A page with a caption, perhaps of three planes, has no direction.
    side = text(first, "Laterality") or text(first, "ImageLaterality")
    written.Laterality, written.PatientOrientation = side if side in _SIDES else None, None
    # The element asks for words that identify the patient or date the image (PS3.3 C.7.6.1). The page's name the case
    # by its keyed hash and give the answer, so: NO; unless the source itself has such words, which the page then shows.
    written.BurnedInAnnotation = "YES" if text(first, "BurnedInAnnotation") == "YES" else "NO"
    if text(first, "LossyImageCompression") == "01":  # once lossy, always lossy
        written.LossyImageCompression = "01"
    made_by = f"{description} by {algorithm.name}, medcnn {algorithm.version}, model {algorithm.digest}"
    written.DerivationDescription = f"{NOTICE}. {made_by}"[:_LONGEST_TEXT]
    written.SourceImageSequence = Items([_reference(header, source) for header in source.all_headers])
    _put_pixels(written, picture)
    settle(written, source, f"{description} {algorithm.name} {algorithm.version}")
    return written  # type: ignore[no-any-return]


def _reference(header: Dataset, source: Source) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    if source.frames is not None and (len(source.frames) > 1 or integer(header, "NumberOfFrames", 1) > 1):
        item.ReferencedFrameNumber = [frame + 1 for frame in source.frames]
    item.PurposeOfReferenceCodeSequence = Items([concept(_FOR_PROCESSING)])
    return item


def _put_pixels(written: Dataset, picture: Picture) -> None:
    written.Rows, written.Columns = picture.shape[:2]
    written.SamplesPerPixel, written.PhotometricInterpretation, written.PlanarConfiguration = 3, "RGB", 0
    written.BitsAllocated = written.BitsStored = 8
    written.HighBit, written.PixelRepresentation = 7, 0
    content = np.ascontiguousarray(picture).tobytes()
    written.PixelData = content + b"\0" * (len(content) % 2)
