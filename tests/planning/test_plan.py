"""How many steps, decided once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from medcnn.config.trainer import TrainerConf
from medcnn.planning.plan import Plan, Speed, fixed_steps

PLAN = Plan(
    train_cases=100, class_counts=[60, 40], in_channels=1, size_px=[96, 96], parameters=1000, members=2, batch_cases=32,
    batches_per_epoch=4, steps_per_epoch=4, steps=40, warmup_steps=4, budget="epochs", precision="32", device="cpu",
    seconds_per_step=0.1, estimated_minutes=0.13, estimated_memory_mb=12.5,
)  # fmt: skip


def speed(step: float = 0.5, validation: float = 0.0) -> Speed:
    return Speed(step, validation, 100.0)


def test_epochs_decide_without_a_budget() -> None:
    assert fixed_steps(TrainerConf(epochs=7), 11, speed()) == (77, "epochs")
    assert fixed_steps(TrainerConf(epochs=7, max_minutes=0.01), 11, None) == (77, "epochs")


def test_minutes_become_a_fixed_number_of_steps() -> None:
    """93% of 10 minutes at half a second a step."""
    assert fixed_steps(TrainerConf(epochs=1000, max_minutes=10), 11, speed(0.5)) == (1116, "max_minutes")


def test_a_budget_never_makes_a_run_longer_than_its_epochs() -> None:
    assert fixed_steps(TrainerConf(epochs=2, max_minutes=1000), 11, speed(0.5)) == (22, "epochs")


def test_members_share_the_minutes() -> None:
    conf = TrainerConf(epochs=1000, max_minutes=10, members=4)
    assert fixed_steps(conf, 10, speed(0.5)) == (279, "max_minutes")


def test_validation_is_paid_for_once_an_epoch() -> None:
    conf = TrainerConf(epochs=10000, max_minutes=10)
    assert fixed_steps(conf, 10, speed(0.5, validation=5.0)) == (558, "max_minutes")  # 0.5 + 5 / 10 a step


def test_at_least_one_step_is_made() -> None:
    assert fixed_steps(TrainerConf(max_minutes=0.001), 10, speed(60.0)) == (1, "max_minutes")
    assert fixed_steps(TrainerConf(epochs=3, max_minutes=1), 10, speed(0.0)) == (30, "epochs")


@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (4, 1), (5, 2), (40, 10), (41, 11)])
def test_epochs_begun(steps: int, epochs: int) -> None:
    assert replace(PLAN, steps=steps).epochs == epochs


def test_a_plan_is_readable_json_and_comes_back(tmp_path: Path) -> None:
    PLAN.save(tmp_path / "plan.json")
    text = (tmp_path / "plan.json").read_text()
    assert json.loads(text)["class_counts"] == [60, 40]
    assert len(text.splitlines()) > len(PLAN.as_json())  # one setting a line
    assert Plan.load(tmp_path / "plan.json") == PLAN
