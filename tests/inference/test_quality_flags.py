"""Flags that ask a person to look: shapes whose truth is known, and real masks whole and cut in half."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medcnn.geometry import Geometry
from medcnn.inference.classifier import OutputRule
from medcnn.inference.extents import cross_sections
from medcnn.inference.mask_rule import MaskRule
from medcnn.inference.quality_flags import decision_flags, mask_flags, member_flags, patient_ends, picture_ends

BALL = MaskRule(("ball",))


def ball(centre: float, radius: float = 20.0, axis: int = 0) -> np.ndarray:
    """(1, 64, 64, 64), moved along one axis."""
    places = [31.5] * 3
    places[axis] = centre
    axes = np.meshgrid(*(np.arange(64),) * 3, indexing="ij", sparse=True)
    return (sum((x - c) ** 2 for x, c in zip(axes, places, strict=True)) <= radius**2).astype(np.uint8)[None]


def words(flags: tuple[str, ...]) -> list[str]:
    return [flag.partition(":")[0] for flag in flags]


def flags_of(labels: np.ndarray, rule: MaskRule = BALL, **said) -> tuple[str, ...]:
    return mask_flags(labels, rule, said.pop("expected_dice", {}), said.pop("disagreement", None), **said)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    ("centre", "is_cut"),
    [
        (31.5, False),
        (20.0, False),
        (18.0, False),
        (16.0, True),
        (0.0, True),
        (-10.0, True),
        (63.0, True),
        (45.0, False),
    ],
)
def test_a_ball_is_cut_off_where_its_edge_plane_shows_a_quarter(axis: int, centre: float, is_cut: bool) -> None:
    # at distance d of the centre the plane shows 1 - (d / r)^2 of the largest: 0.19 at 18, 0.36 at 16
    assert words(flags_of(ball(centre, axis=axis))) == (["CUT_OFF"] if is_cut else [])


def test_it_says_which_where_and_how_much() -> None:
    (flag,) = flags_of(ball(16.0, axis=1))
    assert flag == (
        "CUT_OFF: the field of view ends within ball at the first plane of axis 2 (35% of its largest cross-section)"
    )
    lps = Geometry(np.diag([-1.0, -1.0, 2.0, 1.0]), (64, 64, 64))
    (flag,) = flags_of(ball(16.0, axis=1), ends=patient_ends(lps))
    assert "ball at the front (35%" in flag


def test_the_ends_of_axes_are_those_of_the_patient_however_the_scan_is_stored() -> None:
    for order in permutations(range(3)):
        for signs in ((1, 1, 1), (-1, 1, -1)):
            directions = np.eye(3)[:, list(order)] * signs
            affine = np.eye(4)
            affine[:3, :3] = directions + 0.1  # oblique
            ends = patient_ends(Geometry(affine, (9, 9, 9)))
            for axis in range(3):
                patient = int(np.abs(directions[:, axis]).argmax())
                low_high = (("left end", "right end"), ("back", "front"), ("foot end", "head end"))[patient]
                assert tuple(ends[axis]) == (low_high if signs[axis] > 0 else low_high[::-1])


def test_pictures_and_the_worst_first() -> None:
    labels = np.zeros((1, 40, 50), np.uint8)
    labels[0, :10, 10:30] = 1  # whole width at the top
    labels[0, 20:, 5:20] = 2
    labels[0, 39, 5:14] = 0  # 6 of 15 columns are left at the bottom
    rule = MaskRule(("lung", "heart"))
    (flag,) = flags_of(labels, rule, ends=picture_ends())
    assert flag == (
        "CUT_OFF: the field of view ends within lung at the upper edge (100% of its largest cross-section), "
        "heart at the lower edge (40% of its largest cross-section)"
    )


def test_of_many_structures_only_the_worst_are_named() -> None:
    labels = np.zeros((1, 8, 40, 8), np.uint8)
    for number in range(6):
        labels[0, :3, number * 6 : number * 6 + 4, 2:6] = number + 1
    (flag,) = flags_of(labels, MaskRule(tuple("abcdef")))
    assert flag.endswith(" and 3 more")


def test_few_planes_cut_everything_and_say_nothing() -> None:
    labels = np.zeros((1, 20, 20, 3), np.uint8)
    labels[0, 5:15, 5:15] = 1
    assert flags_of(labels) == ()
    assert words(flags_of(np.pad(labels, [(0, 0)] * 3 + [(0, 1)]))) == ["CUT_OFF"]


def test_structures_that_overlap_are_judged_each_by_itself() -> None:
    rule = MaskRule(("whole", "core"), overlapping=True)
    labels = np.concatenate([ball(0.0), ball(31.5, radius=8)])
    (flag,) = flags_of(labels, rule)
    assert "whole at" in flag
    assert "core" not in flag


@pytest.mark.parametrize("num_masks", [1, 3])
@pytest.mark.parametrize("shape", [(7, 9, 11), (6, 8)])
def test_cross_sections_are_those_counted_one_by_one_in_any_memory_order(num_masks: int, shape) -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 4 if num_masks == 1 else 2, (num_masks, *shape), dtype=np.uint8)
    labels[:, 2] = 0  # a plane without anything
    masks = labels if num_masks > 1 else np.stack([labels[0] == number for number in (1, 2, 3)])
    axes = tuple(range(len(shape)))
    expected = [np.count_nonzero(masks, axis=tuple(1 + other for other in axes if other != axis)) for axis in axes]
    for order in permutations(axes):
        moved = (0, *(1 + axis for axis in order))
        stored = np.ascontiguousarray(labels.transpose(moved))[:, ::-1].transpose(np.argsort(moved))
        flipped = 0 if order[0] == 0 else order[0]
        for axis, counts in enumerate(cross_sections(stored, 3)):
            assert (counts == (expected[axis][:, ::-1] if axis == flipped else expected[axis])).all()


def test_nothing_found_is_said_and_nothing_else() -> None:
    labels = np.zeros((1, 9, 9, 9), np.uint8)
    assert flags_of(labels, MaskRule(("rim", "core")), disagreement=0.9) == ("EMPTY: nothing was found of rim, core",)
    both = np.zeros((2, 9, 9, 9), np.uint8)
    assert words(flags_of(both, MaskRule(("rim", "core"), overlapping=True))) == ["EMPTY"]


def test_disagreement_and_low_quality() -> None:
    whole = ball(31.5)
    assert flags_of(whole, disagreement=0.2, expected_dice={"ball": 0.7}, judged=("ball",)) == ()
    flags = flags_of(whole, disagreement=0.25, expected_dice={"ball": 0.69}, judged=("ball",))
    assert words(flags) == ["LOW_QUALITY", "DISAGREEMENT"]
    assert "ball 0.69, below 0.7" in flags[0]
    assert "0.25" in flags[1]
    assert flags_of(whole, expected_dice={"ball": 0.3}) == ()  # the network's own word alone is not judged
    assert flags_of(whole, expected_dice={"ball": float("nan")}, judged=("ball",)) == ()


BINARY = OutputRule("binary", ("well", "ill"))


@pytest.mark.parametrize(
    ("ill", "threshold", "is_near"),
    [(0.5, 0.5, True), (0.59, 0.5, True), (0.61, 0.5, False), (0.39, 0.5, False), (0.03, 0.02, False),
     (0.028, 0.02, True), (0.001, 0.02, False), (0.0, 0.5, False), (1.0, 0.5, False)],
)  # fmt: skip
def test_a_decision_is_borderline_within_odds_of_one_and_a_half(ill: float, threshold: float, is_near: bool) -> None:
    rule = OutputRule("binary", ("well", "ill"), thresholds={"ill": threshold})
    flags = decision_flags({"well": 1 - ill, "ill": ill}, rule)
    assert words(flags) == (["BORDERLINE"] if is_near else [])
    assert all(f"ill {ill:.2f}" in flag for flag in flags)


def test_two_classes_that_are_hardly_apart() -> None:
    rule = OutputRule("multiclass", ("a", "b", "c"))
    assert words(decision_flags({"a": 0.1, "b": 0.5, "c": 0.4}, rule)) == ["BORDERLINE"]
    assert decision_flags({"a": 0.1, "b": 0.6, "c": 0.3}, rule) == ()
    assert decision_flags(dict.fromkeys("abc", float("nan")), rule) == ()


def test_grades_whose_median_could_as_well_be_the_next() -> None:
    rule = OutputRule("ordinal", ("none", "mild", "severe"))
    assert decision_flags({"none": 0.1, "mild": 0.8, "severe": 0.1}, rule) == ()
    (flag,) = decision_flags({"none": 0.45, "mild": 0.3, "severe": 0.25}, rule)
    assert flag == "BORDERLINE: mild or above 0.55 is close to one half"
    # the two most probable are as good as equal, and yet the median is clear
    assert decision_flags({"none": 0.38, "mild": 0.24, "severe": 0.38}, rule) == ()


def test_findings_that_exclude_nothing_are_near_one_by_one() -> None:
    rule = OutputRule("multilabel", ("a", "b", "c", "d", "e"))
    (flag,) = decision_flags({"a": 0.45, "b": 0.9, "c": 0.5, "d": 0.58, "e": 0.55}, rule)
    assert flag.startswith("BORDERLINE: c 0.50 is close")
    assert flag.endswith("and 1 more")
    assert "b 0.9" not in flag


def test_networks_that_decide_otherwise() -> None:
    def of(*ill: float) -> tuple[str, ...]:
        return member_flags(np.array([[1 - p, p] for p in ill]), BINARY)

    assert (
        of(0.9) == of(0.9, 0.8) == of(0.9, 0.9, 0.9, 0.9, 0.1) == of(0.9, 0.9, 0.9, 0.1) == of(0.9, float("nan")) == ()
    )
    assert of(0.9, 0.9, 0.1) == ("DISAGREEMENT: 1 of 3 networks decide otherwise than the others (ill 2, well 1)",)
    assert words(of(0.9, 0.1)) == ["DISAGREEMENT"]


def test_real_masks_whole_are_passed_and_in_half_are_not(medcnn_data: Path) -> None:
    """All 208 hippocampus crops: none is flagged whole (a person drew them within the crop), each half is."""
    rule, flagged = MaskRule(("anterior", "posterior")), 0
    paths = sorted((medcnn_data / "hippocampus/labelsTr").glob("hippocampus_*.nii.gz"))
    assert len(paths) == 208
    for path in paths:
        labels = np.asarray(nibabel.load(path).dataobj).astype(np.uint8)
        flagged += bool(flags_of(labels[None], rule))
        for name, number in (("anterior", 1), ("posterior", 2)):
            middle = int(np.median(np.nonzero(labels == number)[1]))
            for half in (labels[:, : middle + 1], labels[:, middle:]):
                (flag,) = [flag for flag in flags_of(half[None], rule) if flag.startswith("CUT_OFF")]
                assert f"{name} at the" in flag
    assert flagged <= 0.02 * len(paths)
