"""What the page's viewer is given: the very voxels and labels, in the right place, in few enough bytes."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from importlib.resources import files

import nibabel
import numpy as np
import pytest

from medcnn.batch.case_view import case_view_js
from medcnn.batch.view import Step, View
from medcnn.batch.viewer import VIEWER, write_viewer

EDGES_MM = (1.0, 1.5, 4.0)


def said(script: bytes) -> dict:
    text = script.decode("ascii")
    assert text.startswith("medcnnShow({")
    assert text.endswith("});\n")
    return json.loads(text[len("medcnnShow(") : -len(");\n")])


def nifti(packed: str) -> nibabel.Nifti1Image:
    import gzip

    return nibabel.Nifti1Image.from_bytes(gzip.decompress(b64decode(packed)))


def view_of(grey: np.ndarray, edges_mm: tuple[float, ...] = EDGES_MM) -> View:
    return View(grey, edges_mm, (Step(1.0, 0.0),) * 3, oriented=True)


@pytest.fixture
def grey() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 12, 7), np.uint8)


def test_the_viewer_gets_the_very_voxels_and_labels(grey: np.ndarray) -> None:
    labels = np.zeros((1, *grey.shape), np.uint8)
    labels[0, 2:4, 5:9, 6], labels[0, 7, 7, 1] = 1, 2
    found = said(case_view_js(view_of(grey), labels, ("rim", "core")))
    scan, mask = nifti(found["grey"]), nifti(found["labels"])
    np.testing.assert_array_equal(np.asanyarray(scan.dataobj), grey)
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), labels[0])
    assert scan.get_data_dtype() == mask.get_data_dtype() == np.uint8
    assert (found["names"], found["overlapping"], found["block"], found["heat"]) == (
        ["rim", "core"],
        False,
        [1] * 3,
        None,
    )
    assert found["centre"] == pytest.approx([2.5 / 9, 7.5 / 12, 6.5 / 7], abs=1e-6)  # where most of it lies


def test_axes_are_ras_in_mm_about_the_centre(grey: np.ndarray) -> None:
    image = nifti(said(case_view_js(view_of(grey), None, ()))["grey"])
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    np.testing.assert_allclose(image.header.get_zooms(), EDGES_MM)
    assert image.header.get_xyzt_units()[0] == "mm"
    middle = (np.array(grey.shape) - 1) / 2
    np.testing.assert_allclose(nibabel.affines.apply_affine(image.affine, middle), [0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-5)


def test_structures_that_overlap_are_bits_and_the_smallest_is_painted_last(grey: np.ndarray) -> None:
    labels = np.zeros((3, *grey.shape), np.uint8)
    labels[0, 4, 4, 4] = 1
    labels[1, 2:8, 2:8, 2:6] = 1
    labels[2, 3:6, 3:6, 3:6] = 1
    found = said(case_view_js(view_of(grey), labels, ("core", "whole", "rim")))
    assert (found["overlapping"], found["order"]) == (True, [1, 2, 0])
    together = np.asanyarray(nifti(found["labels"]).dataobj)
    for number in range(3):
        np.testing.assert_array_equal(together >> number & 1, labels[number])


def test_more_overlapping_structures_than_bits_are_painted_over_each_other(grey: np.ndarray) -> None:
    labels = np.zeros((9, *grey.shape), np.uint8)
    labels[3] = 1
    labels[8, 1:3] = 1
    found = said(case_view_js(view_of(grey), labels, [f"s{number}" for number in range(9)]))
    painted = np.asanyarray(nifti(found["labels"]).dataobj)
    assert not found["overlapping"]
    assert set(np.unique(painted[1:3])) == {9}
    assert set(np.unique(painted[3:])) == {4}


def test_a_large_volume_is_shrunk_to_block_means_and_keeps_its_place() -> None:
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 256, (40, 31, 10), np.uint8)
    labels = np.zeros((1, *grey.shape), np.uint8)
    labels[0, 20:, :, :] = 3
    script = case_view_js(view_of(grey), labels, ("a", "b", "c"), most_bytes=2500)
    found = said(script)
    scan, mask = nifti(found["grey"]), nifti(found["labels"])
    assert len(b64decode(found["grey"])) + len(b64decode(found["labels"])) <= 2500
    across, down, through = found["block"]
    assert across > 1
    assert through == 1  # the finest axis is made coarser first
    small = np.asanyarray(scan.dataobj)
    last = grey[-(grey.shape[0] % across or across) :, :down, :through].astype(float)  # a block that is cut short
    assert small[0, 0, 0] == pytest.approx(grey[:across, :down, :through].astype(float).mean(), abs=0.51)
    assert small[-1, 0, 0] == pytest.approx(last.mean(), abs=0.51)
    first_mm = nibabel.affines.apply_affine(scan.affine, [0, 0, 0])
    middle_of_block = (np.array([across, down, through]) - 1) / 2 - (np.array(grey.shape) - 1) / 2
    np.testing.assert_allclose(first_mm, middle_of_block * EDGES_MM, atol=1e-4)
    np.testing.assert_allclose(mask.affine, scan.affine)
    np.testing.assert_array_equal(
        np.asanyarray(mask.dataobj)[:, 0, 0] == 3, np.arange(len(small)) * across >= 20 - across // 2
    )


def test_heat_lies_where_it_lies_in_the_scan(grey: np.ndarray) -> None:
    """On the network's coarser grid: its voxel (1, 2, 0) is the view's (2.5, 4.5, 0) by the steps."""
    view = View(grey, EDGES_MM, (Step(0.5, -0.25), Step(0.5, -0.25), Step(1.0, 0.0)), oriented=True)
    heat = np.zeros((4, 6, 7), np.float32)
    heat[1, 2, 0], heat[3, 3, 3] = 1.0, 0.5
    found = said(case_view_js(view, None, (), heat))
    hot, scan = nifti(found["heat"]), nifti(found["grey"])
    values = np.asanyarray(hot.dataobj)
    assert (values[1, 2, 0], values[3, 3, 3], values.sum()) == (255, 128, 383)
    there = nibabel.affines.apply_affine(hot.affine, [1, 2, 0])
    np.testing.assert_allclose(there, nibabel.affines.apply_affine(scan.affine, [2.5, 4.5, 0]), atol=1e-4)
    assert found["centre"] == pytest.approx([2.5 / 9, 4.5 / 12, 0.5 / 7], abs=1e-6)


def test_equal_inputs_give_equal_bytes_and_no_script_can_be_smuggled_in(grey: np.ndarray) -> None:
    names = ("</script><script>alert(1)</script>", "\u2028'\"")
    labels = np.ones((1, *grey.shape), np.uint8)
    script = case_view_js(view_of(grey), labels, names)
    assert script == case_view_js(view_of(grey.copy(order="F")), labels.copy(), names)
    assert said(script)["names"] == list(names)
    assert all(byte < 128 for byte in script)


def test_pictures_are_not_scrolled() -> None:
    view = View(np.zeros((4, 5), np.uint8), (1.0, 1.0), (Step(1.0, 0.0),) * 2, oriented=False)
    with pytest.raises(ValueError, match=r"not a picture of \(4, 5\)"):
        case_view_js(view, None, ())


def test_the_viewer_is_the_file_that_its_readme_names(tmp_path) -> None:
    vendor = files("medcnn.batch") / "vendor"
    content = (vendor / "niivue.umd.js").read_bytes()
    assert sha256(content).hexdigest() in (vendor / "README.md").read_text()
    write_viewer(tmp_path)
    written = (tmp_path / VIEWER).read_bytes()
    assert written.endswith(content)
    assert b"BSD 2-Clause License" in written[:200]
    assert written.index(b"*/") > written.index(b"POSSIBILITY OF SUCH DAMAGE")  # the licence is one comment
    before = (tmp_path / VIEWER).stat().st_mtime_ns
    write_viewer(tmp_path)
    assert (tmp_path / VIEWER).stat().st_mtime_ns == before
