"""Cases with masks: read once in their own grid, known by their fingerprints, prepared on the network's grid."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from numpy.testing import assert_allclose
from PIL import Image
from seg_folders import RAS_2MM, SHAPE, box_labels, voxels_of, write_nifti

from medcnn.config.transforms import IntensityConf, TransformsConf
from medcnn.data import read_cases as read_module
from medcnn.data import segmentation_cases as prepared_module
from medcnn.data.cache import Cache
from medcnn.data.fingerprint import CaseFingerprint, fingerprint_of
from medcnn.data.manifest import Case
from medcnn.data.mapped import Arrays
from medcnn.data.patches import PatchBatches, PatchOrder, PatchShape
from medcnn.data.read_cases import CaseReader, ReadCases, require_learnable
from medcnn.data.segmentation_cases import MOST_PLACES, SegmentationCases, prepare_cases
from medcnn.data.structures import IGNORED, Structures
from medcnn.errors import DataError, NoSpaceError
from medcnn.geometry import Geometry
from medcnn.io.options import Reading
from medcnn.scan import Scan
from medcnn.transforms.whole_grid import WholeGrid

FRONT_BACK = Structures(("front", "back"), {"front": (1,), "back": (2,)}, overlapping=False)
REGIONS = Structures(("both", "back"), {"both": (1, 2), "back": (2,)}, overlapping=True)


def make(root: Path, count: int = 3, **odd: np.ndarray) -> list[Case]:
    """Volumes with masks below root; odd: other labels for a case."""
    cases = []
    for number in range(count):
        name = f"c{number}"
        labels = odd.get(name, box_labels())
        write_nifti(root / f"{name}.nii.gz", voxels_of(number, labels))
        write_nifti(root / f"{name}_mask.nii.gz", labels)
        split = "val" if number == count - 1 and count > 1 else "train"
        cases.append(Case(name, {"": f"{name}.nii.gz"}, {}, split=split, masks={"": f"{name}_mask.nii.gz"}))
    return cases


def read(root: Path, cases: Sequence[Case], structures: Structures = FRONT_BACK, **settings: Any) -> ReadCases:
    reader = CaseReader(root, structures, Reading(), Cache(root / ".cache"))
    return reader.all(cases, **{"max_rejected": 0.5, "report": lambda done, total: None, **settings})


def grid(dims: int = 3, **settings: Any) -> WholeGrid:
    conf = TransformsConf(size_px=[], intensity=IntensityConf(scale="zscore"), **settings)
    return WholeGrid.of(conf, reading=Reading(), num_channels=1, spatial_dims=dims)


def prepare(found: ReadCases, steps: WholeGrid | None = None, memory_bytes: float = 1e9) -> SegmentationCases:
    return prepare_cases(
        found, steps or grid(), memory_bytes=memory_bytes, max_rejected=0.5, report=lambda done, total: None
    )


def test_a_fingerprint_of_boxes_in_closed_form(tmp_path: Path) -> None:
    (one, *_) = read(tmp_path, make(tmp_path)).fingerprints
    assert (one.case_id, one.shape_vox, one.is_empty) == ("c0", SHAPE, False)
    assert one.spacing_mm == pytest.approx((2, 1, 3))
    assert one.structure_voxels == {"front": 32, "back": 30}
    assert one.structure_ml == pytest.approx({"front": 0.192, "back": 0.18})  # 6 mm3 a voxel
    assert one.components == {"front": 2, "back": 1}
    assert one.structure_boxes == {"front": ((2, 10), (3, 12), (2, 8)), "back": ((5, 8), (3, 8), (2, 4))}
    assert (one.intensity_over, one.ignored_share) == ("foreground", 0.0)
    labels = box_labels()
    inside = voxels_of(0, labels)[labels > 0].astype(np.float64)
    (found,) = one.intensity
    expected = [inside.mean(), inside.std(), *np.percentile(inside, [0.5, 99.5]), inside.min(), inside.max()]
    assert_allclose(list(found.values()), expected, rtol=1e-5)
    assert list(found) == ["mean", "std", "low", "high", "min", "max"]


def test_volumes_and_pieces_agree_with_simpleitk() -> None:
    labels = (np.random.default_rng(0).random((24, 20, 22)) < 0.06).astype(np.uint8)
    labels[(np.random.default_rng(1).random(labels.shape) < 0.03) & (labels == 0)] = 2
    affine = np.diag([0.7, 1.2, 2.5, 1.0])
    scan = Scan(labels[None].astype(np.float32), Geometry(affine, labels.shape))
    found = fingerprint_of("", scan, FRONT_BACK.target(labels), FRONT_BACK)
    image = SimpleITK.GetImageFromArray(labels.T)
    image.SetSpacing((0.7, 1.2, 2.5))
    measured = SimpleITK.LabelShapeStatisticsImageFilter()
    measured.Execute(image)
    for value, name in ((1, "front"), (2, "back")):
        assert found.structure_voxels[name] == measured.GetNumberOfPixels(value)
        assert found.structure_ml[name] == pytest.approx(measured.GetPhysicalSize(value) / 1000, abs=1e-6)
        pieces = SimpleITK.ConnectedComponentImageFilter()
        pieces.SetFullyConnected(True)
        pieces.Execute(image == value)
        assert found.components[name] == pieces.GetObjectCount()


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "SPL", "AIR"])
def test_a_fingerprint_does_not_depend_on_how_the_file_lies(tmp_path: Path, axcodes: str) -> None:
    (case,) = make(tmp_path, 1)
    straight = read(tmp_path, [case]).fingerprints[0]
    for name in ("c0", "c0_mask"):
        image = nib.load(tmp_path / f"{name}.nii.gz")
        way = nib.orientations.ornt_transform(
            nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(axcodes))
        )
        moved = image.as_reoriented(way)
        write_nifti(tmp_path / f"{name}.nii.gz", np.asarray(moved.dataobj), moved.affine)
    turned = read(tmp_path, [case]).fingerprints[0]
    (found,), (expected,) = turned.intensity, straight.intensity
    assert found == pytest.approx(expected)
    assert replace(turned, intensity=()) == replace(straight, intensity=())


def test_regions_that_overlap(tmp_path: Path) -> None:
    (one, *_) = read(tmp_path, make(tmp_path), REGIONS).fingerprints
    assert one.structure_voxels == {"both": 62, "back": 30}
    assert one.components == {"both": 2, "back": 1}  # the two touch


def test_what_nobody_judged_is_no_foreground(tmp_path: Path) -> None:
    labels = box_labels()
    labels[:, :, 9] = 7
    ignoring = Structures(("front", "back"), {"front": (1,), "back": (2,)}, overlapping=False, ignore=(7,))
    found = read(tmp_path, make(tmp_path, 1, c0=labels), ignoring)
    assert found.fingerprints[0].ignored_share == pytest.approx(0.1)
    assert found.fingerprints[0].structure_voxels == {"front": 32, "back": 30}
    judged = voxels_of(0, labels)[(labels == 1) | (labels == 2)]
    assert found.fingerprints[0].intensity[0]["mean"] == pytest.approx(judged.mean())
    assert (found[0].target[0, :, :, 9] == IGNORED).all()
    assert prepare(found)[0].voxels == {"front": 32, "back": 30}


def test_an_empty_mask_is_a_case_and_says_so(tmp_path: Path) -> None:
    found = read(tmp_path, make(tmp_path, 3, c1=box_labels(empty=True)))
    one = found.fingerprints[1]
    assert (one.is_empty, one.intensity_over, one.structure_voxels) == (True, "nonzero", {"front": 0, "back": 0})
    assert one.structure_boxes == {"front": None, "back": None}
    assert found.remarks == ["1 cases hold none of the structures; they stay, as healthy ones"]
    require_learnable(found)
    case = prepare(found)[1]
    assert [len(places) for places in case.foreground] == [0, 0]


def test_a_constant_scan_stays_and_is_remarked_on(tmp_path: Path) -> None:
    cases = make(tmp_path)
    write_nifti(tmp_path / "c0.nii.gz", np.full(SHAPE, 5, np.int16))
    write_nifti(tmp_path / "c0_mask.nii.gz", box_labels(empty=True))
    found = read(tmp_path, cases)
    assert found.remarks[0].startswith("1 scans have one value everywhere")
    assert (found.fingerprints[0].nonzero_share, found.fingerprints[0].intensity_over) == (0.0, "all")
    assert not prepare(found)[0].image.any()


def test_a_fingerprint_travels_as_json(tmp_path: Path) -> None:
    for one in read(tmp_path, make(tmp_path, 2, c1=box_labels(empty=True))).fingerprints:
        assert CaseFingerprint.from_json(one.as_json()) == one


def test_the_second_time_nothing_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = make(tmp_path)
    first = read(tmp_path, cases)
    before = prepare(first)

    def refuse(*_: Any) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(read_module, "read_scan", refuse)
    second = read(tmp_path, cases)
    assert second.fingerprints == first.fingerprints
    assert second.facts == first.facts
    for index in range(3):
        one, other = first[index], second[index]
        assert np.array_equal(one.scan.voxels, other.scan.voxels)
        assert np.array_equal(one.target, other.target)
        assert_allclose(one.scan.geometry.affine, other.scan.geometry.affine, rtol=0)
        assert other.scan.value_range == one.scan.value_range == (-32768, 32767)
    resampled = prepare(second, grid(spacing_mm=[1.0, 1.0, 1.0]))  # another grid needs no decoding either
    assert resampled.sizes == [(24, 14, 30)] * 3
    monkeypatch.setattr(prepared_module, "prepared_case", refuse)
    after = prepare(second)
    assert [case.voxels for case in after.held or []] == [case.voxels for case in before.held or []]


@pytest.mark.parametrize("changed", ["c0.nii.gz", "c0_mask.nii.gz"])
def test_a_changed_file_is_read_again(tmp_path: Path, changed: str) -> None:
    cases = make(tmp_path)
    before = read(tmp_path, cases)
    labels = np.flip(box_labels(), 0)
    write_nifti(tmp_path / changed, labels if "mask" in changed else voxels_of(9, labels))
    after = read(tmp_path, cases)
    assert [one == other for one, other in zip(before.keys, after.keys, strict=True)] == [False, True, True]
    assert after.fingerprints[0] != before.fingerprints[0]


def test_other_structures_and_choices_of_reading_are_other_entries(tmp_path: Path) -> None:
    (case, *_) = make(tmp_path)
    cache = Cache(tmp_path / ".cache")
    coded = Structures(FRONT_BACK.names, FRONT_BACK.values, overlapping=False, codes={"front": "1"})
    keys = [
        CaseReader(tmp_path, structures, reading, cache).key(case)
        for structures in (FRONT_BACK, REGIONS, coded)
        for reading in (Reading(), Reading(nifti_form="qform"))
    ]
    assert len(set(keys)) == 4
    assert keys[4:] == keys[:2]  # a code names a structure, it changes no voxel


def test_two_cases_of_the_same_files_keep_their_names(tmp_path: Path) -> None:
    (case, *_) = make(tmp_path)
    twin = Case("twin", case.images, {}, split="train", masks=case.masks)
    assert [one.case_id for one in read(tmp_path, [case, twin]).fingerprints] == ["c0", "twin"]


@pytest.mark.parametrize("held", [True, False], ids=["in memory", "mapped"])
def test_prepared_cases_are_what_the_steps_make_of_them(tmp_path: Path, held: bool) -> None:
    found = read(tmp_path, make(tmp_path))
    steps = grid(spacing_mm=[1.0, 1.0, 1.0])
    made = prepare(found, steps, 1e9 if held else 0)
    assert (made.held is not None) == held
    assert (len(made), made.sizes) == (3, [(24, 14, 30)] * 3)
    for index in range(3):
        own = made.own(index)
        expected = steps.apply(own.scan)
        case = made[index]
        assert np.array_equal(case.image, expected.image)
        assert np.array_equal(case.target, steps.apply_mask(own.target, expected.placement))
        assert (case.placement, case.spacing_mm) == (expected.placement, expected.spacing_mm)
        assert case.voxels == {name: int((case.target == value).sum()) for value, name in ((1, "front"), (2, "back"))}
        for value, places in enumerate(made.foreground[index], start=1):
            assert np.array_equal(places, np.flatnonzero(case.target[0] == value))
    assert [case.case_id for case in made.of_split("train").cases] == ["c0", "c1"]
    part = made.of_split("val")
    assert (part.sizes, len(part), len(part.read)) == ([(24, 14, 30)], 1, 1)
    assert np.array_equal(part[0].image, made[2].image)


def test_of_many_voxels_some_are_kept_always_the_same(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 1:] = 1
    labels = np.repeat(labels, 3, axis=0)  # 4680 voxels of 1
    cases = make(tmp_path, 2, c0=labels, c1=labels)
    first, second = (prepare(read(tmp_path, cases)).foreground for _ in range(2))
    places = first[0][0]
    assert (len(places), len(set(places.tolist())), places.dtype) == (MOST_PLACES, MOST_PLACES, np.uint32)
    assert (labels.ravel()[places] == 1).all()
    assert np.array_equal(places, second[0][0])
    every = np.array(np.unravel_index(places, labels.shape)).mean(axis=1)
    assert_allclose(every, [17.5, 7, 4.5], atol=0.6)  # spread over all of it


def test_pictures_with_masks(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 200, (20, 30), dtype=np.uint8)
    mask = np.zeros((20, 30), np.uint8)
    mask[5:10, 4:12] = 255
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    case = Case("a", {"": "a.png"}, {}, split="train", masks={"": "a_mask.png"})
    found = read(tmp_path, [case], Structures(("lung",), {"lung": (255,)}, overlapping=False))
    one = found.fingerprints[0]
    assert (one.shape_vox, one.spacing_mm, one.structure_ml) == ((20, 30), (), {"lung": None})
    assert one.structure_boxes == {"lung": ((5, 10), (4, 12))}
    made = prepare(found, grid(2))[0]
    assert (made.image.shape, made.target.sum()) == ((1, 20, 30), 40)


def test_a_mask_for_each_structure_and_one_that_is_not_there(tmp_path: Path) -> None:
    cases = make(tmp_path, 2)
    write_nifti(tmp_path / "front.nii.gz", (box_labels() == 1).astype(np.uint8))
    write_nifti(tmp_path / "back.nii.gz", 255 * (box_labels() == 2).astype(np.uint8))
    both = Case("a", cases[0].images, {}, split="train", masks={"front": "front.nii.gz", "back": "back.nii.gz"})
    one = Case("b", cases[1].images, {}, split="train", masks={"front": "front.nii.gz", "back": ""})
    own = Structures(("front", "back"), {"front": (), "back": ()}, overlapping=True)
    found = read(tmp_path, [both, one], own)
    assert [case.structure_voxels for case in found.fingerprints] == [
        {"front": 32, "back": 30},
        {"front": 32, "back": 0},
    ]
    assert (found[1].target[1] == IGNORED).all()
    assert found.fingerprints[1].ignored_share == 0


def test_odd_label_values_stop_a_training_and_name_the_cases(tmp_path: Path) -> None:
    found = read(tmp_path, make(tmp_path, 3, c1=box_labels() * 3))
    ((case, rejection),) = found.rejected
    assert (case.case_id, rejection.code.value) == ("c1", "LABEL_VALUES")
    assert "3 (32 voxels), 6 (30 voxels); known are 0, 1, 2" in rejection.found
    with pytest.raises(DataError, match=r"(?s)masks of 1 cases .*c1 \(train\): the mask holds 3 \(32 voxels\)"):
        require_learnable(found)
    with pytest.raises(DataError, match="1 of 3 scans cannot be used"):
        read(tmp_path, make(tmp_path, 3, c1=box_labels() * 3), max_rejected=0.1)


def test_a_mask_on_another_grid_is_rejected(tmp_path: Path) -> None:
    cases = make(tmp_path, 4)
    moved = RAS_2MM.copy()
    moved[0, 3] = 1.0  # half a voxel
    write_nifti(tmp_path / "c0_mask.nii.gz", box_labels(), moved)
    write_nifti(tmp_path / "c1_mask.nii.gz", box_labels()[1:])
    found = read(tmp_path, cases)
    assert [(case.case_id, why.code.value) for case, why in found.rejected] == [
        ("c0", "GEOMETRY_MISMATCH"),
        ("c1", "GEOMETRY_MISMATCH"),
    ]
    assert len(found) == 2


def test_a_structure_that_no_training_case_holds(tmp_path: Path) -> None:
    only_front = np.where(box_labels() == 2, 0, box_labels()).astype(np.uint8)
    found = read(tmp_path, make(tmp_path, 3, c0=only_front, c1=only_front))  # c2 has both, and is val
    with pytest.raises(DataError, match=r"no training case holds back\. Add some"):
        require_learnable(found)
    require_learnable(read(tmp_path, make(tmp_path, 3, c0=only_front)))


def test_one_training_case_is_enough_and_none_is_not(tmp_path: Path) -> None:
    found = read(tmp_path, make(tmp_path, 1))
    require_learnable(found)
    with pytest.raises(DataError, match="no case is in the split 'train'"):
        require_learnable(found.of_split("val"))


def test_a_case_that_does_not_fit_the_steps_is_rejected(tmp_path: Path) -> None:
    cases = make(tmp_path)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "p.png")
    cases.insert(1, Case("p", {"": "p.png"}, {}, split="train", masks={"": "p.png"}))
    made = prepare(read(tmp_path, cases))
    assert [case.case_id for case in made.cases] == ["c0", "c1", "c2"]
    assert [(case.case_id, why.code.value) for case, why in made.rejected] == [("p", "GEOMETRY_MISMATCH")]
    assert len(made.facts) == len(made.fingerprints) == len(made) == 3


def test_a_file_that_went_away_meanwhile_is_told_by_its_case(tmp_path: Path) -> None:
    found = read(tmp_path, make(tmp_path))
    Cache(tmp_path / ".cache").clear()
    (tmp_path / "c1.nii.gz").unlink()
    assert found[0].target.any()  # read again
    with pytest.raises(DataError, match="case c1 was readable before and is not now"):
        found[1]


def test_a_cache_that_was_shrunk_under_a_training_is_filled_again(tmp_path: Path) -> None:
    made = prepare(read(tmp_path, make(tmp_path)), memory_bytes=0)
    before = made[1].image.copy()
    Cache(tmp_path / ".cache").clear()
    assert np.array_equal(made[1].image, before)


class Full(Cache):
    """A disk that takes nothing."""

    def write_arrays(self, key: str, arrays: Arrays) -> None:
        raise OSError(28, "No space left on device")


def test_a_full_disk_costs_time_and_not_the_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = make(tmp_path)
    reader = CaseReader(tmp_path, FRONT_BACK, Reading(), Full(tmp_path / ".cache"))
    found = reader.all(cases, max_rejected=0, report=lambda done, total: None)
    assert [message for message in caplog.messages if "the disk is full" in message] == caplog.messages
    assert len(caplog.messages) == 1
    assert len(prepare(found).held or []) == 3
    with pytest.raises(NoSpaceError, match=r"fit neither data\.memory_gb nor the cache's disk"):
        prepare(found, memory_bytes=0)


def test_several_channels(tmp_path: Path) -> None:
    cases = make(tmp_path, 2)
    two = Case("two", {"a": "c0.nii.gz", "b": "c1.nii.gz"}, {}, split="train", masks=cases[0].masks)
    found = read(tmp_path, [two])
    assert len(found.fingerprints[0].intensity) == 2
    conf = TransformsConf(size_px=[], intensity=IntensityConf(scale="zscore"))
    steps = WholeGrid.of(conf, reading=Reading(), num_channels=2, spatial_dims=3)
    assert prepare(found, steps)[0].image.shape == (2, *SHAPE)


@pytest.mark.parametrize("held", [True, False], ids=["in memory", "mapped"])
def test_loading_processes_cut_the_same_patches(tmp_path: Path, held: bool) -> None:
    made = prepare(read(tmp_path, make(tmp_path)), memory_bytes=1e9 if held else 0)
    sent = pickle.loads(pickle.dumps(made))  # as where processes are not forked
    order, shape = PatchOrder(3, 2, 0, patches_per_case=4), PatchShape((8, 8, 8))
    loaders = [PatchBatches(cases, order, shape, workers=n).loader(0, 0, 6) for cases, n in ((made, 0), (sent, 1))]
    for one, other in zip(*loaders, strict=True):
        assert (one.positions, torch.equal(one.image, other.image), torch.equal(one.target, other.target)) == (
            other.positions, True, True,
        )  # fmt: skip
