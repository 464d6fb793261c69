"""Ghosts, motion and spikes: by closed forms in k-space, and beside MONAI."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from medcnn.config.transforms import MotionConf, RandomConf
from medcnn.transforms import artefacts
from medcnn.transforms.random_steps import RandomSteps

SHAPES = [(2, 24, 32), (1, 12, 20, 16)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=["2D", "3D"])
NAMES = ("motion", "ghosting", "spikes")
names = pytest.mark.parametrize("name", NAMES)


def images(shape: tuple[int, ...], cases: int = 3) -> Tensor:
    noise = np.random.default_rng(0).standard_normal((cases, *shape))
    smooth = ndimage.gaussian_filter(noise, (0, 0, *[1.5] * (len(shape) - 1)))
    return torch.from_numpy(np.asarray(smooth / smooth.std(), np.float32))


def conf(name: str, probability: float = 1.0) -> RandomConf:
    made = RandomConf()
    getattr(made, name).probability = probability
    return made


def varied(made: RandomConf, image: Tensor, positions: list[int], epoch: int = 0) -> Tensor:
    steps = RandomSteps(made, image.ndim - 2)
    return steps.apply(image, steps.draw(0, epoch, positions))


# Ghosting


@shapes
@pytest.mark.parametrize("ghosts", [2, 4])
def test_ghosts_are_the_mean_of_shifted_copies(shape: tuple[int, ...], ghosts: int) -> None:
    """f - loss (mean of f(x - j N / g) over j, minus the line's mean): the comb's Fourier transform."""
    image, axis = images(shape), 0
    loss = torch.tensor([0.0, 0.5, 1.0])
    ours = artefacts.ghosted(image, torch.full((3,), float(ghosts)), loss, axis)
    side = shape[1]
    copies = torch.stack([image.roll(number * side // ghosts, dims=2) for number in range(ghosts)]).mean(0)
    weight = loss.reshape(-1, *[1] * len(shape))
    torch.testing.assert_close(ours, image - weight * (copies - image.mean(2, keepdim=True)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_point_returns_at_the_ghosts_period_and_only_along_the_axis(axis: int) -> None:
    point = torch.zeros(1, 1, 12, 24, 18)
    point[0, 0, 3, 5, 4] = 1
    found = artefacts.ghosted(point, torch.tensor([3.0]), torch.tensor([0.6]), axis)[0, 0]
    side = point.shape[2 + axis]
    place = [3, 5, 4]
    line = found[tuple(slice(None) if n == axis else place[n] for n in range(3))]
    expected = torch.full((side,), 0.6 / side)
    expected[[(place[axis] + number * side // 3) % side for number in range(3)]] -= 0.6 / 3
    expected[place[axis]] += 1
    torch.testing.assert_close(line, expected, atol=1e-6, rtol=0)
    assert (found.abs() > 1e-6).sum() <= side


@shapes
def test_rows_have_their_own_ghosts_and_keep_their_mean(shape: tuple[int, ...]) -> None:
    image = images(shape)
    ghosts, loss = torch.tensor([2.0, 3.0, 5.0]), torch.tensor([0.3, 0.9, 0.6])
    together = artefacts.ghosted(image, ghosts, loss, 1)
    alone = [artefacts.ghosted(image[k : k + 1], ghosts[k : k + 1], loss[k : k + 1], 1) for k in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=0)
    torch.testing.assert_close(together.mean(3), image.mean(3), atol=1e-5, rtol=0)


# Motion


@shapes
def test_no_movement_is_the_identity(shape: tuple[int, ...]) -> None:
    still = MotionConf(1.0, movements=3, rotate_deg=0.0, shift_px=0.0)
    image = images(shape)
    step = artefacts.Motion.of(still, len(shape) - 1)
    uniform = torch.rand(3, step.numbers, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(step.apply(image, uniform), image, atol=1e-5, rtol=0)


@pytest.mark.parametrize("time", [0.75, 0.3])
def test_lines_after_a_movement_come_from_the_moved_scan(time: float) -> None:
    """Two voxels along the phase encoding and one across, in numpy's k-space."""
    image = np.zeros((24, 32), np.float32)
    image[8:14, 10:20] = np.random.default_rng(0).random((6, 10))
    step = artefacts.Motion.of(MotionConf(1.0, movements=1, rotate_deg=5.0, shift_px=2.0, axes=[1]), 2)
    # numbers: axis; time, angle, shifts along the last axis and the first (half of two voxels)
    uniform = torch.tensor([[0.0, time, 0.5, 1.0, 0.75]])
    ours = step.apply(torch.from_numpy(image)[None, None], uniform)[0, 0].numpy()
    moved = np.roll(image, (-1, -2), (0, 1))  # a position looks two further on
    line = np.fft.fftfreq(32)
    later = line > time - 0.5 if time > 0.5 else line < time - 0.5
    lines = np.where(later[None], np.fft.fft(moved, axis=1), np.fft.fft(image, axis=1))
    np.testing.assert_allclose(ours, np.abs(np.fft.ifft(lines, axis=1)), atol=1e-5)
    assert np.abs(ours - image).max() > 0.05


def test_the_later_of_two_movements_counts_whatever_their_order() -> None:
    image = images((1, 24, 32), cases=1)
    step = artefacts.Motion.of(MotionConf(1.0, movements=2, rotate_deg=0.0, shift_px=3.0, axes=[0]), 2)
    one, other = [0.6, 0.5, 0.9, 0.9], [0.9, 0.5, 0.9, 0.9]
    alone = step.apply(image, torch.tensor([[0.0, *one, *one]]))
    straight = step.apply(image, torch.tensor([[0.0, *one, *other]]))
    turned = step.apply(image, torch.tensor([[0.0, *other, *one]]))
    torch.testing.assert_close(straight, turned)
    torch.testing.assert_close(straight, alone)  # the same movement: it began at 0.6


# Spikes


@pytest.mark.parametrize(("size", "place"), [((24, 32), (15, 10)), ((12, 20, 16), (3, 14, 9))], ids=["2D", "3D"])
def test_a_spike_is_monais(size: tuple[int, ...], place: tuple[int, ...]) -> None:
    """MONAI sets the point of shifted k-space to exp(intensity), phase kept: a plane wave of what is added."""
    from monai.transforms import KSpaceSpikeNoise

    image, height = images((1, *size), cases=1), 7.5
    theirs = KSpaceSpikeNoise(loc=place, k_intensity=height)(image[0]).as_tensor()
    cycles = [at - side // 2 for at, side in zip(place, size, strict=True)]
    found = np.fft.fftshift(np.fft.fftn(image[0, 0].numpy()))[place]
    amplitude = (math.exp(height) - abs(found)) / math.prod(size)
    wave = artefacts.plane_wave(size, torch.tensor([cycles]), torch.tensor([float(np.angle(found))]))
    torch.testing.assert_close(image[0] + amplitude * wave[0], theirs, atol=2e-4, rtol=1e-4)
    assert amplitude > 0.2


@shapes
def test_spikes_have_the_drawn_number_and_amplitude(shape: tuple[int, ...]) -> None:
    image, dims = images(shape, cases=2), len(shape) - 1
    step = artefacts.Spikes(1.0, 2, 0.5, dims)
    each = [1.0, 0.25, *[0.8] * dims]
    uniform = torch.tensor([[0.0, *each, *each], [0.99, *each, *each]])
    added = step.apply(image, uniform) - image
    spread = image.flatten(1).std(dim=1)
    for row, waves in ((0, 1), (1, 2)):
        assert added[row].std().item() == pytest.approx(waves * 0.5 * spread[row].item() / math.sqrt(2), rel=0.05)
        assert abs(added[row].mean().item()) < 1e-4
    peaks = torch.fft.fftn(added[0, 0]).abs().flatten()
    assert (peaks > 0.01 * peaks.max()).sum() == 2  # the frequency and its negative


# As every step


@shapes
@names
def test_parameters_of_nothing_change_nothing(shape: tuple[int, ...], name: str) -> None:
    made = conf(name)
    made.motion.rotate_deg = made.motion.shift_px = made.ghosting.intensity = made.spikes.intensity = 0.0
    image = images(shape)
    torch.testing.assert_close(varied(made, image, [0, 1, 2]), image, atol=1e-5, rtol=0)


@shapes
@names
def test_a_batch_is_its_scans_alone_and_switches_are_drawn(shape: tuple[int, ...], name: str) -> None:
    image, places = images(shape, cases=1).expand(40, *[-1] * len(shape)).contiguous(), list(range(100, 140))
    together = varied(conf(name), image, places)
    alone = torch.cat([varied(conf(name), image[k : k + 1], [place]) for k, place in enumerate(places)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert ((together - image).flatten(1).abs().amax(1) > 1e-4).all()
    some = ((varied(conf(name, 0.5), image, places) - image).flatten(1).abs().amax(1) > 1e-4).sum()
    assert 10 <= some <= 30


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_ghosts_lie_along_the_named_axis(axis: int) -> None:
    """What is even along the axis has no ghosts; along another it has."""
    even = images((1, 12, 20, 16)).mean(2 + axis % 3, keepdim=True).expand(3, 1, 12, 20, 16).contiguous()
    made = conf("ghosting")
    made.ghosting.axes = [axis]
    torch.testing.assert_close(varied(made, even, [0, 1, 2]), even, atol=1e-5, rtol=0)
    made.ghosting.axes = [(axis + 1) % 3]
    assert ((varied(made, even, [0, 1, 2]) - even).flatten(1).abs().amax(1) > 1e-3).all()


def test_axes_are_drawn_evenly_from_the_named() -> None:
    uniform = torch.linspace(0, 0.9999, 30)
    found = {axis: len(rows) for axis, rows in artefacts.by_axis(uniform, (0, -1), 3)}
    assert found == {0: 15, 2: 15}
    assert {axis: len(rows) for axis, rows in artefacts.by_axis(uniform, (), 3)} == {0: 10, 1: 10, 2: 10}
