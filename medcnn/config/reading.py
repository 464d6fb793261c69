"""Settings of reading: what to do where a scan's file leaves a choice. They travel with the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medcnn.config.fields import choice, nearest, number

LAYOUTS = ("auto", "bids", "msd", "nnunet", "coco", "yolo", "medmnist", "dicom_seg", "scans", "folders")
SPLIT_BY = ("orientation", "image_type", "echo", "b_value", "time")  # in the order they are applied


@dataclass
class ReadingConf:
    """The defaults refuse whatever would need a guess."""

    voi: str = choice("none", "none", "window", "lut")  # a DICOM's display window is for eyes; networks want the values
    burned_in: str = choice("refuse", "refuse", "allow")  # text in the pixels may name a patient, or give answers away
    min_slices: int = number(4, at_least=1)  # fewer make no volume
    tilt: str = choice("refuse", "refuse", "resample")  # a stack that drifts sideways: sheared back onto a grid
    mosaic: str = choice("refuse", "refuse", "detile")  # one picture that holds all slices of a volume: taken apart
    nifti_form: str = choice("sform", "sform", "qform")  # which counts where both are set and name different spaces
    magnification: bool = False  # divide an X-ray's spacing at the detector by its stated magnification


def split_by_problems(keys: Sequence[str]) -> Iterator[str]:
    """What a split_by may not hold."""
    for key in keys:
        if key not in SPLIT_BY:
            yield f"split_by: {key!r} is not one of {', '.join(SPLIT_BY)}.{nearest(str(key), list(SPLIT_BY))}"
