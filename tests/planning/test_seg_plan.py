"""The whole plan: minutes into steps, overrides, refusals, JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from seg_cases import UNITS_PER_SECOND, alike, case, drafted, hippocampus, measured

from medcnn.config.fields import all_problems
from medcnn.config.model import UNetConf
from medcnn.config.planning import PlanConf
from medcnn.config.trainer import TrainerConf
from medcnn.config.transforms import AffineConf, RandomConf, TransformsConf
from medcnn.planning.budget import Overheads
from medcnn.planning.candidate import Throughput, seconds_of
from medcnn.planning.draft import Draft
from medcnn.planning.fingerprint import Fingerprint
from medcnn.planning.refusal import PlanError
from medcnn.planning.segmentation_plan import SegmentationPlan, finish, next_to_measure
from medcnn.planning.short_json import short_json

CPU = {"kind": "cpu", "precisions": ("32",)}
SPENT = Overheads(spent_s=20, validation_patches=42, averaging_s=2, packaging_s=3, review_patches=80)


def timed(minutes: float, **changes: object) -> Draft:
    return drafted(hippocampus(), minutes=minutes, **{**CPU, **changes})  # type: ignore[arg-type]


# Time


def test_epochs_decide_without_minutes() -> None:
    found = drafted(hippocampus(), trainer=TrainerConf(epochs=3))
    plan = finish(found)
    assert (plan.batches_per_epoch, plan.steps, plan.budget, plan.epochs) == (208 // 7, 3 * (208 // 7), "epochs", 3)
    assert plan.widths[0] == 32
    assert drafted(hippocampus(), **CPU).candidates[0].shape.widths[0] == 16  # type: ignore[arg-type]


def test_minutes_become_the_steps_that_fit() -> None:
    """Ten minutes, nothing besides: 96 % of 600 seconds at 2 seconds a step."""
    found = timed(10, base_width=16)
    plan = finish(found, [Throughput(found.candidates[0], 2.0)], Overheads())
    assert (plan.steps, plan.budget, plan.seconds_per_step) == (288, "max_minutes", 2.0)
    assert plan.warmup_steps == 29


def test_everything_else_is_paid_for_first() -> None:
    found = timed(10, base_width=16)
    speed = [Throughput(found.candidates[0], 2.0)]
    paid = Overheads(spent_s=100, averaging_s=50, packaging_s=30, review_s=20)
    assert finish(found, speed, paid).steps == int(400 * 0.96 / 2)
    plan = finish(found, speed, replace(paid, validation_s=10))
    assert plan.epochs_per_validation == 1  # 104 steps of 2 s, of which 10 s are less than 5 %
    assert plan.steps == int((400 - 10) * 0.96 / (2 + 10 / 104))
    assert plan.estimated_minutes <= 10


def test_patches_without_gradients_take_a_third_of_a_training_patch() -> None:
    """2 s a step of 2 patches: 100 patches of review are 35 s, and of validation as well, at the end and in between."""
    found = timed(10, base_width=16)
    speed = [Throughput(found.candidates[0], 2.0)]
    assert finish(found, speed, Overheads(review_patches=100)).steps == int((600 - 35) * 0.96 / 2)
    plan = finish(found, speed, Overheads(validation_patches=100))
    assert plan.epochs_per_validation == 4  # 5 % of 4 epochs of 208 s
    assert plan.steps == int((600 - 35) * 0.96 / (2 + 35 / (4 * 104)))


def test_long_validations_come_less_often() -> None:
    found = timed(120, base_width=16)
    plan = finish(found, [Throughput(found.candidates[0], 0.5)], Overheads(validation_s=60))
    assert plan.epochs_per_validation == 24  # 60 s are 5 % of 24 epochs of 52 s


def test_members_share_the_minutes() -> None:
    alone = timed(10, base_width=16)
    shared = timed(10, base_width=16, trainer=TrainerConf(max_minutes=10, epochs=100_000, folds=5))
    steps = [finish(one, [Throughput(one.candidates[0], 1.0)]).steps for one in (alone, shared)]
    assert steps == [576, 115]
    assert finish(shared, [Throughput(shared.candidates[0], 1.0)]).members == 5


def test_accumulated_batches_make_one_step() -> None:
    found = timed(10, base_width=16, trainer=TrainerConf(max_minutes=10, epochs=100_000, accumulate_batches=4))
    plan = finish(found, [Throughput(found.candidates[0], 4.0)])
    assert (plan.steps, plan.batches_per_epoch, plan.steps_per_epoch) == (144, 104, 26)


def test_a_budget_never_makes_a_run_longer_than_its_epochs() -> None:
    found = timed(1000, trainer=TrainerConf(max_minutes=1000, epochs=2))
    plan = finish(found, measured(found))
    assert (plan.steps, plan.budget) == (208, "epochs")
    assert plan.widths[0] == 32  # what could be afforded decides, not what is asked for


def test_more_minutes_never_give_a_smaller_network_or_fewer_steps_of_it() -> None:
    before: dict[tuple[int, ...], int] = {}
    width, networks = 0, set()
    for minutes in (0.5, 1, 2, 3, 5, 8, 12, 20, 30, 45, 60, 120, 300):
        found = timed(minutes)
        plan = finish(found, measured(found), SPENT)
        assert plan.widths[0] >= width
        assert plan.steps >= before.get(tuple(plan.widths), 0)
        width, before[tuple(plan.widths)] = plan.widths[0], plan.steps
        networks.add(width)
        assert plan.samples >= 4000 or width == 8
        assert plan.estimated_minutes <= minutes or plan.steps == 1
    assert networks == {8, 16, 24, 32}


def test_too_few_minutes_for_large_patches_take_smaller_ones() -> None:
    fingerprint = alike(100, (400, 400, 400), (0.8, 0.8, 0.8), modality="CT")
    volumes = []
    for minutes in (5, 20, 500):
        found = drafted(fingerprint, minutes=minutes, gb=20, **CPU)  # type: ignore[arg-type]
        plan = finish(found, measured(found))
        volumes.append((plan.widths[0], *plan.patch_px))
    assert volumes == sorted(volumes)
    assert volumes[0][1] < volumes[1][1] <= volumes[2][1]


def test_no_time_at_all_still_makes_a_step() -> None:
    found = timed(0.01)
    plan = finish(found, measured(found), SPENT)
    assert (plan.steps, plan.widths[0]) == (1, 8)
    assert "no room" in plan.reasons["steps"]


def test_where_none_sees_enough_the_one_that_sees_most_is_taken() -> None:
    """Half a minute: as measured, a narrow network may be the slower one. Of two alike the wider; nothing at all: 8."""
    found = timed(0.5)
    by_width = {one.shape.widths[0]: one for one in found.candidates}

    def plan(w8: float, w16: float) -> SegmentationPlan:
        seconds = {8: w8, 16: w16, 24: 70.0, 32: 80.0}
        return finish(found, [Throughput(by_width[width], took) for width, took in seconds.items()])

    assert plan(0.2, 0.1).widths[0] == 16
    assert "none sees 4,000 patches in time; this one sees the most, about 57" in plan(0.2, 0.1).reasons["network"]
    assert plan(0.1, 0.1).widths[0] == 16
    assert plan(0.1, 0.2).widths[0] == 8
    assert plan(50, 40).widths[0] == 8
    assert plan(50, 40).reasons["network"] == "there is no time for a single step of any; the cheapest"


def test_few_minutes_take_no_narrower_network_than_asked_for() -> None:
    found = timed(0.5, narrowest_width=16)
    plan = finish(found, measured(found), SPENT)
    assert plan.widths[0] == 16
    assert {candidate.shape.widths[0] for candidate in found.candidates} == {16, 24, 32}


def test_a_budget_without_a_measurement_is_refused() -> None:
    with pytest.raises(PlanError, match="throughput"):
        finish(timed(30))


def test_a_few_measurements_tell_enough_of_eight_candidates() -> None:
    """The cheapest in each precision, what would be chosen, and the next abler one, on a machine as predicted."""
    found, seen = timed(30, precisions=("32", "bf16")), []
    while (one := next_to_measure(found, seen, SPENT)) is not None:
        seen.append(Throughput(one, one.units / UNITS_PER_SECOND / (2 if one.precision == "bf16" else 1), 500.0))
    assert [(done.candidate.shape.widths[0], done.candidate.precision) for done in seen][:2] == [(8, "32"), (8, "bf16")]
    assert len(seen) == 3
    plan = finish(found, seen, SPENT)
    assert (plan.widths[0], plan.precision) == (seen[-1].candidate.shape.widths[0], "bf16")
    assert plan.estimated_memory_mb == 500
    assert [row["measured"] for row in plan.throughput].count(True) == 3
    assert len(plan.throughput) == 8


def test_a_gain_of_a_hair_does_not_change_the_precision() -> None:
    found = timed(30, precisions=("32", "bf16"), base_width=16)
    speed = [Throughput(one, 1.0 if one.precision == "32" else 0.97) for one in found.candidates]
    assert finish(found, speed).precision == "32"


def test_an_unmeasured_width_is_predicted_from_the_nearest() -> None:
    """Process seconds of this U-Net on one core, float32, 40x56x40, batch 2: the formula is within 30 %."""
    seconds = {8: 0.169, 16: 0.369, 24: 0.821, 32: 1.228}
    widths = {one.shape.widths[0]: one for one in timed(30).candidates}
    for known in seconds:
        speed = [Throughput(widths[known], seconds[known])]
        for other, took in seconds.items():
            assert seconds_of(widths[other], speed) == pytest.approx(took, rel=0.3)


# Decisions


@pytest.mark.parametrize(
    ("modality", "shape", "scale"),
    [("MR", (40, 40, 40), "zscore"), ("CT", (40, 40, 40), "dataset"), ("CR", (96, 96), "percentiles"),
     ("", (96, 96), "percentiles"), ("", (40, 40, 40), "zscore"), ("MR", (96, 96), "zscore")],
)  # fmt: skip
def test_the_modality_decides_how_intensities_are_scaled(modality: str, shape: tuple[int, ...], scale: str) -> None:
    plan = finish(drafted(alike(4, shape, modality=modality)))
    assert plan.normalisation["scale"] == scale
    assert plan.normalisation["channels"][0]["mean"] == 100


def test_the_surround_is_cut_off_where_it_is_more_than_a_quarter() -> None:
    heads = alike(484, (240, 240, 155), (1.0, 1.0, 1.0), nonzero_share=0.17)
    plan = finish(drafted(heads))
    assert (plan.crop, plan.normalisation["inside"]) == ("nonzero", "nonzero")
    assert max(plan.patch_px) <= 192
    assert finish(drafted(heads, crop="none")).crop == "none"
    assert finish(drafted(alike(4, (240, 240, 155), nonzero_share=0.45))).crop == "none"


def test_slices_of_volumes_get_a_network_of_two_axes() -> None:
    fingerprint = alike(20, (320, 300, 20), (0.6, 0.7, 3.6))
    for slices, sides, edges in (("axial", 2, (0.6, 0.7)), ("sagittal", 2, (0.7, 3.6))):
        found = drafted(fingerprint, transforms=TransformsConf(slices=slices))
        plan = finish(found)
        assert len(plan.patch_px) == len(plan.kernels[0]) == sides
        assert len(plan.spacing_mm) == 3
        assert found.network_spacing_mm == edges
    assert finish(drafted(fingerprint, transforms=TransformsConf(slices="sagittal"))).patches_per_case == 40


def test_a_rare_structure_is_looked_for_more_often() -> None:
    rare = Fingerprint.of([case((60, 60, 60), structure_voxels={"lesion": 9})])
    assert finish(drafted(rare)).foreground_share == 0.5
    assert finish(drafted(hippocampus())).foreground_share == pytest.approx(1 / 3)


def test_turned_patches_get_a_margin_where_cases_go_on() -> None:
    turning = TransformsConf(random=RandomConf(affine=AffineConf(probability=0.5, rotate_deg=15)))
    large = alike(20, (400, 400, 400), (1.0, 1.0, 1.0))
    assert min(finish(drafted(large, transforms=turning)).margin_px) > 8
    assert finish(drafted(large)).margin_px == [0, 0, 0]
    assert finish(drafted(hippocampus(), transforms=turning)).margin_px == [0, 0, 0]


@pytest.mark.parametrize(("steps", "decay"), [(10, 0.9), (1800, 0.981481), (5000, 0.993333), (10**6, 0.9995)])
def test_the_average_spans_the_last_few_hundredths(steps: int, decay: float) -> None:
    assert finish(drafted(hippocampus(), steps=steps)).ema_decay == pytest.approx(decay)


# Overrides


def test_whatever_is_said_is_done() -> None:
    model = UNetConf(widths=[6, 12, 20], strides=[[1, 1, 1], [2, 2, 1], [2, 2, 2]], kernels=[[3, 3, 1]] * 3,
                     deep_supervision=0, attention=True)  # fmt: skip
    plan = finish(
        drafted(
            hippocampus(),
            model=model,
            patch_px=[32, 48, 30],
            margin_px=[1, 2, 3],
            batch_patches=5,
            steps=77,
            foreground_share=0.0,
            patches_per_case=3,
            normalisation="range",
            crop="nonzero",
            average=False,
            trainer=TrainerConf(learning_rate=0.02, warmup_fraction=0.5, max_minutes=None),
        )
    )
    assert (plan.widths, plan.strides, plan.kernels) == (model.widths, model.strides, model.kernels)
    assert (plan.patch_px, plan.margin_px, plan.batch_patches) == ([32, 48, 30], [1, 2, 3], 5)
    assert (plan.steps, plan.warmup_steps, plan.budget, plan.learning_rate) == (77, 38, "steps", 0.02)
    assert (plan.foreground_share, plan.patches_per_case, plan.ema_decay, plan.deep_supervision) == (0, 3, 0, 0)
    assert (plan.normalisation["scale"], plan.crop, plan.batches_per_epoch) == ("range", "nonzero", 208 * 3 // 5)
    assert finish(drafted(hippocampus(), trainer=TrainerConf(ema_decay=0.7))).ema_decay == 0.7


def test_levels_width_and_spacing_may_be_said() -> None:
    plan = finish(drafted(hippocampus(), levels=2, base_width=20, transforms=TransformsConf(spacing_mm=[2, 2, 2])))
    assert (plan.widths, plan.spacing_mm, plan.patch_px) == ([20, 40], [2, 2, 2], [18, 26, 18])
    assert finish(drafted(hippocampus(), model=UNetConf(widths=[8, 8, 8]))).widths == [8, 8, 8]


def test_a_resnet_encoder_halves_five_times() -> None:
    plan = finish(drafted(alike(40, (90, 100), modality="CR"), model=UNetConf(encoder="resnet18")))
    assert (plan.patch_px, len(plan.strides)) == ([96, 128], 6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patch_px": [90, 96, 96]}, "96x96x96"),
        ({"patch_px": [96, 96]}, "3 axes"),
        ({"model": UNetConf(kernels=[[3, 3]] * 4)}, "3 numbers"),
        ({"model": UNetConf(widths=[8, 16]), "levels": 3}, "numbers of levels"),
        ({"model": UNetConf(widths=[8, 16]), "base_width": 16}, "not the first"),
        ({"levels": 9}, "9 levels"),
        ({"transforms": TransformsConf(spacing_mm=[1, 1])}, "3 numbers"),
        ({"precisions": ("64",)}, "32, bf16"),
    ],
)
def test_settings_that_contradict_the_data_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        drafted(hippocampus(), **changes)  # type: ignore[arg-type]


def test_settings_that_contradict_themselves() -> None:
    assert list(all_problems(PlanConf())) == []
    lines = list(all_problems(PlanConf(patch_px=[1, 2, 3, 4], margin_px=[-1, 1], memory_gb=0, crop="all", levels=11)))
    assert [line.split(":")[0] for line in lines] == [
        "memory_gb",
        "crop",
        "margin_px",
        "levels",
        "patch_px",
        "margin_px",
    ]


# What cannot be


def test_too_little_memory_says_what_is_needed_and_what_to_set() -> None:
    fingerprint = alike(20, (200, 200, 200), (1.0, 1.0, 1.0))
    with pytest.raises(PlanError, match=r"MEMORY.*needs about 0\.[0-9] GB, and 0\.5 GB.*plan\.patch_px") as refused:
        drafted(fingerprint, gb=0.5)
    assert refused.value.code == "MEMORY"
    with pytest.raises(PlanError, match=r"MEMORY.*smaller plan\.patch_px"):
        drafted(fingerprint, gb=2, patch_px=[192, 192, 192], base_width=32)


def test_memory_that_nobody_gave_is_the_devices_but_for_a_fifth() -> None:
    found = drafted(alike(20, (400, 400, 400)), gb=None)
    assert finish(found).estimated_memory_mb <= 0.8 * 16_000
    assert found.candidates[0].patch_px > drafted(alike(20, (400, 400, 400)), gb=8).candidates[0].patch_px


def test_a_structure_that_no_case_has_cannot_be_learnt() -> None:
    cases = [case((40, 40, 40), structure_voxels={"lesion": 50, "cyst": 0})] * 3
    with pytest.raises(PlanError, match=r"STRUCTURE: cyst: outlined in none of the 3 training cases"):
        drafted(Fingerprint.of(cases))
    with pytest.raises(PlanError, match="no structure at all"):
        drafted(alike(2, (40, 40, 40), structure_voxels={}))


def test_constant_images_are_refused() -> None:
    flat = [{"mean": 7.0, "std": 0.0, "low": 7.0, "high": 7.0, "min": 7.0, "max": 7.0}]
    with pytest.raises(PlanError, match=r"CONSTANT: channel 0 has the same value 7"):
        drafted(alike(3, (40, 40, 40), intensity=flat))


@pytest.mark.parametrize("shape", [(3, 3, 3), (5, 7, 1), (7, 7)])
def test_cases_of_a_few_voxels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PlanError, match="TOO_SMALL"):
        drafted(alike(3, shape))


def test_slices_of_pictures_are_refused() -> None:
    with pytest.raises(PlanError, match="pictures"):
        drafted(alike(3, (96, 96)), transforms=TransformsConf(slices="axial"))


def test_one_case_and_one_slice_are_planned_like_any_other() -> None:
    one = finish(drafted(hippocampus(1)))
    assert (one.patch_px, one.batch_patches, one.batches_per_epoch, one.steps_per_epoch) == ([40, 56, 40], 2, 1, 1)
    thin = finish(drafted(alike(5, (64, 64, 1), (1.0, 1.0, 1.0))))
    assert thin.patch_px == [64, 64, 1]
    assert {stride[2] for stride in thin.strides} == {kernel[2] for kernel in thin.kernels} == {1}


# JSON


def test_a_plan_is_readable_json_and_comes_back(tmp_path: Path) -> None:
    found = timed(30, precisions=("32", "bf16"))
    plan = finish(found, measured(found), SPENT)
    plan.save(tmp_path / "plan.json")
    text = (tmp_path / "plan.json").read_text()
    assert SegmentationPlan.load(tmp_path / "plan.json") == plan
    assert '  "patch_px": [40, 56, 40],\n' in text
    assert '  "kernels": [[3, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]],\n' in text
    assert max(len(line) for line in text.splitlines()) <= 170
    assert plan.reasons.keys() >= {"spacing", "crop", "normalisation", "patch", "batch", "network", "steps", "margin"}
    with pytest.raises(PlanError, match="widths"):
        SegmentationPlan.from_json({**{k: v for k, v in plan.as_json().items() if k != "widths"}})


def test_equal_facts_make_equal_plans() -> None:
    assert finish(drafted(hippocampus())) == finish(drafted(hippocampus()))


@pytest.mark.parametrize(
    "value", [{}, [], 3, "ü\n", {"a": [], "b": {}, "c": None}, [[1.5, "x"] * 40, {"k": [True] * 60}]]
)
def test_short_json_is_json(value: object) -> None:
    assert json.loads(short_json(value)) == value
    with pytest.raises(ValueError, match="JSON"):
        short_json([float("nan")])
