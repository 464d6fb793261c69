"""Writes phantoms as DICOM: CR and DX images, and MR series of single slices. Every byte is the same at every run."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from brain_mri import Volume
from chest_xray import Phantom
from cohort import Patient
from draws import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
FIRST_DAY = date(2024, 1, 8)
CLASS_UIDS = {
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",  # for presentation
    "MR": "1.2.840.10008.5.1.4.1.1.4",
}
COMPRESSIONS = {
    "jpeg-ls": (JPEGLSLossless, "pyjpegls"),
    "jpeg-2000": (JPEG2000Lossless, "pylibjpeg"),
    "rle": (RLELossless, "pydicom"),
}


def code(value: str, scheme: str, meaning: str) -> Sequence:
    """A sequence of one coded concept."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def empty_file(sop_class: str, instance_uid: str) -> Dataset:
    """What every file needs around its data set."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CLASS_UIDS[sop_class], instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # Fixed, not the writing library's: another release of it must not change the bytes.
    meta.ImplementationClassUID, meta.ImplementationVersionName = uid("implementation"), "MEDCNN_SAMPLES"
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = CLASS_UIDS[sop_class], instance_uid
    return dataset


def describe_study(dataset: Dataset, kind: str, person: Patient, image: int, day: date) -> None:
    """Patient, study, series and equipment; each image is a study of its own."""
    dataset.PatientID = person.patient_id
    dataset.PatientName = f"Phantom^{person.number:04d}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex, dataset.PatientAge = person.sex, f"{person.age:03d}Y"
    dataset.PatientIdentityRemoved, dataset.DeidentificationMethod = "YES", "Synthetic: there is no patient"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid(kind, "study", image), uid(kind, "series", image)
    dataset.StudyID, dataset.SeriesNumber, dataset.AccessionNumber = str(image), 1, ""
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = day.strftime("%Y%m%d")
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "120000"
    dataset.ReferringPhysicianName = ""
    dataset.Manufacturer, dataset.ManufacturerModelName = "medcnn", "phantom"
    dataset.InstitutionName, dataset.DeviceSerialNumber = person.site, person.site
    dataset.SoftwareVersions = "1"


def put_pixels(dataset: Dataset, pixels: npt.NDArray[np.uint16], bits: int, compression: str) -> None:
    """16 bits allocated, unsigned; compression "none" or a key of COMPRESSIONS, all lossless."""
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.LossyImageCompression = "00"
    if compression == "none":
        dataset.PixelData = np.ascontiguousarray(pixels, dtype="<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        return
    syntax, plugin = COMPRESSIONS[compression]
    dataset.compress(
        syntax, np.ascontiguousarray(pixels), encoding_plugin=plugin, generate_instance_uid=False, encapsulate_ext=False
    )


def put_spacing(dataset: Dataset, image: Phantom) -> None:
    """Pixel Spacing speaks of the patient's middle plane, Imager Pixel Spacing of the detector behind it."""
    header = image.header
    if header.spacing_tag in ("PixelSpacing", "both"):
        dataset.PixelSpacing = [header.spacing_mm] * 2
        dataset.PixelSpacingCalibrationType = "GEOMETRY"
        dataset.PixelSpacingCalibrationDescription = "Middle plane of the phantom"
    if header.spacing_tag in ("ImagerPixelSpacing", "both"):
        dataset.ImagerPixelSpacing = [round(header.spacing_mm * header.magnification, 6)] * 2
        dataset.EstimatedRadiographicMagnificationFactor = header.magnification


def xray_dataset(image: Phantom) -> Dataset:
    """One CR or DX image."""
    header, number = image.header, image.visit.image
    dataset = empty_file(header.sop_class, uid("xray", "instance", number))
    days = header.days + 90 * image.visit.visit
    describe_study(dataset, "xray", image.visit.patient, number, FIRST_DAY + timedelta(days=days))
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = header.sop_class, "CHEST", header.view
    view = header.view if header.view == "PA" else "LL"  # PS3.3 C.8.7.1.1.2: left side against the detector
    dataset.ViewPosition = view
    dataset.InstanceNumber, dataset.ImageType = 1, ["ORIGINAL", "PRIMARY", ""]
    dataset.PatientOrientation = ["L", "F"] if header.view == "PA" else ["P", "F"]
    dataset.BurnedInAnnotation, dataset.Laterality = "NO", ""
    dataset.PhotometricInterpretation = header.photometric
    inverse = header.photometric == "MONOCHROME1"
    dataset.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = "LOG", 1 if inverse else -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = header.intercept, header.slope, "US"
    if header.window:
        dataset.WindowCenter = [centre for centre, _ in header.window]
        dataset.WindowWidth = [width for _, width in header.window]
    put_spacing(dataset, image)
    if header.sop_class == "DX":
        dataset.PresentationIntentType, dataset.ImageLaterality = "FOR PRESENTATION", "U"
        dataset.AnatomicRegionSequence = code("51185008", "SCT", "Chest")
        views = {"PA": ("399348003", "postero-anterior"), "LL": ("399173006", "left lateral")}
        dataset.ViewCodeSequence = code(views[view][0], "SCT", views[view][1])
        dataset.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence()
        dataset.AcquisitionContextSequence, dataset.DetectorType = Sequence(), "DIRECT"
    put_pixels(dataset, image.pixels, header.bits, header.compression)
    return dataset


def slice_dataset(volume: Volume, k: int, orientation: list[str], compression: str) -> Dataset:
    """Slice k of a series; columns are i, rows are j."""
    number = volume.visit.image
    lps = LPS_TO_RAS @ volume.affine
    dataset = empty_file("MR", uid("mri", "instance", number, k))
    day = FIRST_DAY + timedelta(days=200 * volume.visit.visit)
    describe_study(dataset, "mri", volume.visit.patient, number, day)
    dataset.Modality, dataset.BodyPartExamined = "MR", "BRAIN"
    dataset.ImageType, dataset.InstanceNumber = ["ORIGINAL", "PRIMARY", "M"], k + 1
    dataset.PatientPosition, dataset.FrameOfReferenceUID = "HFS", uid("mri", "frame", number)
    dataset.PositionReferenceIndicator = ""
    dataset.ImageOrientationPatient = orientation
    dataset.ImagePositionPatient = [f"{value:.9f}" for value in lps[:3, 3] + k * lps[:3, 2]]
    spacing_mm = np.linalg.norm(lps[:3, :3], axis=0)
    dataset.PixelSpacing = [f"{spacing_mm[1]:.6f}", f"{spacing_mm[0]:.6f}"]  # between rows first
    dataset.SliceThickness = dataset.SpacingBetweenSlices = f"{spacing_mm[2]:.6f}"
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "SP", ""
    dataset.MRAcquisitionType, dataset.MagneticFieldStrength = "3D", 3
    dataset.RepetitionTime, dataset.EchoTime, dataset.EchoTrainLength, dataset.FlipAngle = 2000, 3, 1, 9
    dataset.PhotometricInterpretation, dataset.BurnedInAnnotation = "MONOCHROME2", "NO"
    put_pixels(dataset, volume.voxels[:, :, k].T, 12, compression)
    return dataset


def write_xray(image: Phantom, path: Path) -> None:
    """One file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    xray_dataset(image).save_as(path, enforce_file_format=True)


def write_series(volume: Volume, folder: Path) -> None:
    """One file a slice; their names say nothing about the order, as in many archives."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = LPS_TO_RAS @ volume.affine
    cosines = lps[:3, :2] / np.linalg.norm(lps[:3, :2], axis=0)
    orientation = [f"{value:.12f}" for value in cosines.T.ravel()]
    compression = ("none", "jpeg-ls", "rle", "jpeg-ls")[volume.visit.image // 6 % 4]
    for k in range(volume.voxels.shape[2]):
        dataset = slice_dataset(volume, k, orientation, compression)
        dataset.save_as(folder / f"{(7 * k + 3) % 97:03d}.dcm", enforce_file_format=True)
