"""The header of one frame, as if it were a file of its own: enhanced objects keep it in functional groups."""

from __future__ import annotations

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from medcnn.io.dicom.header import reader_errors

FRAME_KEYWORDS = (  # what one frame may say for itself, also at the top level of a classic file
    *("ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "EstimatedRadiographicMagnificationFactor"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("ImageType", "EchoTime", "EchoNumbers", "DiffusionBValue", "InstanceNumber"),
    *("TemporalPositionIdentifier", "AcquisitionNumber", "TriggerTime"),
)
_TAGS = frozenset(Tag(keyword) for keyword in FRAME_KEYWORDS)
_SAME = {
    "FrameType": "ImageType",
    "EffectiveEchoTime": "EchoTime",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
}


def frame_header(dataset: Dataset, index: int) -> Dataset:
    """Top level, then shared, then per-frame functional groups; the later wins."""
    if "PerFrameFunctionalGroupsSequence" not in dataset and "SharedFunctionalGroupsSequence" not in dataset:
        return dataset
    header = Dataset()
    with reader_errors():
        for tag in _TAGS & set(dataset.keys()):
            header[tag] = dataset[tag]
        shared = dataset.get("SharedFunctionalGroupsSequence") or []
        per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
        for group in [*shared[:1], *per_frame[index : index + 1]]:
            _take(header, group)
    return header


def _take(header: Dataset, group: Dataset) -> None:
    for macro in group:
        if macro.VR != "SQ" or macro.tag.is_private:
            continue
        for element in (element for item in macro.value[:1] for element in item if not element.tag.is_private):
            keyword = _SAME.get(element.keyword, element.keyword)
            if keyword in FRAME_KEYWORDS:
                header[keyword] = DataElement(keyword, dictionary_VR(keyword), element.value)
