"""Masks of a case, in every form that they come in, on the grid of their scan or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from seg_folders import RAS_2MM, box_labels, voxels_of, write_nifti

from medcnn.data.audit.mask_facts import mask_record
from medcnn.data.manifest import Case, read_manifest
from medcnn.data.masks import has_mask, mask_values, read_mask, read_target
from medcnn.data.structures import Structures
from medcnn.io.dicom.seg_write import Algorithm, write_seg
from medcnn.io.dicom.segment import Code, Segment
from medcnn.io.options import Reading
from medcnn.io.read import read_scan
from medcnn.scan import Scan, ScanRejected

READING = Reading()
CODE = Code("SCT", "5366008", "Hippocampal structure")
SEGMENTS = [Segment(1, "front", CODE), Segment(2, "back", CODE)]
FRONT_BACK = Structures(("front", "back"), {"front": (1,), "back": (2,)}, overlapping=False)


def code_of(root: Path, scan: Scan, mask: str) -> str:
    """Why a mask is refused, in reading and in the audit."""
    with pytest.raises(ScanRejected) as caught:
        read_mask(scan, root, mask, READING)
    assert mask_record(scan, root, mask, READING).problem == caught.value.rejection.code.value
    return caught.value.rejection.code.value


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64])
def test_whole_numbers_of_any_type(tmp_path: Path, kind: type) -> None:
    write_nifti(tmp_path / "v.nii.gz", voxels_of(0, box_labels()))
    write_nifti(tmp_path / "m.nii.gz", box_labels().astype(kind))
    scan = read_scan(tmp_path, "v.nii.gz")
    assert np.array_equal(read_mask(scan, tmp_path, "m.nii.gz", READING), box_labels())


def test_a_dicom_segmentation_is_the_same_mask(samples: Path, tmp_path: Path) -> None:
    """Of a sample series whose mask is a NIfTI; the audit reads it the same way."""
    manifest = read_manifest(samples / "mri", "")
    case = next(case for case in manifest.cases if case.images[""].startswith("series/"))
    scan = read_scan(manifest.root, case.images[""])
    labels = read_mask(scan, manifest.root, case.masks[""], READING)
    assert scan.geometry is not None
    source = sorted((manifest.root / case.images[""]).iterdir())
    write_seg(
        tmp_path / "m.dcm",
        labels.astype(np.uint8),
        scan.geometry,
        source,
        SEGMENTS,
        Algorithm("phantom network", "1.0", "ab" * 32),
    )
    assert np.array_equal(read_mask(scan, tmp_path, "m.dcm", READING), labels)
    as_nifti = mask_record(scan, manifest.root, case.masks[""], READING)
    as_dicom = mask_record(scan, tmp_path, "m.dcm", READING)
    assert (as_dicom.problem, as_dicom.voxels, as_dicom.ml) == ("", as_nifti.voxels, as_nifti.ml)
    other = read_scan(manifest.root, manifest.cases[2].images[""])
    assert code_of(tmp_path, other, "m.dcm") == "GEOMETRY_MISMATCH"


def test_pictures(tmp_path: Path) -> None:
    labels = np.zeros((12, 16), np.uint8)
    labels[2:5, 3:9] = 1
    Image.fromarray(labels + 100).save(tmp_path / "a.png")
    scan = read_scan(tmp_path, "a.png")
    Image.fromarray(labels).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([labels] * 3, axis=-1)).save(tmp_path / "as_colour.png")
    for name in ("grey.png", "as_colour.png"):
        assert np.array_equal(read_mask(scan, tmp_path, name, READING), labels)
    Image.fromarray(np.stack([labels, labels, 0 * labels], axis=-1)).save(tmp_path / "colour.png")
    assert code_of(tmp_path, scan, "colour.png") == "LABEL_VALUES"
    Image.fromarray(labels[1:]).save(tmp_path / "small.png")
    assert code_of(tmp_path, scan, "small.png") == "GEOMETRY_MISMATCH"


def test_masks_that_are_none(tmp_path: Path) -> None:
    write_nifti(tmp_path / "v.nii.gz", voxels_of(0, box_labels()))
    scan = read_scan(tmp_path, "v.nii.gz")
    write_nifti(tmp_path / "half.nii.gz", box_labels() / np.float32(2))
    assert code_of(tmp_path, scan, "half.nii.gz") == "LABEL_VALUES"
    beside = RAS_2MM.copy()
    beside[2, 3] = 3
    write_nifti(tmp_path / "beside.nii.gz", box_labels(), beside)
    assert code_of(tmp_path, scan, "beside.nii.gz") == "GEOMETRY_MISMATCH"
    assert code_of(tmp_path, scan, "gone.nii.gz") == "READ_ERROR"
    assert code_of(tmp_path, scan, "../v.nii.gz") == "PATH_ESCAPE"
    (tmp_path / "text.nii.gz").write_text("no mask")
    with pytest.raises(ScanRejected):
        read_mask(scan, tmp_path, "text.nii.gz", READING)


def test_a_mask_for_each_structure_on_the_scans_grid(tmp_path: Path) -> None:
    write_nifti(tmp_path / "v.nii.gz", voxels_of(0, box_labels()))
    write_nifti(tmp_path / "one.nii.gz", (box_labels() == 1).astype(np.uint8))
    write_nifti(tmp_path / "any.nii.gz", (box_labels() > 0).astype(np.uint8))
    scan = read_scan(tmp_path, "v.nii.gz")
    case = Case("c", {"": "v.nii.gz"}, {}, masks={"whole": "any.nii.gz", "front": "one.nii.gz"})
    both = Structures(("front", "whole"), {"front": (), "whole": ()}, overlapping=True)
    target = read_target(scan, case, tmp_path, both, READING)
    assert np.array_equal(target, np.stack([box_labels() == 1, box_labels() > 0]))


def test_values_of_masks_that_can_be_read(tmp_path: Path) -> None:
    for number in (1, 3, 9):
        write_nifti(tmp_path / f"{number}.nii.gz", (box_labels() == 1).astype(np.uint8) * number)
    cases = [Case(str(n), {"": "x"}, {}, masks={"": f"{n}.nii.gz"}) for n in (1, 3, 9, 4)]  # no file of 4
    assert mask_values(tmp_path, cases, READING) == {0, 1, 3, 9}


def test_who_has_a_mask() -> None:
    assert has_mask(Case("c", {"": "x"}, {}, masks={"a": "", "b": "m.nii"}))
    assert not has_mask(Case("c", {"": "x"}, {}, masks={"a": "", "b": ""}))
    assert not has_mask(Case("c", {"": "x"}, {}))
