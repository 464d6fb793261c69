"""The policy of random steps: how many, how strong, what it never does; the same steps as those switched one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from medcnn.config.fields import all_problems
from medcnn.config.transforms import POLICY_SECTIONS, AffineConf, PolicyConf, RandomConf, TransformsConf
from medcnn.transforms.policy import of_one_strength
from medcnn.transforms.random_steps import RandomSteps

SHAPES = [(1, 40, 56), (2, 20, 24, 28)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=["2D", "3D"])
EVERY = list(POLICY_SECTIONS)


def images(shape: tuple[int, ...], cases: int = 3, seed: int = 0) -> Tensor:
    """Smooth random scans (cases, C, *size) between about -1 and 1."""
    noise = np.random.default_rng(seed).standard_normal((cases, *shape))
    smooth = ndimage.gaussian_filter(noise, (0, 0, *[1.5] * (len(shape) - 1)))
    return torch.from_numpy(np.asarray(smooth / np.abs(smooth).max(), np.float32))


def conf(steps: int = 2, *, magnitude: float = 1.0, choices: list[str] | None = None, **more: Any) -> RandomConf:
    made = RandomConf(policy=PolicyConf(steps, magnitude, EVERY if choices is None else choices, **more))
    assert not list(all_problems(made))
    return made


def varied(made: RandomConf, image: Tensor, *, seed: int = 0, epoch: int = 0, first: int = 0) -> Tensor:
    steps = RandomSteps(made, image.ndim - 2)
    return steps.apply(image, steps.draw(seed, epoch, range(first, first + len(image))))


def switched_on(made: RandomConf, spatial_dims: int, scans: int = 300) -> np.ndarray:
    """(scans, steps) whether each step is on."""
    steps = RandomSteps(made, spatial_dims)
    uniform, used, on = steps.draw(0, 0, range(scans)).uniform.numpy(), 0, []
    for step in steps.steps:
        on.append(uniform[:, used] < step.probability)
        used += 1 + step.numbers
    assert used == uniform.shape[1]
    return np.stack(on, axis=1)


@shapes
@pytest.mark.parametrize("made", [conf(2, magnitude=0.0), conf(0), conf(0, magnitude=0.0)], ids=["m0", "n0", "both"])
def test_magnitude_or_steps_of_zero_change_nothing(shape: tuple[int, ...], made: RandomConf) -> None:
    assert torch.equal(varied(made, images(shape)), images(shape))


@shapes
@pytest.mark.parametrize("name", EVERY)
def test_next_to_no_magnitude_is_next_to_no_change_and_all_of_it_is_one(shape: tuple[int, ...], name: str) -> None:
    image = images(shape)
    change = [(varied(conf(1, magnitude=m, choices=[name]), image) - image).abs().mean().item() for m in (1e-3, 1.0)]
    assert change[0] < 2e-3
    assert change[1] > 1e-3
    assert change[1] > 5 * change[0]


@shapes
def test_every_scan_gets_so_many_different_ones_and_every_choice_comes_as_often(shape: tuple[int, ...]) -> None:
    dims = len(shape) - 1
    names = [name for name in EVERY if name not in ("scale", "shift", "brightness")]  # one choice for each step
    for steps in (1, 3, len(names)):
        on = switched_on(conf(steps, choices=names), dims)
        assert (on.sum(axis=1) == steps).all()
    often = switched_on(conf(3, choices=names), dims, 2000).mean(axis=0)
    assert often == pytest.approx([3 / len(names)] * len(names), abs=0.045)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("magnitude", [0.3, 1.0])
def test_rotation_scale_and_shift_go_exactly_so_far_in_either_direction(dims: int, magnitude: float) -> None:
    """By the matrices that the step itself makes of the drawn numbers."""
    limits = AffineConf(rotate_deg=20, scale=0.25, shift=0.1, shear=0.2)
    found: dict[str, set[float]] = {}
    for name in ("rotate", "scale", "shift"):
        made = replace(conf(1, magnitude=magnitude, choices=[name]), affine=limits)
        steps = RandomSteps(made, dims)
        matrix, shift = steps.steps[0].drawn(steps.draw(0, 0, range(60)).uniform[:, 1:])  # type: ignore[union-attr]
        determinant = torch.linalg.det(matrix)
        size = determinant ** (1 / dims)
        rotation = matrix / size[:, None, None]
        angle = torch.rad2deg(torch.arccos(((rotation.diagonal(dim1=1, dim2=2).sum(1) - dims + 2) / 2).clamp(-1, 1)))
        assert (determinant > 0).all()
        assert torch.allclose(rotation @ rotation.mT, torch.eye(dims), atol=1e-5)  # no shear
        found[name] = {round(v, 3) for v in size.tolist()} | {round(v) for v in angle.tolist()}
        moved = {round(v, 3) for v in (shift / 2).flatten().tolist()}
        assert moved == ({0.0, 0.1 * magnitude, -0.1 * magnitude} if name == "shift" else {0.0})
        assert ((shift != 0).sum(1) == (name == "shift")).all()  # along one axis at a time
    most = 1 + 0.25 * magnitude
    assert found == {
        "rotate": {1.0, 20 * magnitude},
        "scale": {round(most, 3), round(1 / most, 3), 0.0},
        "shift": {1.0, 0.0},
    }


@shapes
def test_contrast_alone_leaves_the_mean_and_brightness_alone_the_spread(shape: tuple[int, ...]) -> None:
    image = images(shape, cases=40)
    axes = tuple(range(1, image.ndim))
    sharper = varied(conf(1, choices=["contrast"]), image)
    torch.testing.assert_close(sharper.mean(axes), image.mean(axes), atol=1e-5, rtol=0)
    factors = {round(v, 3) for v in (sharper.std(axes) / image.std(axes)).tolist()}
    assert factors == {1.2, round(1 / 1.2, 3)}
    brighter = varied(conf(1, choices=["brightness"]), image)
    torch.testing.assert_close(brighter.std(axes), image.std(axes), atol=1e-5, rtol=0)
    assert {round(v, 3) for v in (brighter - image).mean(axes).tolist()} == {0.2, -0.2}


@shapes
def test_a_policy_of_one_step_is_that_step_at_full_strength(shape: tuple[int, ...]) -> None:
    from medcnn.transforms import intensity_steps as intensity

    image, made = images(shape), conf(1, magnitude=0.5, choices=["blur"])
    step = intensity.Blur(1.0, made.blur.sigma_px / 2)
    torch.testing.assert_close(varied(made, image), step.apply(image, torch.ones(3, 1)))


def chest(shape: tuple[int, ...]) -> Tensor:
    """(1, *shape): a large bright heart low on one side, something small above it; unlike its mirror along any axis."""
    grid = np.meshgrid(*[np.arange(side) / side for side in shape[1:]], indexing="ij")
    image = np.full(shape[1:], -0.8)
    depth = (0.4,) * (len(shape) - 3)
    for centre, radius, value in (((0.72, 0.28), 0.14, 1.0), ((0.25, 0.33), 0.06, 0.5)):
        apart = sum((axis - place) ** 2 for axis, place in zip(grid, (*depth, *centre), strict=True))
        image += (value + 0.8) * np.exp(-apart / (2 * radius**2))
    return torch.from_numpy(image).float().expand(1, *shape).clone()


def likeness(one: Tensor, other: Tensor) -> Tensor:
    """Correlation of each of (n, *shape) with (1, *shape)."""
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (one, other))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


@shapes
def test_the_heart_stays_on_its_side_and_upright(shape: tuple[int, ...]) -> None:
    image = chest(shape)
    made = conf(3, choices=["rotate", "scale", "shift", "gamma", "contrast", "brightness", "noise"])
    made.affine = AffineConf(rotate_deg=20, scale=0.25, shift=0.12)
    result = varied(made, image.expand(150, *[-1] * len(shape)).contiguous())
    for axes in ([-1], [-2], [-1, -2]):
        assert (likeness(result, image) > likeness(result, image.flip(axes))).all()
    bright = (result - result.flatten(1).median(1).values.reshape(-1, *[1] * len(shape))).clamp(min=0) ** 4
    across = bright.sum(dim=tuple(range(1, len(shape))))
    side = (across * (torch.arange(shape[-1]) + 0.5)).sum(1) / across.sum(1) / shape[-1]
    assert (side < 0.5).all()


@shapes
def test_mirrors_come_only_along_the_axes_that_are_allowed(shape: tuple[int, ...]) -> None:
    dims = len(shape) - 1
    image = images(shape, cases=1).expand(60, *[-1] * len(shape)).contiguous()
    result = varied(conf(1, choices=[], mirror_axes=[0, -1]), image)
    first, last = image.flip(2), image.flip(-1)
    kinds = [(torch.equal(r, a), torch.equal(r, b)) for r, a, b in zip(result, first, last, strict=True)]
    assert set(kinds) == {(True, False), (False, True)}
    assert not any(type(step).__name__ == "Mirror" for step in RandomSteps(conf(), dims).steps)


@shapes
def test_the_place_decides_whatever_the_batch(shape: tuple[int, ...]) -> None:
    made, image = conf(3), images(shape, cases=6)
    together = varied(made, image, seed=3, epoch=2, first=40)
    alone = [varied(made, image[k : k + 1], seed=3, epoch=2, first=40 + k) for k in range(6)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)
    for change in ({"seed": 4}, {"epoch": 3}, {"first": 100}):
        assert not torch.equal(varied(made, image, **{"seed": 3, "epoch": 2, "first": 40, **change}), together)


def test_the_settings_given_stay_as_they_were() -> None:
    made = conf(2, magnitude=0.5)
    changed = of_one_strength(made)
    assert made == conf(2, magnitude=0.5)
    assert changed.affine.rotate_deg == made.affine.rotate_deg / 2
    assert changed.low_resolution.zoom == 0.75
    assert (changed.erase.probability, changed.mirror.probability) == (0, 0)


def test_a_step_of_its_own_runs_beside_the_policy() -> None:
    made = conf(1, choices=["gamma"])
    made.erase.probability = 1.0
    on = switched_on(made, 2)
    assert on.all()
    assert on.shape == (300, 2)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (PolicyConf(2, 0.5, ["rotat", "blur"]), "random.policy.choices: 'rotat' is not one of"),
        (PolicyConf(2, 0.5, ["blur", "blur"]), "random.policy.choices: different ones"),
        (PolicyConf(3, 0.5, ["blur", "noise"]), "random.policy.steps: a scan gets different ones of the 2 choices"),
        (PolicyConf(1, 1.5), "random.policy.magnitude: must be <= 1, got 1.5"),
        (PolicyConf(1, 0.5, mirror_axes=[2]), "random.policy.mirror_axes: different ones from -2 to 1"),
        (PolicyConf(1, 0.5, ["brightness"]), "random.contrast.probability: policy.choices has this step already"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_said(policy: PolicyConf, expected: str) -> None:
    made = TransformsConf(random=RandomConf(policy=policy))
    made.random.contrast.probability = 0.5 if "contrast" in expected else 0.0
    (line,) = all_problems(made)
    assert line.startswith(expected)


def test_a_policy_that_is_off_leaves_steps_of_their_own_alone() -> None:
    made = TransformsConf()
    made.random.contrast.probability = 0.5
    assert not list(all_problems(made))
