"""What keeps a network from learning by heart, and what it does not go together with."""

from __future__ import annotations

import pytest

from medcnn.config.compose import CommandLine, checked
from medcnn.config.errors import ConfigError


def problems(*words: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        checked("train", CommandLine.of("train", list(words)))
    return list(error.value.problems)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("+task=xray_cls", "trainer.cutmix_alpha=1", "debug=overfit"), "trainer.cutmix_alpha: must be 0"),
        (("+task=xray_cls", "trainer.mixup_alpha=1", "debug=overfit"), "trainer.mixup_alpha: must be 0"),
        (("+task=mri_seg", "trainer.cutmix_alpha=1"), "trainer: mixup_alpha, cutmix_alpha and"),
        (("+task=mri_seg", "transforms.random.policy.steps=2"), "transforms.random.policy: is for classifiers"),
        (("+task=xray_cls", "recipe=xray_samples", "trainer.swa_fraction=0.3"), "trainer.swa_fraction: weights are"),
        (("+task=xray_cls", "debug=learning_rate", "resume=auto"), "resume: a debug=learning_rate run starts fresh"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_go_together_is_said(words: tuple[str, ...], expected: str) -> None:
    assert any(line.startswith(expected) for line in problems(*words))


def test_a_policy_beside_the_tasks_own_steps_says_how_to_take_it() -> None:
    found = problems("+task=xray_cls", "transforms.random.policy.steps=2")
    assert len(found) == 4  # affine, contrast, gamma, noise
    assert all("transforms=xray_policy" in line for line in found)


@pytest.mark.parametrize(("task", "name"), [("xray_cls", "xray_policy"), ("mri_cls", "mri_policy")])
def test_a_policy_is_chosen_by_name_and_mirrors_nothing(task: str, name: str) -> None:
    conf = checked("train", CommandLine.of("train", [f"+task={task}", f"transforms={name}"]))
    random = conf.transforms.random
    assert random.policy.steps == 2
    assert random.policy.mirror_axes == []
    assert random.mirror.probability == random.affine.probability == 0
