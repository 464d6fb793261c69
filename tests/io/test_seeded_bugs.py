"""Bugs that readers of scans are known for, put in on purpose: at least one conformance case must fail of each.

Each case's own test is called twice: as it is, and with the bug. LPS taken for RAS, exchanged and mirrored axes are put
in by test_round_trip.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import test_dicom_image
import test_dicom_volume
import test_nifti_bytes

from medcnn.geometry import LPS_TO_RAS
from medcnn.io.dicom import image as dicom_image
from medcnn.io.dicom import pixels as dicom_pixels
from medcnn.io.dicom import volume as dicom_volume
from medcnn.io.dicom.decode import PixelFormat
from medcnn.io.dicom.slices import Slice
from medcnn.io.nifti import file_bytes as nifti_bytes
from medcnn.scan import ScanRejected

Patch = pytest.MonkeyPatch
CAUGHT = (AssertionError, ScanRejected, pytest.fail.Exception)


@dataclass(frozen=True)
class Check:
    """A case's own test, and what it takes beside fixtures."""

    test: Callable[..., None]
    given: dict[str, Any] = field(default_factory=dict)

    def run(self, request: pytest.FixtureRequest) -> None:
        names = inspect.signature(self.test).parameters.keys() - self.given.keys()
        self.test(**{name: request.getfixturevalue(name) for name in names}, **self.given)


CHECKS = {
    "C01": Check(test_dicom_image.test_C01_rescale_to_hounsfield_units),
    "C03": Check(test_dicom_image.test_C03_monochrome1_equals_its_inverted_twin, {"name": "RG1_UNCR"}),
    "C03b": Check(test_dicom_image.test_C03b_signed_monochrome1_with_rescale),
    "V03": Check(test_dicom_volume.test_V03_instance_numbers_do_not_matter, {"numbers": [3, 1, 5, 2, 4]}),
    "V11b": Check(
        test_dicom_volume.test_V11b_a_small_tilt_is_a_tilt_and_a_tolerated_drift_stays_in_the_affine,
    ),
    "V18": Check(test_dicom_volume.test_V18_each_slice_has_its_own_rescale),
    "N11": Check(test_nifti_bytes.test_N11_no_bit_flip_goes_unseen),
    "N12": Check(test_nifti_bytes.test_N12_the_trailer_of_gzip),
}


def never_inverted(patch: Patch, *, signed_only: bool = False) -> None:
    """MONOCHROME1 read like MONOCHROME2."""
    right = dicom_image.frame_values

    def wrong(dataset: Any, form: PixelFormat, *others: Any) -> Any:
        skipped = form.signed or not signed_only
        return right(dataset, replace(form, photometric="MONOCHROME2") if skipped else form, *others)

    patch.setattr(dicom_image, "frame_values", wrong)


def third_column_from_the_normal(patch: Patch) -> None:
    right = dicom_volume.affine_of_slices

    def wrong(slices: Sequence[Slice]) -> np.ndarray:
        affine = right(slices)
        normal = LPS_TO_RAS[:3, :3] @ slices[0].normal
        affine[:3, 2] = normal * np.linalg.norm(affine[:3, 2])
        return affine

    patch.setattr(dicom_volume, "affine_of_slices", wrong)


def sorted_by_instance_number(patch: Patch) -> None:
    """And nothing looks at the places any more."""
    patch.setattr(dicom_volume, "in_order", lambda slices: sorted(slices, key=lambda one: one.number))
    patch.setattr(dicom_volume, "_check_places", lambda *_: False)


def rescale_ignored(patch: Patch) -> None:
    patch.setattr(dicom_pixels, "rescale", lambda header: (1.0, 0.0))


class Unchecked:
    """Inflates gzip as nibabel does: what stands behind the data is never compared with it."""

    def __init__(self) -> None:
        self._raw, self._header_bytes = zlib.decompressobj(wbits=-15), 10

    def decompress(self, packed: bytes, most: int) -> bytes:
        skipped = min(self._header_bytes, len(packed))
        self._header_bytes -= skipped
        return self._raw.decompress(packed[skipped:], most)

    @property
    def eof(self) -> bool:
        return self._raw.eof

    @property
    def unused_data(self) -> bytes:
        return self._raw.unused_data[8:]

    @property
    def unconsumed_tail(self) -> bytes:
        return self._raw.unconsumed_tail


def no_gzip_checksum(patch: Patch) -> None:
    patch.setattr(nifti_bytes, "zlib", SimpleNamespace(decompressobj=lambda wbits: Unchecked(), error=zlib.error))


BUGS: dict[str, tuple[Callable[[Patch], None], tuple[str, ...]]] = {
    "MONOCHROME1 is not inverted": (never_inverted, ("C03", "C03b")),
    "only unsigned MONOCHROME1 is inverted": (lambda patch: never_inverted(patch, signed_only=True), ("C03b",)),
    "the third column comes from the normal": (third_column_from_the_normal, ("V11b",)),
    "slices are sorted by InstanceNumber": (sorted_by_instance_number, ("V03",)),
    "rescale is ignored": (rescale_ignored, ("C01", "V18")),
    "gzip's checksum is not compared": (no_gzip_checksum, ("N11", "N12")),
}


@pytest.mark.parametrize("case", CHECKS)
def test_without_a_bug_the_case_passes(request: pytest.FixtureRequest, case: str) -> None:
    CHECKS[case].run(request)


@pytest.mark.parametrize(("bug", "case"), [(bug, case) for bug, (_, cases) in BUGS.items() for case in cases])
def test_a_bug_fails_its_case(request: pytest.FixtureRequest, monkeypatch: Patch, bug: str, case: str) -> None:
    BUGS[bug][0](monkeypatch)
    with pytest.raises(CAUGHT):
        CHECKS[case].run(request)


def test_signed_pixels_need_a_case_of_their_own(request: pytest.FixtureRequest, monkeypatch: Patch) -> None:
    """The bug that C03b is for is one that C03 lets through."""
    never_inverted(monkeypatch, signed_only=True)
    CHECKS["C03"].run(request)


def test_without_its_checksum_gzip_is_still_inflated(
    write_nifti: Callable[..., Any], monkeypatch: Patch, read: Any
) -> None:
    """Else the bug would show for another reason than the missing comparison."""
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    no_gzip_checksum(monkeypatch)
    assert np.array_equal(read(write_nifti(voxels, "x.nii.gz")).voxels[0], voxels)
