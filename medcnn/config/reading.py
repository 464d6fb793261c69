"""Settings of reading: what to do where a scan's file leaves a choice. They travel with the model."""

from __future__ import annotations

from dataclasses import dataclass

from medcnn.config.fields import choice, number


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
