"""The losses of segmentation: torch's and MONAI's numbers, closed forms, and voxels that do not count."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional

from medcnn.config.fields import all_problems
from medcnn.config.losses import LossConf
from medcnn.losses.boundary import REACH_VOX, boundary_loss, signed_distance, squared_distance
from medcnn.losses.segmentation import SegmentationLoss, build_segmentation_loss, coarser, deep_weights

NOTHING = {"dice": 0.0, "cross_entropy": 0.0}
PARTS = ("dice", "cross_entropy", "tversky", "focal", "boundary")


def loss_of(*, overlapping: bool = False, **settings: Any) -> SegmentationLoss:
    """Only the parts that are named."""
    conf = LossConf(**{**NOTHING, **settings})
    return build_segmentation_loss(conf, overlapping=overlapping, spatial_dims=3)


def exclusive(seed: int = 0, *, classes: int = 4, ignored: float = 0.0) -> tuple[Tensor, Tensor]:
    """Logits (3, classes, 6, 5, 4) and a target with every class in every case."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3, classes, 6, 5, 4, generator=generator)
    target = torch.randint(0, classes, (3, 1, 6, 5, 4), generator=generator).to(torch.uint8)
    target[torch.rand(target.shape, generator=generator) < ignored] = 255
    return logits.requires_grad_(), target


def regions(seed: int = 0, *, ignored: float = 0.0) -> tuple[Tensor, Tensor]:
    """Logits (3, 2, 6, 5, 4) and planes of 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3, 2, 6, 5, 4, generator=generator)
    target = torch.randint(0, 2, (3, 2, 6, 5, 4), generator=generator).to(torch.uint8)
    target[torch.rand(target.shape, generator=generator) < ignored] = 255
    return logits.requires_grad_(), target


def given(*, overlapping: bool, ignored: float = 0.0) -> tuple[Tensor, Tensor]:
    return regions(ignored=ignored) if overlapping else exclusive(ignored=ignored)


def close(ours: Tensor, theirs: Tensor | float, *, tolerance: float = 1e-5) -> None:
    assert ours.ndim == 0
    wanted = theirs.item() if isinstance(theirs, Tensor) else theirs
    assert ours.item() == pytest.approx(wanted, rel=tolerance, abs=tolerance)


# --- each voxel by itself: torch


@pytest.mark.parametrize("weights", [None, [0.2, 1.0, 3.0, 0.5]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_cross_entropy_is_torchs(weights: list[float] | None, smoothing: float, ignored: float) -> None:
    logits, target = exclusive(ignored=ignored)
    settings = LossConf(dice=0.0, label_smoothing=smoothing)
    loss = build_segmentation_loss(settings, overlapping=False, spatial_dims=3, class_weights=weights)
    weight = None if weights is None else torch.tensor(weights)
    theirs = functional.cross_entropy(logits, target[:, 0].long(), weight, ignore_index=255, label_smoothing=smoothing)
    close(loss(logits, target), theirs)
    (ours_back,) = torch.autograd.grad(loss(logits, target), logits)
    (theirs_back,) = torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(ours_back, theirs_back)


def test_binary_cross_entropy_is_torchs_over_the_voxels_that_count() -> None:
    logits, target = regions(ignored=0.3)
    counts = target != 255
    theirs = functional.binary_cross_entropy_with_logits(logits[counts], target[counts].float())
    close(loss_of(overlapping=True, cross_entropy=1.0)(logits, target), theirs)


def test_class_weights_of_structures_weigh_their_planes() -> None:
    logits, target = regions()
    loss = build_segmentation_loss(LossConf(dice=0), overlapping=True, spatial_dims=3, class_weights=[1.0, 3.0])
    planes = [functional.binary_cross_entropy_with_logits(logits[:, k], target[:, k].float()) for k in range(2)]
    close(loss(logits, target), (planes[0] + 3 * planes[1]) / 4)


@pytest.mark.parametrize("overlapping", [False, True])
def test_focal_without_gamma_is_cross_entropy(overlapping: bool) -> None:
    logits, target = given(overlapping=overlapping, ignored=0.2)
    focal = loss_of(overlapping=overlapping, focal=1.0, focal_gamma=0.0)(logits, target)
    close(focal, loss_of(overlapping=overlapping, cross_entropy=1.0)(logits, target))


# --- overlap: closed forms


def sure(target: Tensor, classes: int) -> Tensor:
    """Logits that leave no doubt."""
    hot = functional.one_hot(target[:, 0].long(), classes).movedim(-1, 1)
    return hot.float() * 60


def test_a_sure_and_right_answer_costs_nothing() -> None:
    _, target = exclusive()
    close(loss_of(dice=1.0, cross_entropy=1.0, tversky=1.0, focal=1.0)(sure(target, 4), target), 0.0)


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.3, 0.7)])
def test_dice_and_tversky_of_boxes(alpha: float, beta: float) -> None:
    """A true box of 16 voxels, 8 of them found and nothing besides: 2 * 8 / (8 + 16) = 2/3."""
    target = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    target[..., :2, :] = 1
    found = torch.zeros_like(target)
    found[..., :1, :] = 1
    logits = sure(found, 2)
    close(loss_of(dice=1.0)(logits, target), 1 - 2 / 3)
    index = 8 / (8 + beta * 8)
    close(loss_of(tversky=1.0, tversky_alpha=alpha, tversky_beta=beta)(logits, target), 1 - index)


def test_a_batch_may_count_as_one_picture() -> None:
    """Two cases: 8 of 8 voxels found, and 8 found where there are 24: 2 * 16 / 48, or the mean of 1 and 1/2."""
    target = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    target[0, :, :1] = 1
    target[1, :, :3] = 1
    found = torch.zeros_like(target)
    found[:, :, :1] = 1
    logits = sure(found, 2)
    close(loss_of(dice=1.0, batch_dice=True)(logits, target), 1 - 32 / 48)
    close(loss_of(dice=1.0, batch_dice=False)(logits, target), 1 - (1 + 0.5) / 2)


def test_a_structure_of_no_weight_does_not_count() -> None:
    target = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    target[..., :2, :], target[..., 6:, :] = 1, 2
    found = target.clone()
    found[found == 2] = 0
    loss = build_segmentation_loss(
        LossConf(cross_entropy=0), overlapping=False, spatial_dims=2, class_weights=[1.0, 1.0, 0.0]
    )
    close(loss(sure(found, 3), target), 0.0)
    close(loss_of(dice=1.0)(sure(found, 3), target), 0.5, tolerance=1e-4)


# --- what does not count


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("batch_dice", [False, True])
def test_ignored_voxels_change_nothing(part: str, overlapping: bool, batch_dice: bool) -> None:
    logits, target = given(overlapping=overlapping, ignored=0.3)
    loss = loss_of(overlapping=overlapping, batch_dice=batch_dice, **{part: 1.0})
    before = loss(logits, target)
    (gradient,) = torch.autograd.grad(before, logits)
    ignored = (target == 255).expand_as(logits)
    assert before.item() != 0
    assert gradient[ignored].abs().max() == 0
    other = torch.where(ignored, 7 * torch.randn_like(logits), logits)
    assert torch.equal(loss(other, target), before)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("overlapping", [False, True])
def test_a_batch_of_nothing_but_ignored_voxels_costs_nothing(part: str, overlapping: bool) -> None:
    logits, target = given(overlapping=overlapping)
    for weights in (None, [1.0, 2.0] if overlapping else [1.0, 2.0, 3.0, 4.0]):
        conf = LossConf(**{**NOTHING, part: 1.0})
        loss = build_segmentation_loss(conf, overlapping=overlapping, spatial_dims=3, class_weights=weights)
        cost = loss(logits, torch.full_like(target, 255))
        assert cost.item() == 0
        (gradient,) = torch.autograd.grad(cost, logits)
        assert gradient.abs().max() == 0


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_empty_masks_have_finite_gradients(overlapping: bool, batch_dice: bool, scale: float) -> None:
    logits, target = given(overlapping=overlapping)
    parts: dict[str, Any] = {**dict.fromkeys(PARTS, 1.0), "focal_gamma": 0.5}
    loss = loss_of(overlapping=overlapping, batch_dice=batch_dice, **parts)
    for sign in (1, -1):
        cost = loss(sign * scale * logits, torch.zeros_like(target))
        (gradient,) = torch.autograd.grad(cost, logits)
        assert cost.isfinite()
        assert gradient.isfinite().all()


# --- several resolutions


def test_weights_of_the_resolutions_are_halved() -> None:
    assert deep_weights(1) == [1.0]
    assert deep_weights(2) == pytest.approx([2 / 3, 1 / 3])
    assert deep_weights(4) == pytest.approx([4 / 7, 2 / 7, 1 / 7, 0])
    assert deep_weights(2, [3.0, 1.0]) == [0.75, 0.25]
    with pytest.raises(ValueError, match="needs 3 numbers"):
        deep_weights(3, [1.0, 1.0])


def test_resolutions_are_summed_by_their_weights() -> None:
    logits, target = exclusive(classes=3)
    target = target.repeat_interleave(2, 2).repeat_interleave(2, 3)
    fine = torch.randn(3, 3, 12, 10, 4, requires_grad=True)
    loss = loss_of(dice=1.0, cross_entropy=1.0)
    together = loss([fine, logits], target)
    close(together, (2 * loss(fine, target) + loss(logits, coarser(target, (6, 5, 4)))) / 3)


def test_a_head_that_does_not_count_has_a_gradient_of_zero() -> None:
    target = exclusive()[1].repeat_interleave(4, 2).repeat_interleave(4, 3)
    levels = [torch.randn(3, 4, 24 // n, 20 // n, 4, requires_grad=True) for n in (1, 2, 4)]
    loss_of(dice=1.0)(levels, target).backward()
    assert levels[1].grad is not None
    assert levels[1].grad.abs().max() > 0
    assert levels[2].grad is not None
    assert levels[2].grad.abs().max() == 0


def test_a_coarser_target_keeps_its_labels() -> None:
    target = torch.arange(12, dtype=torch.uint8).reshape(1, 1, 12, 1).repeat(1, 1, 1, 4)
    assert coarser(target, (12, 4)) is target
    assert coarser(target, (4, 4))[0, 0, :, 0].tolist() == [1, 4, 7, 10]  # the middle of three
    assert coarser(target, (6, 2))[0, 0, :, 0].tolist() == [0, 2, 4, 6, 8, 10]
    with pytest.raises(ValueError, match="does not divide"):
        coarser(target, (5, 4))


def test_precision_and_memory_format_of_the_logits_do_not_matter() -> None:
    logits, target = exclusive()
    loss = loss_of(dice=1.0, cross_entropy=1.0)
    whole = loss(logits, target)
    last = logits.detach().contiguous(memory_format=torch.channels_last_3d)
    close(loss(last, target), whole)
    with torch.autocast("cpu", torch.bfloat16):
        close(loss(logits, target), whole)
        half = loss(logits.bfloat16(), target)
    assert half.dtype == torch.float32
    close(half, whole, tolerance=1e-2)


# --- the boundary


@pytest.mark.parametrize("shape", [(20, 17), (9, 14, 11)])
def test_distances_are_scipys_up_to_the_reach(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, *shape, generator=generator) < 0.02
    truth[:, :, 0, 0] = True
    for reach in (REACH_VOX, 4):
        ours = squared_distance(truth, reach).sqrt().numpy()
        for case in range(2):
            for structure in range(3):
                theirs = distance_transform_edt(~truth[case, structure].numpy())
                assert abs(ours[case, structure] - theirs.clip(max=reach)).max() < 1e-4
    inside = signed_distance(truth) < 0
    assert torch.equal(inside, truth)


def test_boundary_loss_of_a_stripe_by_hand() -> None:
    """One voxel of five is true: distances 2, 1, -1, 1, 2. Nothing counts where there is no outline."""
    truth = torch.tensor([[[0, 0, 1, 0, 0]]], dtype=torch.bool)[..., None].expand(1, 1, 5, 3)
    valid = torch.ones_like(truth)
    found = torch.zeros(1, 1, 5, 3)
    found[:, :, 0] = 0.5
    assert boundary_loss(found, truth, valid).item() == pytest.approx(0.5 * 2 / 5 / REACH_VOX)
    assert boundary_loss(truth.float(), truth, valid).item() == pytest.approx(-1 / 5 / REACH_VOX)
    assert boundary_loss(found, torch.zeros_like(truth), valid) == 0
    assert boundary_loss(found, torch.ones_like(truth), valid) == 0


def test_the_boundary_starts_gently() -> None:
    logits, target = exclusive()
    loss = loss_of(boundary=1.0, boundary_warmup=0.4)
    whole = loss(logits, target)
    loss.progress = 0.1
    close(loss(logits, target), whole / 4)
    loss.progress = 0.0
    assert loss(logits, target) == 0


# --- settings


def test_settings_that_teach_nothing_are_refused() -> None:
    assert list(all_problems(LossConf())) == []
    assert "must be above 0" in " ".join(all_problems(LossConf(dice=0, cross_entropy=0)))
    assert "boundary" in " ".join(all_problems(LossConf(dice=0, boundary=1)))
    with pytest.raises(ValueError, match="class_weights: needs 4 numbers, got 2"):
        build_segmentation_loss(LossConf(class_weights=[1, 2]), overlapping=False, spatial_dims=3)(*exclusive())


# --- MONAI


@pytest.mark.slow
@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("batch_dice", [False, True])
def test_numbers_are_monais(overlapping: bool, batch_dice: bool) -> None:
    from monai.losses import DiceCELoss, FocalLoss, TverskyLoss

    logits, target = given(overlapping=overlapping)
    how: dict[str, Any] = {"sigmoid": True} if overlapping else {"softmax": True, "to_onehot_y": True}
    plain = {**how, "include_background": overlapping, "batch": batch_dice}
    truth = target.float() if overlapping else target
    both = loss_of(overlapping=overlapping, dice=1.0, cross_entropy=0.7, batch_dice=batch_dice)
    theirs = DiceCELoss(**plain, lambda_ce=0.0)(logits, truth)
    voxelwise = (
        functional.binary_cross_entropy_with_logits(logits, truth)
        if overlapping
        else DiceCELoss(**{**plain, "include_background": True}, lambda_dice=0.0)(logits, truth)
    )
    close(both(logits, target), theirs + 0.7 * voxelwise)
    tversky = loss_of(overlapping=overlapping, tversky=1.0, tversky_alpha=0.3, tversky_beta=0.7, batch_dice=batch_dice)
    close(tversky(logits, target), TverskyLoss(**plain, alpha=0.3, beta=0.7)(logits, truth))
    focal = FocalLoss(gamma=2.0, use_softmax=not overlapping, to_onehot_y=not overlapping)(logits, truth)
    classes = 1 if overlapping else 4  # MONAI's mean counts the classes that are not true as well
    close(loss_of(overlapping=overlapping, focal=1.0)(logits, target), focal * classes)


def test_even_odds_cost_the_logarithm() -> None:
    _, target = exclusive()
    close(loss_of(cross_entropy=1.0)(torch.zeros(3, 4, 6, 5, 4), target), math.log(4))
