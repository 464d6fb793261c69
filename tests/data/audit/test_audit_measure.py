"""What is measured of a case, against arrays whose figures are known."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from medcnn.data.audit.appearance import appearance_of, orientation_code, signature_of
from medcnn.data.audit.measure import measure
from medcnn.data.audit.record import Record
from medcnn.data.manifest import Case
from medcnn.data.pixels import pixel_digest
from medcnn.geometry import Geometry
from medcnn.io.options import Reading
from medcnn.io.read import read_scan
from medcnn.scan import Reason, Rejection, Scan

SPACING_MM = (1.5, 2.0, 3.0)


def volume(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> str:
    affine = np.diag([*SPACING_MM, 1.0]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path.name


def picture(path: Path, values: np.ndarray) -> str:
    Image.fromarray(values).save(path)
    return path.name


def measured(root: Path, **case) -> Record:
    found = measure(Case("c1", case.pop("images"), {"": "x"}, **case), root, Reading())
    assert isinstance(found, Record), found
    return found


def test_a_picture_by_hand(tmp_path) -> None:
    values = np.zeros((10, 20), np.uint8)
    values[:5] = 200
    found = measured(tmp_path, images={"": picture(tmp_path / "a.png", values)})
    assert (found.shape, found.spacing_mm, found.orientation) == ((1, 10, 20), (), "")
    assert (found.mean, found.std, found.nonzero) == (100.0, 100.0, 0.5)
    assert (found.least, found.greatest, found.is_constant) == (0.0, 200.0, False)
    assert found.quantiles == (0.0, 0.0, 100.0, 200.0, 200.0)
    assert found.value_range == (0.0, 255.0)


def test_pixels_are_named_as_training_names_them(tmp_path, make_scene) -> None:
    from medcnn.config.transforms import TransformsConf
    from medcnn.data.prepared import prepared_entry
    from medcnn.transforms.preprocessing import Preprocessing

    name = picture(tmp_path / "a.png", make_scene(1, (32, 32)))
    scan = read_scan(tmp_path, name)
    conf = TransformsConf()
    conf.size_px = [32, 32]
    facts = prepared_entry(scan, Preprocessing.of(conf, reading=Reading(), num_channels=1)).facts
    assert measured(tmp_path, images={"": name}).pixels == pixel_digest(scan.voxels) == facts.pixels


def test_a_record_survives_its_line_of_json(tmp_path, make_scene) -> None:
    import json

    mask = np.zeros((20, 20), np.uint8)
    mask[3:5] = 2
    found = measured(
        tmp_path,
        images={"": picture(tmp_path / "a.png", make_scene(1, (20, 20)))},
        masks={"lung": picture(tmp_path / "m.png", mask)},
        boxes='[{"box": [1, 2, 5, 9], "class": "mass"}]',
    )
    assert Record.from_json(json.loads(json.dumps(found.as_json()))) == found
    assert "thumbnail" not in found.as_json(pictures=False)


def test_the_mask_of_a_volume_in_voxels_and_ml(tmp_path) -> None:
    labels = np.zeros((8, 9, 10), np.uint8)
    labels[1:3, 1:4, 1:5] = 1
    labels[5:7, 5:7, 5:7] = 4
    image = volume(tmp_path / "i.nii.gz", np.random.default_rng(0).normal(size=(8, 9, 10)).astype(np.float32))
    found = measured(tmp_path, images={"": image}, masks={"": volume(tmp_path / "m.nii.gz", labels)})
    mask = found.masks[""]
    assert mask.voxels == {"0": 720 - 24 - 8, "1": 24, "4": 8}
    assert mask.ml == {"1": pytest.approx(24 * 9 / 1000), "4": pytest.approx(8 * 9 / 1000)}
    assert (mask.problem, mask.distance_mm, mask.is_empty) == ("", 0.0, False)
    assert found.orientation == "RAS"
    assert found.spacing_mm == SPACING_MM


@pytest.mark.case("N20")
def test_a_shifted_mask_says_by_how_many_mm(tmp_path) -> None:
    affine = np.diag([*SPACING_MM, 1.0])
    affine[2, 3] = 7.5
    image = volume(tmp_path / "i.nii.gz", np.zeros((8, 9, 10), np.float32))
    mask = volume(tmp_path / "m.nii.gz", np.ones((8, 9, 10), np.uint8), affine)
    found = measured(tmp_path, images={"": image}, masks={"": mask}).masks[""]
    assert (found.problem, found.distance_mm) == ("GEOMETRY_MISMATCH", 7.5)
    smaller = volume(tmp_path / "s.nii.gz", np.ones((8, 9, 9), np.uint8))
    found = measured(tmp_path, images={"": image}, masks={"": smaller}).masks[""]
    assert (found.problem, found.distance_mm) == ("GEOMETRY_MISMATCH", -1.0)


@pytest.mark.parametrize("what", ["fraction", "missing", "a photograph"])
def test_what_is_no_mask(tmp_path, make_scene, what) -> None:
    image = volume(tmp_path / "i.nii.gz", np.zeros((8, 9, 10), np.float32))
    masks = {"fraction": "f.nii.gz", "missing": "none.nii.gz", "a photograph": "p.png"}
    volume(tmp_path / "f.nii.gz", np.full((8, 9, 10), 0.5, np.float32))
    colour = np.stack([make_scene(n, (9, 8)) for n in range(3)], axis=-1)
    picture(tmp_path / "p.png", colour)
    found = measured(tmp_path, images={"": image}, masks={"": masks[what]}).masks[""]
    assert found.problem in ("LABEL_VALUES", "READ_ERROR")
    assert not found.voxels
    assert str(tmp_path) not in found.found


def test_boxes_against_rows_and_columns(tmp_path) -> None:
    image = picture(tmp_path / "a.png", np.eye(30, 50, dtype=np.uint8))  # 30 rows, 50 columns
    inside, outside = "[40, 0, 50, 30]", "[0, 40, 30, 50]"
    boxes = ", ".join(f'{{"box": {box}, "class": "{name}"}}' for box, name in ((inside, "a"), (outside, "b")))
    boxes = f'[{boxes}, {{"box": [49, 29, 50, 30], "class": "a"}}]'
    found = measured(tmp_path, images={"": image}, boxes=boxes).boxes
    assert found.outside == 1
    assert found.sides == (("a", (10.0, 30.0)), ("b", (30.0, 10.0)), ("a", (1.0, 1.0)))
    assert (
        "4 corners"
        in measured(tmp_path, images={"": image}, boxes='[{"box": [1, 1, 1, 2, 2, 2], "class": "a"}]').boxes.problem
    )


def test_what_cannot_be_read_is_its_rejection(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = measure(Case("c1", {"": "a.png"}, {}), tmp_path, Reading())
    assert isinstance(found, Rejection)
    assert isinstance(measure(Case("c1", {"": "../x.png"}, {}), tmp_path, Reading()), Rejection)
    assert measure(Case("c1", {"": ""}, {}), tmp_path, Reading()).code is Reason.READ_ERROR


def test_channels_on_two_grids_are_rejected_as_in_training(tmp_path) -> None:
    one = volume(tmp_path / "a.nii.gz", np.zeros((8, 9, 10), np.float32))
    other = volume(tmp_path / "b.nii.gz", np.zeros((8, 9, 11), np.float32))
    found = measure(Case("c1", {"t1": one, "t2": other}, {}), tmp_path, Reading())
    assert isinstance(found, Rejection)
    assert found.code is Reason.GEOMETRY_MISMATCH


@pytest.mark.parametrize("code", ["RAS", "LPS", "PIR", "ASL"])
def test_orientation_agrees_with_nibabel(code) -> None:
    from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(tuple(code)))
    affine = np.diag([1.0, 2.0, 3.0, 1.0]) @ inv_ornt_aff(turn, (4, 5, 6))
    assert orientation_code(Geometry(affine, (4, 5, 6))) == "".join(nibabel.aff2axcodes(affine)) == code


def test_a_volume_looks_the_same_in_any_order_of_axes(tmp_path) -> None:
    values = np.random.default_rng(0).normal(size=(12, 14, 16)).astype(np.float32)
    stored = nibabel.Nifti1Image(values, np.diag([*SPACING_MM, 1.0]))
    turned = stored.as_reoriented(nibabel.orientations.axcodes2ornt(("P", "I", "R")))
    nibabel.save(stored, tmp_path / "a.nii.gz")
    nibabel.save(turned, tmp_path / "b.nii.gz")
    one, other = (appearance_of(read_scan(tmp_path, name)) for name in ("a.nii.gz", "b.nii.gz"))
    assert np.abs(one.signature.astype(int) - other.signature).max() <= 1
    assert one.thumbnail == other.thumbnail


def test_the_thumbnail_has_square_millimetres() -> None:
    scan = Scan(np.random.default_rng(0).normal(size=(1, 40, 40)).astype(np.float32), spacing_mm=(2.0, 1.0))
    with Image.open(io.BytesIO(base64.b64decode(appearance_of(scan).thumbnail))) as thumbnail:
        assert thumbnail.size == (48, 96)


def test_the_axial_thumbnail_has_the_nose_up_and_the_right_at_the_left() -> None:
    values = np.zeros((1, 40, 40, 5), np.float32)
    values[0, 30:, 30:] = 100  # right and anterior
    scan = Scan(values, Geometry(np.eye(4), (40, 40, 5)), (1.0, 1.0, 1.0))
    with Image.open(io.BytesIO(base64.b64decode(appearance_of(scan).thumbnail))) as thumbnail:
        pixels = np.asarray(thumbnail)
    assert pixels[:20, :20].min() > 200
    assert pixels[:20, 30:].max() < 50
    assert pixels[30:].max() < 50


def test_signatures_of_large_and_constant_pictures() -> None:
    assert signature_of(np.zeros((3000, 2500), np.float32)).max() == 0
    ramp = np.tile(np.arange(3000, dtype=np.float32), (2000, 1))
    assert np.all(np.diff(signature_of(ramp)[0, 32].astype(int)) >= 0)
