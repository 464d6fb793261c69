"""One DICOM picture: an X-ray, or a single slice or frame."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom.dataset import Dataset, FileDataset

from medcnn.io.dicom.decode import PixelFormat, check_size, pixel_format
from medcnn.io.dicom.frames import frame_header
from medcnn.io.dicom.header import DicomFile, numbers, reader_errors, text
from medcnn.io.dicom.pixels import frame_values
from medcnn.io.dicom.series import SERIES_MODALITIES
from medcnn.io.dicom.slices import MAX_SPACING_MM, place_of
from medcnn.io.options import BurnedIn, Reading, Voi
from medcnn.scan import Reason, Scan, ScanRejected

PROJECTIONS = frozenset({"CR", "DX", "DR", "MG", "RG", "IO", "PX", "XA", "RF", "RTIMAGE"})
_LIKELY_BURNED_IN = (  # secondary capture, ultrasound, visible light photography
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.77.1",
)
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def image_of(file: DicomFile, reading: Reading, *, frame: int | None, chosen: Mapping[str, str] | None = None) -> Scan:
    """One frame of a file that is an image; chosen: what picked it from its series."""
    dataset = file.image()
    form = pixel_format(dataset)
    check_size(dataset, form)
    check_burned_in(dataset, reading.burned_in)
    index = _frame_index(form, frame)
    header = frame_header(dataset, index)
    for keyword, count in (("ImageOrientationPatient", 6), ("ImagePositionPatient", 3)):
        numbers(header, keyword, count)  # a picture is put nowhere, but one that says nonsense of its place is damaged
    if text(dataset, "Modality").upper() in SERIES_MODALITIES:
        place_of(header)
    spacing_mm, spacing_facts = spacing_of(header, magnified=reading.magnification)
    meaning = frame_values(dataset, form, index, header, reading.voi)
    return Scan(
        voxels=meaning.values[None],
        spacing_mm=spacing_mm,
        value_range=meaning.value_range,
        modality=text(dataset, "Modality").upper(),
        body_part=text(dataset, "BodyPartExamined").upper(),
        identity=(*filter(None, [text(dataset, "SOPInstanceUID")]), *(f"{k}={v}" for k, v in (chosen or {}).items())),
        patient_id=text(dataset, "PatientID"),
        facts=facts_of(dataset, form, reading.voi)
        | spacing_facts
        | dict(chosen or {})
        | ({} if frame is None or chosen else {"frame": str(frame)}),
    )


def _frame_index(form: PixelFormat, frame: int | None) -> int:
    if frame is None and form.frames > 1:
        raise ScanRejected(
            Reason.NOT_A_VOLUME,
            f"the file holds {form.frames} frames that are no volume",
            "Name one of them with #frame=<number from 0>",
        )
    if frame is not None and frame >= form.frames:
        raise ScanRejected(
            Reason.READ_ERROR,
            f"frame {frame} is asked for, the file holds {form.frames}",
            "Name a frame that exists, from 0",
        )
    return frame or 0


def spacing_of(header: Dataset, *, magnified: bool = False) -> tuple[tuple[float, float] | None, dict[str, str]]:
    """(between rows, between columns) in mm, and where it came from: in the patient, or at the detector.

    magnified  divide a spacing at the detector by the stated magnification (PS3.3 C.8.7.1: object to detector)
    """
    stated = {keyword: numbers(header, keyword, 2) for keyword in _SPACINGS}
    found = {keyword: spacing for keyword, spacing in stated.items() if spacing and any(spacing)}
    if any(not min(spacing) > 0 or max(spacing) > MAX_SPACING_MM for spacing in found.values()):
        raise ScanRejected(Reason.TAG_INVALID, "a pixel spacing is zero, negative or huge", "Export the file again")
    source = next(iter(found), None)
    if source is None:  # some digitisers write two zeros, which is no more than saying nothing
        return None, {"spacing_source": "unknown"}
    facts = {"spacing_source": source}
    if "PixelSpacing" in found and "ImagerPixelSpacing" in found:
        same = found["PixelSpacing"] == found["ImagerPixelSpacing"]
        facts["imager_spacing"] = "same" if same else "different"
    rows_mm, columns_mm = found[source]
    magnification = numbers(header, "EstimatedRadiographicMagnificationFactor", 1)
    if magnification:
        facts["magnification"] = f"{magnification[0]:g}"
    if magnified and magnification and magnification[0] > 0 and source == "ImagerPixelSpacing":
        facts["spacing_source"] = "ImagerPixelSpacing / magnification"
        rows_mm, columns_mm = rows_mm / magnification[0], columns_mm / magnification[0]
    return (rows_mm, columns_mm), facts


def check_burned_in(dataset: Dataset, burned_in: BurnedIn) -> None:
    """Text in the pixels may name a patient and gives answers away: refused where declared or likely."""
    declared = text(dataset, "BurnedInAnnotation").upper() == "YES"
    likely = text(dataset, "SOPClassUID").startswith(_LIKELY_BURNED_IN) or "SCREEN SAVE" in text(dataset, "ImageType")
    if burned_in == "refuse" and (declared or likely):
        how = "is declared" if declared else "is likely in a secondary capture, ultrasound or photograph"
        raise ScanRejected(
            Reason.BURNED_IN, f"text burned into the pixels {how}", "Use the original image, with no text in its pixels"
        )


def facts_of(dataset: FileDataset, form: PixelFormat, voi: Voi) -> dict[str, str]:
    """What else is worth keeping, none of it the patient's."""
    facts = {
        "format": "DICOM",
        "photometric": form.photometric,
        "bits": str(form.bits_stored),
        "transfer_syntax": str(form.syntax),
        "voi": voi,
    }
    for fact, keyword in (
        ("view_position", "ViewPosition"),
        ("laterality", "Laterality"),
        ("burned_in", "BurnedInAnnotation"),
    ):
        if found := text(dataset, keyword) or (text(dataset, "ImageLaterality") if fact == "laterality" else ""):
            facts[fact] = found.upper()[:16]  # a code string; longer is something else
    if form.photometric == "MONOCHROME1":
        facts["inverted"] = "yes"
    with reader_errors():
        preamble = getattr(dataset, "preamble", None) or b""
    if preamble[:2] == b"MZ" or preamble[:4] == b"\x7fELF":
        facts["preamble"] = "executable"
    return facts
