"""The random steps: beside MONAI's and scipy's, pure functions of their draws, whatever the batching."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from medcnn.config.transforms import AffineConf, RandomConf
from medcnn.transforms import intensity_steps as intensity
from medcnn.transforms import spatial_steps as spatial
from medcnn.transforms.draws import AUGMENT, NOISE, stream
from medcnn.transforms.random_steps import RandomSteps

SHAPES = [(2, 20, 32), (1, 10, 14, 18)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=["2D", "3D"])

NAMES = (
    "mirror",
    "affine",
    "low_resolution",
    "blur",
    "sharpness",
    "gamma",
    "warp",
    "contrast",
    "bias_field",
    "noise",
    "erase",
)


def images(shape: tuple[int, ...], cases: int = 3, seed: int = 0) -> Tensor:
    """Smooth random scans (cases, C, *size) between about -1 and 1."""
    noise = np.random.default_rng(seed).standard_normal((cases, *shape))
    sigma = (0, 0, *[1.5] * (len(shape) - 1))
    smooth = ndimage.gaussian_filter(noise, sigma)
    return torch.from_numpy(np.asarray(smooth / np.abs(smooth).max(), np.float32))


def conf(**probability: float) -> RandomConf:
    """Every step at its default strength and the given probability."""
    made = RandomConf()
    for name, value in probability.items():
        getattr(made, name).probability = value
    return made


def all_on(probability: float = 1.0) -> RandomConf:
    return conf(**dict.fromkeys(NAMES, probability))


def varied(
    made: RandomConf, image: Tensor, *, seed: int = 0, epoch: int = 0, positions: list[int] | None = None
) -> Tensor:
    steps = RandomSteps(made, image.ndim - 2)
    places = list(range(len(image))) if positions is None else positions
    return steps.apply(image, steps.draw(seed, epoch, places))


# Beside MONAI and scipy


@shapes
@pytest.mark.parametrize("axes", [(-1,), (0,), (0, 1)])
def test_mirror_is_monais_flip(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    from monai.transforms import Flip

    image, dims = images(shape), len(shape) - 1
    ours = spatial.Mirror(1.0, axes).apply(image, torch.zeros(3, 0))
    theirs = [Flip([axis % dims for axis in axes])(one).as_tensor() for one in image]
    assert torch.equal(ours, torch.stack(theirs))


@shapes
@pytest.mark.parametrize("gamma", [0.5, 0.9, 1.0, 1.7])
def test_gamma_is_monais_adjust_contrast(shape: tuple[int, ...], gamma: float) -> None:
    from monai.transforms import AdjustContrast

    image = images(shape)
    ours = intensity.adjust_gamma(image, torch.full((3, *[1] * len(shape)), gamma))
    theirs = torch.stack([AdjustContrast(gamma)(one).as_tensor() for one in image])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@shapes
def test_contrast_is_monais_scale_with_a_fixed_mean(shape: tuple[int, ...]) -> None:
    from monai.transforms import ScaleIntensityFixedMean, ShiftIntensity

    image = images(shape)
    ours = intensity.Contrast(1.0, 0.2, 0.3).apply(image, torch.tensor([[1.0, 0.5], [0.0, 1.0], [0.5, 0.0]]))
    drawn = [(0.2, 0.0), (1 / 1.2 - 1, 0.3), (0.0, -0.3)]
    for one, (factor, shift), result in zip(image, drawn, ours, strict=True):
        scaled = ScaleIntensityFixedMean(factor=factor, fixed_mean=True)(one)
        torch.testing.assert_close(result, torch.as_tensor(ShiftIntensity(shift)(scaled)), atol=1e-5, rtol=1e-5)


@shapes
@pytest.mark.parametrize("sigma", [0.4, 1.0, 1.6])
def test_blur_is_a_gaussian_filter_with_the_border_continued(shape: tuple[int, ...], sigma: float) -> None:
    image = images(shape)
    ours = intensity.blurred(image, torch.full((3,), sigma), radius=5)
    theirs = ndimage.gaussian_filter(image.numpy(), (0, 0, *[sigma] * (len(shape) - 1)), mode="nearest", radius=5)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


@shapes
def test_blur_is_monais_gaussian_smooth_inside_the_border(shape: tuple[int, ...]) -> None:
    from monai.transforms import GaussianSmooth

    image = images(shape)
    ours = intensity.blurred(image, torch.full((3,), 1.0), radius=4)
    theirs = torch.stack([GaussianSmooth(sigma=1.0, approx="sampled")(one).as_tensor() for one in image])
    inside = (..., *[slice(4, -4)] * (len(shape) - 1))
    torch.testing.assert_close(ours[inside], theirs[inside], atol=1e-4, rtol=1e-3)


def matrix_2d() -> np.ndarray:
    """20 degrees, 1.1 and 0.8 times, in pixels (row, column)."""
    angle = math.radians(20)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return rotation @ np.diag([1.1, 0.8])


def matrix_3d() -> np.ndarray:
    whole = np.eye(3)
    whole[:2, :2] = matrix_2d()
    other = np.eye(3)
    other[1:, 1:] = matrix_2d()
    return whole @ other


@pytest.mark.parametrize(
    ("shape", "matrix", "shift_px"),
    [((1, 20, 32), matrix_2d(), (1.5, -2.0)), ((2, 33, 17), matrix_2d(), (0.0, 3.0)),
     ((1, 10, 14, 18), matrix_3d(), (1.0, -0.5, 2.0))],
    ids=["wide", "tall", "volume"],
)  # fmt: skip
def test_resampling_is_scipys_and_monais(
    shape: tuple[int, ...], matrix: np.ndarray, shift_px: tuple[float, ...]
) -> None:
    """A matrix in pixels about the centre, unequal sides included; the border continued outside."""
    from monai.transforms import Affine

    image, size = images(shape, cases=1), np.array(shape[1:])
    reversed_axes = torch.from_numpy(np.ascontiguousarray(matrix[::-1, ::-1])).float()[None]
    in_half_sides = torch.from_numpy((2 * np.array(shift_px) / size)[::-1].copy()).float()[None]
    ours = spatial.resampled(image, reversed_axes, in_half_sides)[0].numpy()

    centre = (size - 1) / 2
    offset = centre - matrix @ centre + np.array(shift_px)
    theirs = [ndimage.affine_transform(c, matrix, offset, order=1, mode="nearest") for c in image[0].numpy()]
    np.testing.assert_allclose(ours, np.stack(theirs), atol=2e-5)

    whole = np.eye(len(size) + 1)
    whole[:-1, :-1], whole[:-1, -1] = matrix, shift_px
    monais = Affine(affine=torch.from_numpy(whole), mode="bilinear", padding_mode="border", image_only=True)(image[0])
    np.testing.assert_allclose(ours, monais.as_tensor().numpy(), atol=2e-5)


def direction(image: np.ndarray) -> np.ndarray:
    """Unit vector along the longest axis of what is bright."""
    places = np.argwhere(image > 0.5).astype(float)
    _, _, axes = np.linalg.svd(places - places.mean(axis=0), full_matrices=False)
    return np.asarray(axes[0])


@pytest.mark.parametrize("size", [(64, 64), (48, 96), (96, 48)], ids=str)
@pytest.mark.parametrize("degrees", [-40, 25])
def test_a_rotation_turns_by_its_angle_whatever_the_sides(size: tuple[int, int], degrees: float) -> None:
    bar = torch.zeros(1, 1, *size)
    bar[0, 0, size[0] // 2 - 1 : size[0] // 2 + 1, size[1] // 2 - 18 : size[1] // 2 + 18] = 1
    step = spatial.Affine.of(AffineConf(1.0, rotate_deg=45, scale=0, shift=0, shear=0), 2)
    uniform = torch.full((1, step.numbers), 0.5)
    uniform[0, 0] = (degrees / 45 + 1) / 2
    turned = direction(step.apply(bar, uniform)[0, 0].numpy())
    assert math.degrees(math.acos(abs(turned[1]))) == pytest.approx(abs(degrees), abs=1.5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_rotation_of_a_volume_turns_in_one_plane(axis: int) -> None:
    """The network's axes are reversed in torch's grids: the first angle turns about the last spatial axis."""
    about = 2 - axis
    along, beside = [a for a in range(3) if a != about]
    bar = np.zeros((24, 32, 40), np.float32)
    middle = [12, 16, 20]
    cut = [slice(m - 1, m + 1) for m in middle]
    cut[along] = slice(middle[along] - 9, middle[along] + 9)
    bar[tuple(cut)] = 1
    step = spatial.Affine.of(AffineConf(1.0, rotate_deg=30, scale=0, shift=0, shear=0), 3)
    uniform = torch.full((1, step.numbers), 0.5)
    uniform[0, axis] = 1.0
    turned = direction(step.apply(torch.from_numpy(bar)[None, None], uniform)[0, 0].numpy())
    assert abs(turned[about]) < 0.03
    assert math.degrees(math.atan2(abs(turned[beside]), abs(turned[along]))) == pytest.approx(30, abs=2)


@shapes
def test_a_shift_is_a_share_of_the_side(shape: tuple[int, ...]) -> None:
    image, dims = images(shape), len(shape) - 1
    step = spatial.Affine.of(AffineConf(1.0, rotate_deg=0, scale=0, shift=0.5, shear=0), dims)
    uniform = torch.full((3, step.numbers), 0.5)
    uniform[:, -dims:] = 1.0  # half of each side, all axes
    moved = step.apply(image, uniform)
    near = (..., *[slice(0, side // 2) for side in shape[1:]])
    far = (..., *[slice(side // 2, side) for side in shape[1:]])
    torch.testing.assert_close(moved[near], image[far], atol=1e-4, rtol=1e-4)


@shapes
def test_a_scale_zooms_about_the_centre_between_its_bounds(shape: tuple[int, ...]) -> None:
    dims = len(shape) - 1
    ramp = torch.linspace(-1, 1, shape[-1]).expand(2, *shape).clone()
    step = spatial.Affine.of(AffineConf(1.0, rotate_deg=0, scale=0.25, shift=0, shear=0), dims)
    uniform = torch.full((2, step.numbers), 0.5)
    rotations = 1 if dims == 2 else 3
    uniform[0, rotations : rotations + dims], uniform[1, rotations : rotations + dims] = 1.0, 0.0
    line = step.apply(ramp, uniform)[(slice(None), 0, *[side // 2 for side in shape[1:-1]])]
    middle = slice(shape[-1] // 2 - 2, shape[-1] // 2 + 2)
    slopes = (line[:, middle].diff(dim=1) / ramp.flatten()[:2].diff()).mean(dim=1)
    assert slopes.tolist() == pytest.approx([1.25, 0.8], abs=0.01)


# Other truths


@shapes
def test_low_resolution_keeps_the_mean_and_takes_the_detail(shape: tuple[int, ...]) -> None:
    rough = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    coarse = spatial.LowResolution(1.0, 0.5).apply(rough, torch.zeros(2, 1))
    assert coarse.shape == rough.shape
    assert coarse.mean().item() == pytest.approx(rough.mean().item(), abs=0.02)
    assert coarse.std().item() < 0.6 * rough.std().item()
    assert torch.equal(spatial.LowResolution(1.0, 0.5).apply(rough, torch.full((2, 1), 0.999)), rough)


@shapes
def test_an_erased_box_is_as_large_as_drawn_and_holds_the_mean(shape: tuple[int, ...]) -> None:
    image, dims = images(shape, cases=2), len(shape) - 1
    uniform = torch.zeros(2, 2 * dims)
    uniform[0, :dims], uniform[1, :dims] = 1.0, 0.5
    erased = spatial.Erase(1.0, 0.5, dims).apply(image, uniform)
    for number, share in ((0, 0.5), (1, 0.25)):
        box = tuple(slice(0, math.ceil(share * side)) for side in shape[1:])
        expected = image[number].clone()
        expected[(slice(None), *box)] = image[number].mean()
        torch.testing.assert_close(erased[number], expected)


@shapes
def test_softening_by_one_is_the_blurred_scan_and_sharpening_its_opposite(shape: tuple[int, ...]) -> None:
    image = images(shape, cases=2)
    done = intensity.Sharpness(1.0, 1.0, 1.5, 0.8).apply(image, torch.tensor([[0.0], [1.0]]))
    sigma = (0, *[0.8] * (len(shape) - 1))
    soft = np.stack([ndimage.gaussian_filter(one, sigma, mode="nearest", radius=2) for one in image.numpy()])
    np.testing.assert_allclose(done[0], soft[0], atol=1e-5)
    np.testing.assert_allclose(done[1], image[1].numpy() + 1.5 * (image[1].numpy() - soft[1]), atol=1e-5)


@shapes
def test_a_warp_keeps_the_order_of_grey_values_and_both_ends(shape: tuple[int, ...]) -> None:
    ramp = torch.linspace(-3, 5, math.prod(shape)).reshape(1, *shape).expand(4, *shape).clone()
    corners = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    warped = intensity.Warp(1.0, 0.15).apply(ramp, corners).flatten(1)
    assert (warped.diff(dim=1) > 0).all()
    assert warped[:, 0].tolist() == pytest.approx([-3] * 4, abs=1e-5)
    assert warped[:, -1].tolist() == pytest.approx([5] * 4, abs=1e-5)
    assert (warped - ramp.flatten(1)).abs().amax(dim=1).min() > 0.5


@shapes
def test_a_bias_field_is_smooth_and_leaves_the_darkest_alone(shape: tuple[int, ...]) -> None:
    dims = len(shape) - 1
    flat = torch.ones(200, *shape)
    flat[:, :, 0] = 0.0  # dark on one face
    uniform = torch.from_numpy(stream(0, 0, 0).random((200, 3**dims))).float()
    field = intensity.BiasField(1.0, 0.1, dims).apply(flat, uniform)
    assert not field[:, :, 0].any()
    corner = field[(slice(None), 0, *[-1] * dims)]  # a knot itself: the drawn normal number
    assert corner.std().item() == pytest.approx(0.1, rel=0.15)
    assert corner.mean().item() == pytest.approx(1.0, abs=0.03)
    assert field[:, :, 1:].diff(dim=-1).abs().max() < 0.12


@shapes
def test_the_last_thing_is_the_cut(shape: tuple[int, ...]) -> None:
    made = all_on()
    made.clip = 0.5
    assert varied(made, 3 * images(shape)).abs().max() <= 0.5


@shapes
def test_noise_has_the_drawn_strength(shape: tuple[int, ...]) -> None:
    field = torch.from_numpy(stream(0, 0, 0, NOISE).standard_normal((2, 1, 64, 64), np.float32))
    noisy = intensity.Noise(1.0, 0.1).add(torch.zeros(2, 1, 64, 64), torch.tensor([[1.0], [0.5]]), field)
    assert noisy.std(dim=(1, 2, 3)).tolist() == pytest.approx([0.1, 0.05], rel=0.05)
    made = conf(noise=1.0)
    made.noise.sigma = 0.1
    assert varied(made, torch.zeros(4, *shape)).std().item() < 0.1


# Identity, switches


@shapes
@pytest.mark.parametrize("name", NAMES)
def test_parameters_of_nothing_change_nothing(shape: tuple[int, ...], name: str) -> None:
    made = conf(**{name: 1.0})
    made.mirror.axes = []
    made.affine = AffineConf(made.affine.probability, rotate_deg=0, scale=0, shift=0, shear=0)
    made.blur.sigma_px, made.low_resolution.zoom, made.erase.side = 1e-6, 1.0, 1e-9
    made.gamma.log_gamma = made.contrast.factor = made.contrast.shift = made.noise.sigma = 0.0
    made.sharpness.soften = made.sharpness.sharpen = made.warp.amplitude = made.bias_field.strength = 0.0
    image = images(shape)
    torch.testing.assert_close(varied(made, image), image, atol=1e-6, rtol=0)


@shapes
def test_everything_off_is_a_copy(shape: tuple[int, ...]) -> None:
    image = images(shape)
    assert RandomSteps(RandomConf(), len(shape) - 1).steps == []
    result = varied(RandomConf(), image)
    assert torch.equal(result, image)
    assert result.data_ptr() != image.data_ptr()


@shapes
@pytest.mark.parametrize("name", NAMES)
def test_probability_one_is_always_and_a_half_is_about_half(shape: tuple[int, ...], name: str) -> None:
    image = images(shape, cases=1).expand(60, *[-1] * len(shape)).contiguous()
    changed = (varied(conf(**{name: 1.0}), image) != image).flatten(1).any(dim=1)
    least = {"low_resolution": 45, "erase": 30, "blur": 45}.get(name, 60)  # zoom 1, no voxel hit, next to no sigma
    assert changed.sum() >= least
    some = (varied(conf(**{name: 0.5}), image) != image).flatten(1).any(dim=1)
    assert least * 0.3 <= some.sum() <= 42


@shapes
def test_the_given_tensor_is_not_changed(shape: tuple[int, ...]) -> None:
    image = images(shape)
    before = image.clone()
    varied(all_on(), image)
    assert torch.equal(image, before)


# Pure functions of (seed, epoch, position)


@shapes
def test_a_batch_of_eight_is_eight_batches_of_one(shape: tuple[int, ...]) -> None:
    image, made = images(shape, cases=8), all_on(0.6)
    together = varied(made, image, seed=3, epoch=2, positions=list(range(40, 48)))
    alone = [varied(made, image[k : k + 1], seed=3, epoch=2, positions=[40 + k]) for k in range(8)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=0)


@shapes
def test_neighbours_and_order_decide_nothing(shape: tuple[int, ...]) -> None:
    image, made = images(shape, cases=6), all_on(0.6)
    order = [4, 0, 5, 2, 1, 3]
    straight = varied(made, image, positions=[10, 11, 12, 13, 14, 15])
    shuffled = varied(made, image[order], positions=[10 + k for k in order])
    torch.testing.assert_close(shuffled, straight[order], atol=1e-6, rtol=0)


@shapes
@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"positions": [100, 101, 102]}])
def test_another_place_is_another_draw(shape: tuple[int, ...], change: dict[str, Any]) -> None:
    image, made = images(shape), all_on(0.9)
    assert torch.equal(varied(made, image), varied(made, image))
    differs = (varied(made, image) != varied(made, image, **change)).flatten(1).any(dim=1)
    assert differs.all()


@shapes
def test_noise_fields_differ_between_places_and_repeat_at_one(shape: tuple[int, ...]) -> None:
    made, blank = conf(noise=1.0), torch.zeros(3, *shape)
    one = varied(made, blank)
    assert torch.equal(one, varied(made, blank))
    unit = one / one.flatten(1).std(dim=1).reshape(-1, *[1] * len(shape))
    assert abs((unit[0] * unit[1]).mean().item()) < 0.2
    other = varied(made, blank, epoch=1)
    other = other / other.flatten(1).std(dim=1).reshape(-1, *[1] * len(shape))
    assert abs((unit[0] * other[0]).mean().item()) < 0.2


def test_streams_are_the_same_everywhere_and_never_meet() -> None:
    """Philox4x64-10 is a published algorithm: its first numbers for a key are the same on every machine."""
    first = stream(0, 0, 0).random(3)
    bits = np.random.Philox(key=np.zeros(2, np.uint64), counter=np.zeros(4, np.uint64))
    assert first.tolist() == np.random.Generator(bits).random(3).tolist()
    places = [(s, e, p, w) for s in range(3) for e in range(3) for p in range(5) for w in range(5)]
    numbers = [stream(*place).random(8) for place in places]
    assert len({value for row in numbers for value in row.tolist()}) == len(places) * 8


def test_uniform_numbers_are_uniform_over_positions() -> None:
    values = np.array([stream(0, 0, position, AUGMENT).random() for position in range(4000)])
    counts, _ = np.histogram(values, bins=10, range=(0, 1))
    assert ((counts - 400) ** 2 / 400).sum() < 27.9  # chi-square, 9 degrees of freedom, p = 0.001
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.06
