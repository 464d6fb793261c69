"""Image and target moved together: phantoms that are their own mask, MONAI's Affine, scipy's splines, exact draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from medcnn.config.errors import ConfigError
from medcnn.config.transforms import AffineConf, ElasticConf, RandomConf
from medcnn.transforms.paired_steps import PairedSteps
from medcnn.transforms.random_steps import Draws

SIZES = [((44, 40), (26, 32)), ((30, 36, 32), (18, 20, 22)), ((12, 40, 44), (6, 24, 28)), ((44, 12, 40), (28, 5, 24))]
sizes = pytest.mark.parametrize(("size", "patch"), SIZES, ids=["2D", "3D", "thin first", "thin middle"])
SPATIAL = ("mirror", "affine", "elastic")
INTENSITY = ("low_resolution", "blur", "gamma", "contrast", "bias_field", "motion", "ghosting", "spikes", "noise")


def conf(**probability: float) -> RandomConf:
    made = RandomConf(affine=AffineConf(rotate_deg=30, scale=0.25, shift=0.1, shear=0.1))
    made.mirror.axes = [0, -1]
    made.elastic = ElasticConf(displacement_px=3.0, spacing_px=8.0)
    for name, value in probability.items():
        getattr(made, name).probability = value
    return made


def blobs(size: Sequence[int], cases: int = 4, classes: int = 2) -> Tensor:
    """Smooth shapes, uint8 (cases, 1, *size), 0 = background."""
    noise = np.random.default_rng(3).standard_normal((cases, *size))
    smooth = ndimage.gaussian_filter(noise, (0, *[2.5] * len(size)))
    limits = np.quantile(smooth, np.linspace(0.5, 1, classes, endpoint=False))
    return torch.from_numpy(np.digitize(smooth, limits).astype(np.uint8)[:, None])


def moved(
    made: RandomConf,
    image: Tensor,
    target: Tensor,
    patch: Sequence[int],
    positions: list[int] | None = None,
    **given: Any,
) -> tuple[Tensor, Tensor]:
    steps = PairedSteps(made, len(patch), **{"num_channels": image.shape[1], "labels": 2, **given})
    places = list(range(len(image))) if positions is None else positions
    return steps.apply(image, target, steps.draw(0, 0, places), patch)


def central(batch: Tensor, patch: Sequence[int]) -> Tensor:
    starts = [(old - new) // 2 for old, new in zip(batch.shape[2:], patch, strict=True)]
    return batch[(..., *(slice(start, start + new) for start, new in zip(starts, patch, strict=True)))]


# Image and target stay on each other


@sizes
@pytest.mark.parametrize("name", [*SPATIAL, "all"])
@pytest.mark.parametrize("spacing_mm", [(), "uneven"], ids=["voxels", "mm"])
def test_a_phantom_that_is_its_own_mask_stays_so(
    size: tuple[int, ...], patch: tuple[int, ...], name: str, spacing_mm: Any
) -> None:
    target = (blobs(size) > 0).to(torch.uint8)
    made = conf(**dict.fromkeys(SPATIAL if name == "all" else (name,), 1.0))
    edges = (1.0, 0.6, 2.5)[: len(size)] if spacing_mm else ()
    image, found = moved(made, target.float(), target, patch, spacing_mm=edges)
    assert image.shape == found.shape == (4, 1, *patch)
    assert found.dtype == torch.uint8
    undecided = (image - 0.5).abs() < 1e-4
    assert undecided.float().mean() < 0.02
    assert torch.equal((image > 0.5)[~undecided], (found == 1)[~undecided])
    assert (found != central(target, patch)).flatten(1).any(dim=1).all()  # and it did move


@sizes
def test_where_nothing_is_drawn_the_patch_is_cut_out(size: tuple[int, ...], patch: tuple[int, ...]) -> None:
    target = blobs(size)
    image = torch.randn(4, 2, *size, generator=torch.Generator().manual_seed(0))
    before = image.clone(), target.clone()
    done, found = moved(conf(), image, target, patch)
    assert torch.equal(done, central(image, patch))
    assert torch.equal(found, central(target, patch))
    moved(conf(**dict.fromkeys([*SPATIAL, *INTENSITY], 1.0)), image, target, patch)
    assert torch.equal(image, before[0])
    assert torch.equal(target, before[1])
    assert done.is_contiguous()


@sizes
def test_movements_of_nothing_are_the_identity(size: tuple[int, ...], patch: tuple[int, ...]) -> None:
    made = conf(affine=1.0, elastic=1.0)
    made.affine = AffineConf(1.0, rotate_deg=0, scale=0, shift=0, shear=0)
    made.elastic.displacement_px = 0.0
    target = blobs(size)
    image, found = moved(made, target.float(), target, patch)
    torch.testing.assert_close(image, central(target, patch).float(), atol=2e-4, rtol=0)
    assert torch.equal(found, central(target, patch))


def test_only_those_move_for_which_it_was_drawn() -> None:
    size, patch = (30, 30), (20, 20)
    target = blobs(size, cases=1).expand(200, 1, *size)
    made = conf(affine=0.3)
    _, found = moved(made, target.float(), target, patch)
    changed = (found != central(target, patch)).flatten(1).any(dim=1)
    assert 40 <= changed.sum() <= 80
    made.elastic.probability = 0.5
    _, both = moved(made, target.float(), target, patch)
    assert 105 <= (both != central(target, patch)).flatten(1).any(dim=1).sum() <= 155  # 1 - 0.7 * 0.5 of 200


def test_what_is_only_bent_is_not_turned() -> None:
    """Each step's switch is its own: without the affine's the elastic displacement alone remains."""
    size, patch = (30, 30), (20, 20)
    target = blobs(size, cases=1).expand(12, 1, *size)
    bent, _ = moved(conf(elastic=1.0), target.float(), target, patch)
    both, _ = moved(conf(elastic=1.0, affine=0.5), target.float(), target, patch)
    same = ((bent - both).flatten(1).abs().amax(1) < 2e-4).sum()
    assert 2 <= same <= 10


def test_mirrors_are_drawn_for_each_axis_alone() -> None:
    size = (12, 14, 16)
    target = blobs(size, cases=1).expand(64, 1, *size)
    made = conf(mirror=0.5)
    made.mirror.axes = [0, -1]
    image, found = moved(made, target.float(), target, size)
    ways = [(), (0,), (2,), (0, 2)]
    counts = []
    for axes in ways:
        way = target[0].flip([1 + axis for axis in axes])
        same = [torch.equal(one, way) for one in found]
        assert all(torch.equal(one, way.float()) for one, hit in zip(image, same, strict=True) if hit)
        counts.append(sum(same))
    assert sum(counts) == 64
    assert min(counts) >= 6


# Beside MONAI


def draws_of(steps: PairedSteps, **numbers: float) -> Draws:
    """One row: the affine's numbers by position, everything else switched off."""
    uniform = torch.ones(1, steps.draw(0, 0, [0]).uniform.shape[1], dtype=torch.float64)
    uniform[0, 0], uniform[0, 1 : 1 + steps.affine.numbers] = 0.0, 0.5
    for place, value in numbers.items():
        uniform[0, 1 + int(place[1:])] = value
    return Draws(uniform, 0, 0, (0,))


@pytest.mark.parametrize(
    ("size", "numbers"),
    [((44, 40), {"n0": 0.9, "n1": 0.8, "n2": 0.3}), ((30, 36, 32), {"n0": 0.9, "n1": 0.2, "n2": 0.7, "n3": 0.1})],
    ids=["2D", "3D"],
)
def test_a_movement_is_monais_affine(size: tuple[int, ...], numbers: dict[str, float]) -> None:
    """Rotation, scale and shear by the same matrix; the label's boundary may differ where MONAI takes the nearest."""
    from monai.transforms import Affine

    patch, dims = tuple(side - 8 for side in size), len(size)
    target = blobs(size, cases=1)
    noise = np.random.default_rng(0).standard_normal(size)
    image = torch.from_numpy(np.asarray(ndimage.gaussian_filter(noise, 1.5), np.float32))[None, None]
    steps = PairedSteps(conf(affine=1.0), dims, num_channels=1, labels=2)
    drawn = draws_of(steps, **numbers)
    done, found = steps.apply(image, target, drawn, patch)

    matrix, _ = steps.affine.drawn(drawn.uniform[:, 1 : 1 + steps.affine.numbers].float())
    whole = np.eye(dims + 1)
    whole[:-1, :-1] = matrix[0].flip(0, 1).numpy()  # the first axis first
    settings = {"affine": whole, "spatial_size": patch, "padding_mode": "zeros", "image_only": True}
    theirs = Affine(mode="bilinear", **settings)(image[0]).as_tensor()
    nearest = Affine(mode="nearest", **settings)(target[0].float()).as_tensor()
    np.testing.assert_allclose(done[0], theirs, atol=2e-5)
    assert (found[0] != nearest).float().mean() < 0.05
    clear = ndimage.minimum_filter(nearest[0], 3) == ndimage.maximum_filter(nearest[0], 3)
    assert (found[0, 0][clear] == nearest[0][clear]).float().mean() > 0.999


@pytest.mark.parametrize("axes", [(0,), (1, 2)])
def test_a_mirror_is_monais_flip(axes: tuple[int, ...]) -> None:
    from monai.transforms import Flip

    size = (12, 14, 16)
    target, made = blobs(size), conf(mirror=1.0)
    made.mirror.axes = list(axes)
    image, found = moved(made, target.float(), target, size)
    assert torch.equal(found, torch.stack([Flip(axes)(one).as_tensor() for one in target]))
    assert torch.equal(image, found.float())


# Labels


def test_more_labels_than_are_interpolated_at_once() -> None:
    size, patch = (40, 44), (28, 30)
    target, made = blobs(size, classes=21), conf(affine=1.0, elastic=1.0)
    _, found = moved(made, target.float(), target, patch, labels=21)
    indicators = torch.cat([(target == value).float() for value in range(1, 22)], 1)
    shares, _ = moved(made, indicators, target, patch, labels=21)
    most, which = shares.max(1, keepdim=True)
    rest = 1 - shares.sum(1, keepdim=True)
    clear = (most - rest).abs() > 1e-4
    expected = torch.where(most > rest, which + 1, 0)
    assert (found == expected)[clear].float().mean() > 0.999
    assert found.unique().numel() > 15


def test_what_is_to_be_ignored_moves_and_stays_255() -> None:
    size, patch = (40, 44), (28, 30)
    target = torch.zeros(1, 2, *size, dtype=torch.uint8)
    target[:, 0, 10:20, 10:30], target[:, 1] = 255, 1
    made = conf(affine=1.0)
    image, found = moved(made, (target[:, :1] == 255).float(), target, patch, labels=1)
    assert set(found[0, 0].unique().tolist()) == {0, 255}
    undecided = (image[:, 0] - 0.5).abs() < 1e-4
    assert torch.equal((image[:, 0] > 0.5)[~undecided], (found[:, 0] == 255)[~undecided])
    assert set(found[0, 1].unique().tolist()) <= {0, 1}


def test_beyond_the_scan_lie_zeros_and_background() -> None:
    made = conf(affine=1.0)
    made.affine = AffineConf(1.0, rotate_deg=0, scale=0, shift=1.0, shear=0)
    steps = PairedSteps(made, 2, num_channels=1, labels=2)
    image, target = torch.ones(1, 1, 20, 20), torch.ones(1, 1, 20, 20, dtype=torch.uint8)
    done, found = steps.apply(image, target, draws_of(steps, n5=1.0), (20, 20))  # a whole side along the rows
    assert not done.any()
    assert not found.any()
    small, _ = moved(conf(), image, target, (24, 23))
    assert small.sum() == 400
    assert small[0, 0, 2, 2] == 1  # the smaller half of what is missing may lie on either side
    assert not small[0, 0, :2].any()


# Volumes of thick slices, millimetres, margins


def test_in_thin_patches_slices_keep_their_own() -> None:
    size, patch = (9, 40, 44), (5, 24, 28)
    image = torch.arange(9.0)[None, None, :, None, None].expand(2, 1, *size).contiguous()
    target = (image % 2).to(torch.uint8)
    made = conf(affine=1.0, elastic=1.0)
    made.affine.scale = made.affine.shift = 0.0
    done, found = moved(made, image, target, patch)
    expected = torch.arange(2.0, 7.0)[None, None, :, None, None].expand_as(done)
    inside = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(done[inside], expected[inside], atol=1e-4, rtol=0)
    assert torch.equal(found[inside], (expected % 2).to(torch.uint8)[inside])


def test_thin_or_not_the_plane_turns_alike() -> None:
    """The slices of a thin patch move by the numbers of the volume's in-plane movement."""
    size = (8, 40, 44)
    picture = blobs(size[1:], cases=1)
    target = picture[:, :, None].expand(1, 1, *size).contiguous()
    steps = PairedSteps(conf(affine=1.0), 3, num_channels=1, labels=2)
    drawn = draws_of(steps, n2=0.95)  # about the first axis alone
    _, thin = steps.apply(target.float(), target, drawn, (6, 24, 28))
    _, thick = steps.apply(target.float(), target, drawn, (8, 24, 22))
    assert torch.equal(thin[:, :, 3], thin[:, :, 0])
    assert torch.equal(thin[:, :, 2, :, 3:-3], thick[:, :, 3])


def test_a_rotation_is_one_in_millimetres() -> None:
    """A ball in the patient is an ellipsoid on a grid of uneven edges, and the same one after any rotation."""
    size, edges = (31, 41, 25), (1.0, 0.7, 1.3)
    place = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in size], indexing="ij"), -1) * np.array(edges)
    target = torch.from_numpy((np.linalg.norm(place, axis=-1) < 9).astype(np.uint8))[None, None].repeat(3, 1, 1, 1, 1)
    made = conf()
    made.affine = AffineConf(1.0, rotate_deg=45, scale=0, shift=0, shear=0)
    _, by_mm = moved(made, target.float(), target, size, spacing_mm=edges)
    _, by_voxels = moved(made, target.float(), target, size)
    assert (by_mm != target).float().sum() < 0.06 * target.sum()
    assert (by_voxels != target).float().sum() > 0.1 * target.sum()


@sizes
def test_a_margin_keeps_the_end_of_the_scan_out_of_sight(size: tuple[int, ...], patch: tuple[int, ...]) -> None:
    made = conf(affine=1.0, elastic=1.0)
    steps = PairedSteps(made, len(patch), num_channels=1, labels=1)
    wide = steps.margin(patch)
    image = torch.ones(40, 1, *(side + 1 for side in wide))
    done, _ = steps.apply(image, image.to(torch.uint8), steps.draw(0, 0, range(40)), patch)
    torch.testing.assert_close(done, torch.ones_like(done))
    thin = [axis for axis in range(len(patch)) if len(patch) == 3 and min(patch) * 3 < max(patch)]
    assert all(wide[axis] == patch[axis] for axis in thin if patch[axis] == min(patch))
    assert PairedSteps(conf(), len(patch), num_channels=1, labels=1).margin(patch) == patch


# Draws


@sizes
def test_a_batch_is_its_scans_alone_in_any_order(size: tuple[int, ...], patch: tuple[int, ...]) -> None:
    target = blobs(size, cases=6)
    image = target.float() + 0.1 * torch.randn(6, 2, *size, generator=torch.Generator().manual_seed(0))
    made, places = conf(**dict.fromkeys([*SPATIAL, *INTENSITY, "erase"], 0.5)), [40, 41, 42, 43, 44, 45]
    together = moved(made, image, target, patch, places)
    assert not torch.equal(together[0], central(image, patch))
    for order in ([3], [0], [5, 1, 4]):
        some = moved(made, image[order], target[order], patch, [places[k] for k in order])
        torch.testing.assert_close(some[0], together[0][order], atol=2e-4, rtol=0)
        assert (some[1] != together[1][order]).float().mean() < 1e-3  # ties between equal shares may round
    again = moved(made, image, target, patch, places)
    assert torch.equal(again[0], together[0])
    assert torch.equal(again[1], together[1])


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"positions": [7, 8, 9, 10]}])
@pytest.mark.parametrize("name", ["affine", "elastic", "noise"])
def test_another_place_is_another_draw(change: dict[str, Any], name: str) -> None:
    steps = PairedSteps(conf(**{name: 1.0}), 2, num_channels=1, labels=2)
    target = blobs((30, 30))
    image = target.float()
    place: dict[str, Any] = {"seed": 0, "epoch": 0, "positions": [0, 1, 2, 3]}
    one, _ = steps.apply(image, target, steps.draw(**place), (20, 20))
    other, _ = steps.apply(image, target, steps.draw(**{**place, **change}), (20, 20))
    assert (one != other).flatten(1).any(dim=1).all()


# Intensities


@pytest.mark.parametrize("name", INTENSITY)
def test_intensities_change_the_image_only_and_each_channel_by_itself(name: str) -> None:
    size = (16, 20, 18)
    target = blobs(size)
    one = target.float() + 0.2 * torch.randn(4, 1, *size, generator=torch.Generator().manual_seed(0))
    image, found = moved(conf(**{name: 1.0}), one.expand(4, 2, *size), target, size)
    assert torch.equal(found, target)
    assert (image[:, :1] != one).flatten(1).any(dim=1).sum() >= 3  # a zoom of 1 changes nothing
    assert (image[:, 0] != image[:, 1]).flatten(1).any(dim=1).sum() >= 3


def test_channels_have_their_own_switches_and_noise() -> None:
    image = torch.zeros(100, 3, 8, 8)
    done, _ = moved(conf(noise=0.3), image, image[:, :1].to(torch.uint8), (8, 8))
    assert 60 <= done.flatten(2).any(dim=2).sum() <= 120
    noisy, _ = moved(conf(noise=1.0), torch.zeros(1, 2, 40, 40), torch.zeros(1, 1, 40, 40, dtype=torch.uint8), (40, 40))
    assert abs(np.corrcoef(noisy[0].flatten(1))[0, 1]) < 0.1


def test_one_channel_varies_as_in_classification() -> None:
    """The same arithmetic: a batch through the steps of both, from the same numbers."""
    from medcnn.transforms.random_steps import RandomSteps

    made = conf(**dict.fromkeys(("gamma", "contrast", "blur", "bias_field", "low_resolution"), 1.0))
    paired, single = PairedSteps(made, 2, num_channels=1, labels=1), RandomSteps(made, 2)
    image = blobs((24, 24)).float()
    drawn = paired.draw(0, 0, [0, 1, 2, 3])
    own = replace(drawn, uniform=drawn.uniform[:, -single.numbers :])
    done, _ = paired.apply(image, image.to(torch.uint8), drawn, (24, 24))
    torch.testing.assert_close(done, single.apply(image, own))


def test_an_erased_box_is_erased_in_all_channels_and_the_last_thing_is_the_cut() -> None:
    made = conf(erase=1.0)
    image = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    done, _ = moved(made, image, torch.zeros(1, 1, 24, 24, dtype=torch.uint8), (24, 24))
    boxes = done != image
    assert boxes.any()
    assert torch.equal(boxes[:, 0], boxes[:, 1])
    made.clip = 0.5
    cut, _ = moved(made, image, torch.zeros(1, 1, 24, 24, dtype=torch.uint8), (24, 24))
    assert cut.abs().max() == pytest.approx(0.5)


def test_channels_last_is_taken_as_it_comes() -> None:
    target = blobs((12, 14, 16))
    image = (target.float() + 0.1).contiguous(memory_format=torch.channels_last_3d)
    plain = moved(conf(**dict.fromkeys(SPATIAL + INTENSITY, 0.8)), image.contiguous(), target, (12, 14, 16))
    other = moved(conf(**dict.fromkeys(SPATIAL + INTENSITY, 0.8)), image, target, (12, 14, 16))
    assert torch.equal(plain[0], other[0])
    assert torch.equal(plain[1], other[1])


def test_axes_that_are_not_there_are_refused() -> None:
    made = conf(mirror=0.5)
    made.mirror.axes = [2]
    with pytest.raises(ConfigError, match="mirror"):
        PairedSteps(made, 2, num_channels=1, labels=1)
