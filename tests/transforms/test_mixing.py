"""Mixup and CutMix: shares counted in voxels, labels that are missing, draws that depend on the place alone."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medcnn.config.trainer import TrainerConf
from medcnn.config.transforms import RandomConf
from medcnn.data.batches import Batch
from medcnn.tasks.classification import ClassificationTask
from medcnn.transforms.mixing import Mixing, box_of, mixed, with_box
from medcnn.transforms.random_steps import RandomSteps

SIZES = [(20, 32), (10, 14, 18)]
sizes = pytest.mark.parametrize("size", SIZES, ids=["2D", "3D"])


def numbered(size: tuple[int, ...], cases: int = 4) -> Tensor:
    """Scans (cases, 2, *size) whose voxels all hold the scan's own number."""
    return torch.arange(cases, dtype=torch.float32).reshape(-1, *[1] * (len(size) + 1)).expand(-1, 2, *size).clone()


def applied(mixing: Mixing, image: Tensor, *, seed: int = 0, epoch: int = 0, position: int = 0) -> tuple[Tensor, float]:
    return mixing.apply(image, seed=seed, epoch=epoch, position=position)


@sizes
def test_cutmix_gives_each_label_the_share_of_voxels_that_are_its_own(size: tuple[int, ...]) -> None:
    shares = []
    for position in range(60):
        image, share = applied(Mixing(0.0, 1.0), numbered(size), position=position)
        own = (image == numbered(size)).float().mean(dim=tuple(range(1, image.ndim)))
        assert own.tolist() == pytest.approx([share] * 4, abs=1e-6)
        assert set(image[2].unique().tolist()) <= {2.0, 1.0}  # its own and those of the scan before
        shares.append(share)
    assert min(shares) < 0.5
    assert max(shares) > 0.9


@sizes
def test_what_is_not_own_is_one_box_at_its_own_place(size: tuple[int, ...]) -> None:
    place = torch.arange(float(np.prod(size))).reshape(1, 1, *size)
    image = torch.cat([place, -place - 1])  # every voxel says where and whose it is
    result, _ = applied(Mixing(0.0, 1.0), image, position=3)
    taken = result[0, 0] < 0
    assert taken.any()
    assert torch.equal(result[0, 0][taken], image[1, 0][taken])
    corners = torch.nonzero(taken)
    low, high = corners.amin(0), corners.amax(0)
    assert taken.sum() == (high - low + 1).prod()


def test_a_box_in_the_middle_has_the_wanted_share_and_one_at_the_edge_is_cut() -> None:
    assert box_of((100, 200), 0.75, np.array([0.5, 0.5])) == (slice(25, 75), slice(50, 150))
    assert box_of((100, 200), 0.75, np.array([0.0, 1.0])) == (slice(0, 25), slice(150, 200))
    assert box_of((40, 40, 80), 7 / 8, np.array([0.5, 0.5, 0.5])) == (slice(10, 30), slice(10, 30), slice(20, 60))
    _, share = with_box(numbered((100, 200)), (slice(0, 25), slice(150, 200)))
    assert share == 1 - 25 * 50 / 20000


@sizes
def test_a_box_of_nothing_and_a_box_of_all(size: tuple[int, ...]) -> None:
    middle = np.full(len(size), 0.5)
    image, share = with_box(numbered(size), box_of(size, 1.0, middle))
    assert share == 1
    assert torch.equal(image, numbered(size))
    image, share = with_box(numbered(size), box_of(size, 0.0, middle))
    assert share == 0
    assert torch.equal(image, numbered(size).roll(1, 0))


@sizes
def test_mixup_is_the_weighted_sum_and_keeps_more_of_its_own(size: tuple[int, ...]) -> None:
    shares = []
    for position in range(40):
        image, share = applied(Mixing(0.4, 0.0), numbered(size), position=position)
        torch.testing.assert_close(image, share * numbered(size) + (1 - share) * numbered(size).roll(1, 0))
        shares.append(share)
    assert min(shares) >= 0.5
    assert max(shares) > 0.95


def test_with_both_a_coin_decides_for_each_batch_and_each_kind_draws_as_it_does_alone() -> None:
    image, both = torch.rand(3, 1, 12, 12, generator=torch.Generator().manual_seed(0)), Mixing(0.4, 1.0)
    kinds = []
    for position in range(200):
        result = applied(both, image, position=position)[0]
        as_mixup = torch.equal(result, applied(Mixing(0.4, 0.0), image, position=position)[0])
        as_cutmix = torch.equal(result, applied(Mixing(0.0, 1.0), image, position=position)[0])
        assert as_mixup or as_cutmix
        kinds.append(as_cutmix)
    assert 70 < sum(kinds) < 130


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"position": 32}], ids=str)
@pytest.mark.parametrize("mixing", [Mixing(0.4, 0.0), Mixing(0.0, 1.0)], ids=["mixup", "cutmix"])
def test_the_place_alone_decides(mixing: Mixing, change: dict[str, int]) -> None:
    image = torch.rand(3, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(applied(mixing, image)[0], applied(mixing, image)[0])
    assert not torch.equal(applied(mixing, image)[0], applied(mixing, image, **change)[0])


def test_nothing_is_mixed_without_an_alpha_or_a_second_scan() -> None:
    image = numbered((8, 8))
    assert applied(Mixing(0.0, 0.0), image) == (image, 1.0)
    assert applied(Mixing(0.4, 1.0), image[:1])[1] == 1.0


def test_a_missing_label_of_either_scan_is_missing_in_both_together() -> None:
    target = torch.tensor([[1.0, nan], [0.0, 1.0], [1.0, 0.0]])
    found = mixed(target, 0.75)
    assert found[:, 0].tolist() == [1.0, 0.25, 0.75]
    assert found.isnan().tolist() == [[False, True], [False, True], [False, False]]
    assert float(found[2, 1]) == 0.25


def task(**settings: float) -> ClassificationTask:
    return ClassificationTask(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), kind="multilabel", class_weight=None,
        random_steps=RandomSteps(RandomConf(), 2), conf=TrainerConf(**settings), seed=0,  # type: ignore[arg-type]
        make_optimizer=lambda network: torch.optim.SGD(network.parameters(), lr=1.0),
    )  # fmt: skip


@pytest.mark.parametrize("settings", [{"mixup_alpha": 1e-4}, {"cutmix_alpha": 1e-4}], ids=str)
def test_a_scan_of_which_nothing_is_taken_costs_no_label(settings: dict[str, float]) -> None:
    """So small an alpha draws shares of exactly 0 and 1."""
    target = torch.tensor([[1.0, nan], [0.0, 1.0], [1.0, 0.0]])
    wholes = 0
    for position in range(20):
        image, found, _ = task(**settings).varied(Batch(numbered((8, 8), 3)[:, :1], target, 0, [position, 50, 51]))
        if torch.equal(image, numbered((8, 8), 3)[:, :1]):
            wholes += 1
            assert torch.equal(found.isnan(), target.isnan())
    assert wholes >= 5


@pytest.mark.parametrize("settings", [{"mixup_alpha": 0.4}, {"cutmix_alpha": 1.0}], ids=str)
def test_the_loss_of_a_mixed_batch_leaves_missing_labels_out(settings: dict[str, float]) -> None:
    target = torch.tensor([[1.0, nan], [0.0, 1.0], [1.0, nan], [0.0, nan]])
    image = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    made = task(**settings)
    loss = made.training_step(Batch(image, target, 0, [0, 1, 2, 3]), 0)
    loss.backward()  # type: ignore[no-untyped-call]
    weight = next(made.network.parameters())  # type: ignore[union-attr]
    assert torch.isfinite(loss)
    assert weight.grad is not None
    assert weight.grad[0].any()
    assert not weight.grad[1].any()  # of the second label no pair has both: nothing is learnt of it
