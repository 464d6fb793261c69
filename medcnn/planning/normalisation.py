"""How intensities become network input, and whether the empty surround is cut off."""

from __future__ import annotations

from typing import Any

from medcnn.planning.fingerprint import Fingerprint
from medcnn.planning.refusal import PlanError

_CROPPED_BELOW = 0.75  # of the voxels left in the median case
_PICTURES = ("CR", "DX", "DR", "XR", "RG", "MG", "PX")  # projections: DICOM's modalities, and XR


def crop_of(fingerprint: Fingerprint, asked: str) -> tuple[str, str]:
    """none or nonzero, and why. asked: auto, none, nonzero."""
    if asked != "auto":
        return asked, "as asked for"
    lost = 1 - fingerprint.cropped_share
    if fingerprint.cropped_share < _CROPPED_BELOW:
        return "nonzero", f"the median case is {lost:.0%} empty surround"
    return "none", f"the median case would lose only {lost:.0%}"


def normalisation_of(fingerprint: Fingerprint, asked: str, crop: str) -> tuple[dict[str, Any], str]:
    """The rule with the numbers it needs, and why. asked: auto, zscore, dataset, percentiles, range.

    scale     zscore: each scan by its own mean and standard deviation; dataset: clipped to low and high, then by mean
              and std of the training cases; percentiles and range: each scan by its own
    inside    zscore: which voxels count, nonzero where the surround is empty, else all
    channels  the training cases' foreground, one entry per channel
    """
    channels = [dict(channel) for channel in fingerprint.intensity]
    if any(channel and channel["min"] == channel["max"] for channel in channels):
        flat = [at for at, channel in enumerate(channels) if channel and channel["min"] == channel["max"]]
        raise PlanError(
            "CONSTANT",
            f"channel {flat[0]} has the same value {channels[flat[0]]['min']:g} in every structure of every case. "
            "Check that it holds the image; if it carries nothing, leave it out of the manifest.",
        )
    scale, why = (asked, "as asked for") if asked != "auto" else _scale_of(fingerprint)
    if scale == "dataset" and not all(channels):
        if asked == "dataset":
            raise PlanError(
                "SETTING", "plan.normalisation=dataset needs intensities of structures, and no case has any."
            )
        scale, why = "zscore", "no case has intensities of structures to measure"
    return {"scale": scale, "inside": crop_inside(crop), "channels": channels}, why


def crop_inside(crop: str) -> str:
    """Which voxels a mean is of: an empty surround would only say how much there is of it."""
    return "nonzero" if crop == "nonzero" else "all"


def _scale_of(fingerprint: Fingerprint) -> tuple[str, str]:
    modality = fingerprint.modality.upper()
    if modality == "CT":
        return "dataset", "CT has an absolute scale, so all scans share the numbers of the training cases"
    if modality in _PICTURES or (fingerprint.dims == 2 and modality not in ("MR", "PT")):
        return "percentiles", "projections have no absolute scale, and markers and collimators spoil mean and range"
    return "zscore", "the intensities have no absolute scale, so each scan is scaled by its own"
