"""How a scan is read where the file leaves a choice."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, Self

from medcnn.config.reading import ReadingConf

Voi = Literal["none", "window", "lut"]
BurnedIn = Literal["refuse", "allow"]
Tilt = Literal["refuse", "resample"]
Mosaic = Literal["refuse", "detile"]
Form = Literal["sform", "qform"]


@dataclass(frozen=True)
class Reading:
    """The choices; the defaults refuse whatever would need a guess. They travel with a model.

    voi            DICOM's window or look-up table for display: not applied, or asked for
    burned_in      whether pictures with likely burned-in text (ultrasound, secondary capture) are admitted
    min_slices     fewer make no volume
    tilt           a stack that drifts sideways: refused, or sheared back onto a right-angled grid
    mosaic         a picture that is a mosaic of slices: refused, or taken apart
    nifti_form     which affine of a NIfTI counts where both are set and name different spaces
    magnification  whether an X-ray's spacing at the detector is divided by its stated magnification
    """

    voi: Voi = "none"
    burned_in: BurnedIn = "refuse"
    min_slices: int = 4
    tilt: Tilt = "refuse"
    mosaic: Mosaic = "refuse"
    nifti_form: Form = "sform"
    magnification: bool = False

    @classmethod
    def of(cls, conf: ReadingConf) -> Self:
        """The choices of a config."""
        return cls(**{choice.name: getattr(conf, choice.name) for choice in fields(cls)})


AS_THE_FILE_SAYS = Reading()
