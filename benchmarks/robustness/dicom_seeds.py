"""Good DICOM scans to damage: pydicom's own files in every transfer syntax, its small series, and made ones."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from benchmarks.robustness.dicom_layout import Malformed, layout_of
from benchmarks.robustness.mutation import Seed

CANARY = "QZXJ"  # stands for a patient: whoever says it aloud leaks
CANARY_DATE = "19470213"
CR, CT, MR_ENHANCED = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4.1"
_PERSONAL = {0x00100010, 0x00100020, 0x00080050, 0x00101000, 0x00080090, 0x00081050, 0x00081070, 0x00204000}
_BIRTH_DATE = 0x00100030
BUNDLED = {  # file of pydicom or pydicom-data -> frame to read, where there are several
    "CT_small": None,  # explicit little endian
    "MR_small": None,
    "MR_small_implicit": None,
    "MR_small_bigendian": None,
    "MR_small_RLE": None,
    "MR_small_jp2klossless": None,
    "MR_small_jpeg_ls_lossless": None,
    "image_dfl": None,  # deflated
    "JPGExtended": None,
    "JPEG-LL": None,  # lossless JPEG, signed
    "693_J2KI": None,
    "JPEGLSNearLossless_16": None,
    "SC_rgb_jpeg_dcmtk": None,
    "SC_rgb_jpeg_gdcm": None,  # lossless JPEG, colour
    "SC_rgb_rle": None,
    "SC_rgb_rle_16bit_2frame": 1,
    "SC_rgb_small_odd": None,
    "SC_rgb_small_odd_jpeg": None,
    "SC_rgb_dcmtk_+eb+cy+s2": None,  # subsampled colour
    "SC_rgb_jls_lossy_line": None,
    "ExplVR_BigEnd": None,
    "OBXXXX1A_rle": None,  # palette
    "JPEG2000": None,
    "SC_ybr_full_422_uncompressed": None,
    "rtdose_rle_1frame": None,  # 32 bit
    "emri_small_RLE": 3,
    "emri_small_jpeg_ls_lossless": 9,
    "emri_small_jpeg_2k_lossless": 4,
}
_ALLOW = {"burned_in": "allow"}


def dicom_seeds() -> list[Seed]:
    """All of them, always in the same order."""
    return [*_bundled(), _dirtests(), *_made()]


def _bundled() -> list[Seed]:
    seeds = []
    for name, frame in BUNDLED.items():
        path = get_testdata_file(f"{name}.dcm", download=False)
        if path is None:  # pydicom-data is not installed
            continue
        reference = "one.dcm" if frame is None else f"one.dcm#frame={frame}"
        seeds.append(Seed(name, {"one.dcm": with_canaries(Path(str(path)).read_bytes())}, reference, _ALLOW))
    return seeds


def _dirtests() -> Seed:
    folder = Path(str(get_testdata_file("DICOMDIR"))).parent / "98892001" / "CT5N"
    files = {f"s/{path.name}": with_canaries(path.read_bytes()) for path in sorted(folder.iterdir())}
    return Seed("98892001/CT5N", files, "s")


def with_canaries(data: bytes) -> bytes:
    """The same bytes, with a canary of the same length in every personal element."""
    try:
        layout = layout_of(data)
    except Malformed:
        return data
    changed = bytearray(layout.plain)
    for element in layout.every():
        size = element.end - element.value
        if element.tag in _PERSONAL and size >= len(CANARY):
            changed[element.value : element.end] = (CANARY * (size // len(CANARY) + 1))[:size].encode()
        if element.tag == _BIRTH_DATE and size == len(CANARY_DATE):
            changed[element.value : element.end] = CANARY_DATE.encode()
    return layout.pack(bytes(changed))


def _made() -> list[Seed]:
    pixels = _blobs((40, 32))
    xray: dict[str, Any] = {
        "PhotometricInterpretation": "MONOCHROME1",
        "PixelSpacing": ["0.2", "0.4"],
        "ImagerPixelSpacing": ["0.25", "0.5"],
        **{"BitsStored": 12, "HighBit": 11, "RescaleSlope": "2", "RescaleIntercept": "-10", "RescaleType": "US"},
    }
    lut = Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType = [4096, 0, 16], "US"
    lut.add_new("LUTData", "OW", (np.arange(4096, dtype="<u2") * 3 + 5).tobytes())
    looked_up = {"BitsStored": 12, "HighBit": 11, "ModalityLUTSequence": Sequence([lut])}
    ct = _volume(_blobs((8, 10, 6)).astype("<i2") - 900)
    return [
        Seed("made X-ray, MONOCHROME1", {"one.dcm": written(image(pixels, **xray))}, "one.dcm"),
        Seed("made X-ray, implicit", {"one.dcm": written(image(pixels, **xray), ImplicitVRLittleEndian)}, "one.dcm"),
        Seed("made X-ray, 8 bit", {"one.dcm": written(image((pixels // 16).astype("u1")))}, "one.dcm"),
        Seed("made X-ray, modality LUT", {"one.dcm": written(image(pixels, **looked_up))}, "one.dcm"),
        Seed("made CT series", {f"s/{k}.dcm": written(one) for k, one in enumerate(ct)}, "s"),
        Seed(
            "made CT series, implicit",
            {f"s/{k}.dcm": written(one, ImplicitVRLittleEndian) for k, one in enumerate(ct)},
            "s",
        ),
        Seed(
            "made CT series, big endian",
            {f"s/{k}.dcm": written(one, ExplicitVRBigEndian) for k, one in enumerate(ct)},
            "s",
        ),
        Seed("made CT series, RLE", {f"s/{k}.dcm": written(one, RLELossless) for k, one in enumerate(ct)}, "s"),
        Seed(
            "made X-ray, deflated",
            {"one.dcm": written(image(pixels, **xray), DeflatedExplicitVRLittleEndian)},
            "one.dcm",
        ),
        Seed("made enhanced MR", {"one.dcm": written(_enhanced(_blobs((8, 10, 6))))}, "one.dcm"),
        Seed(
            "made enhanced MR, implicit",
            {"one.dcm": written(_enhanced(_blobs((8, 10, 6))), ImplicitVRLittleEndian)},
            "one.dcm",
        ),
    ]


def _blobs(shape: tuple[int, ...]) -> npt.NDArray[np.uint16]:
    """12-bit values without any symmetry."""
    return np.random.default_rng(7).integers(0, 4096, shape).astype("<u2")


def image(pixels: npt.NDArray[Any], **elements: Any) -> Dataset:
    """One X-ray of the given stored values (rows, columns), or (frames, rows, columns)."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = CR, "1.2.826.0.1.3680043.8.498.1"
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.2", "1.2.826.0.1.3680043.8.498.3"
    data.Modality, data.BodyPartExamined, data.ImageType = "CR", "CHEST", ["ORIGINAL", "PRIMARY"]
    data.PatientName, data.PatientID, data.AccessionNumber = CANARY * 2, CANARY * 3, CANARY
    data.PatientBirthDate, data.StudyDate, data.InstanceNumber = CANARY_DATE, "20200102", "1"
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = pixels.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.WindowCenter, data.WindowWidth = "1000", "2000"
    data.add_new("PixelData", "OW" if bits > 8 else "OB", pixels.tobytes() + b"\0" * (pixels.nbytes % 2))
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    return data


def _volume(voxels: npt.NDArray[Any]) -> list[Dataset]:
    """One CT slice per last index, 2.5 mm apart, a little oblique."""
    row, column = np.array([np.cos(0.3), np.sin(0.3), 0]), np.array([-np.sin(0.3), np.cos(0.3), 0])
    slices = []
    for k in range(voxels.shape[2]):
        slices.append(
            image(
                np.ascontiguousarray(voxels[:, :, k]),
                SOPClassUID=CT,
                Modality="CT",
                SOPInstanceUID=f"1.2.826.0.1.3680043.8.498.1{k}",
                FrameOfReferenceUID="1.2.826.0.1.3680043.8.498.4",
                InstanceNumber=str(k + 1),
                ImagePositionPatient=["-10", "-20", f"{30 + 2.5 * k:.1f}"],
                ImageOrientationPatient=[f"{value:.8f}" for value in (*row, *column)],
                PixelSpacing=["0.7", "0.5"],
                SliceThickness="2.5",
                RescaleSlope="1",
                RescaleIntercept="-24",
            )
        )
    return slices


def _enhanced(voxels: npt.NDArray[Any]) -> Dataset:
    """One multi-frame object: orientation and spacing shared, position and rescale per frame."""
    frames = np.ascontiguousarray(voxels.transpose(2, 0, 1))
    data = image(frames, SOPClassUID=MR_ENHANCED, Modality="MR", NumberOfFrames=str(len(frames)))
    data.BitsStored, data.HighBit = 12, 11
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    measures.PixelSpacing, measures.SliceThickness = ["0.7", "0.5"], "3"
    shared = Dataset()
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([orientation]), Sequence([measures])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for k in range(len(frames)):
        position, values, group = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = ["-10", "-20", str(30 + 3 * k)]
        values.RescaleIntercept, values.RescaleSlope, values.RescaleType = str(-k), "1.5", "US"
        group.PlanePositionSequence = Sequence([position])
        group.PixelValueTransformationSequence = Sequence([values])
        groups.append(group)
    data.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return data


def written(data: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """The bytes of a file that keeps every rule."""
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    native = data.PixelData
    if syntax == RLELossless:
        frame = np.frombuffer(native, "<u2").reshape(data.Rows, data.Columns)
        data.PixelData = encapsulate([rle_frame(frame)])
        data["PixelData"].is_undefined_length = True
    if syntax == ExplicitVRBigEndian and data.BitsAllocated == 16:
        data.PixelData = np.frombuffer(native, "<u2").astype(">u2").tobytes()
    file = io.BytesIO()
    pydicom.dcmwrite(
        file,
        data,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    data.PixelData = native
    data["PixelData"].is_undefined_length = False
    return file.getvalue()


def rle_frame(frame: npt.NDArray[np.uint16]) -> bytes:
    """PS3.5 annex G, high bytes then low bytes, as literal runs and one repeat a row."""
    segments = []
    for plane in (frame >> 8, frame & 255):
        packed = b""
        for row in plane.astype("u1"):
            packed += bytes([len(row) - 2]) + row[:-1].tobytes() + bytes([0, row[-1]])
        segments.append(packed + b"\0" * (len(packed) % 2))
    offsets = [2, 64, 64 + len(segments[0])] + [0] * 13
    return np.array(offsets, "<u4").tobytes() + b"".join(segments)


def by_name(seeds: list[Seed]) -> Mapping[str, Seed]:
    return {seed.name: seed for seed in seeds}
