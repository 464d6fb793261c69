"""Batches in an order that is a pure function of (seed, epoch), from any place in it."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch

from medcnn.data.batches import Batch, Batches, Order


class Numbered:
    """Image n is n everywhere."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __getitem__(self, indices: Any) -> np.ndarray:
        return np.asarray(indices, np.float32)[:, None, None, None] * np.ones((1, 1, 2, 2), np.float32)

    def __len__(self) -> int:
        return self.count


def order(num_cases: int = 10, batch_cases: int = 4, *, seed: int = 0, sampling: str = "shuffled") -> Order:
    return Order(num_cases, batch_cases, seed, sampling, np.arange(num_cases) % 2)


def batches(made: Order, workers: int = 0) -> Batches:
    return Batches(Numbered(made.num_cases), np.eye(made.num_cases, dtype=np.float32), made, workers=workers)


def seen(made: Order, epoch: int, first: int = 0, last: int | None = None, **ranks: int) -> list[list[int]]:
    """Cases of each batch."""
    whole = made.batches_per_epoch() if last is None else last
    return [batch.image[:, 0, 0, 0].int().tolist() for batch in batches(made).loader(epoch, first, whole, **ranks)]


def test_an_epoch_shows_every_case_once() -> None:
    shown = seen(order(), 0)
    assert [len(batch) for batch in shown] == [4, 4, 2]
    assert sorted(chain.from_iterable(shown)) == list(range(10))


def test_targets_and_positions_go_with_the_images() -> None:
    for number, batch in enumerate(batches(order()).loader(0, 0, 3)):
        cases = batch.image[:, 0, 0, 0].int().tolist()
        assert batch.target.argmax(dim=1).tolist() == cases
        assert batch.positions == list(range(4 * number, 4 * number + len(cases)))
        assert batch.epoch == 0


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    assert seen(order(), 3) == seen(order(), 3)
    orders = {tuple(chain.from_iterable(seen(order(seed=seed), epoch))) for seed in range(3) for epoch in range(4)}
    assert len(orders) == 12


def test_the_rest_of_an_epoch_is_the_tail_of_the_whole() -> None:
    made = order(num_cases=23, batch_cases=3)
    whole = seen(made, 5)
    for first in range(made.batches_per_epoch() + 1):
        assert seen(made, 5, first) == whole[first:]
    loader = batches(made).loader(5, 6, 8)
    assert len(loader) == 2


def test_the_global_generators_decide_nothing() -> None:
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    first = seen(order(), 0)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    assert seen(order(), 0) == first


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_ranks_share_each_batch_out(ranks: int) -> None:
    made = order(num_cases=24, batch_cases=8)
    whole = seen(made, 1)
    shares = [seen(made, 1, rank=rank, ranks=ranks) for rank in range(ranks)]
    for number, batch in enumerate(whole):
        assert sorted(chain.from_iterable(share[number] for share in shares)) == sorted(batch)


def test_a_rank_without_a_case_of_a_short_batch_takes_the_last() -> None:
    made = order(num_cases=10, batch_cases=4)
    shares = [seen(made, 0, rank=rank, ranks=4) for rank in range(4)]
    assert [len(share) for share in shares] == [3] * 4  # every rank makes as many steps
    last = seen(made, 0)[-1]
    assert [share[-1] for share in shares] == [[last[0]], [last[1]], [last[1]], [last[1]]]


@pytest.mark.parametrize(
    ("cases", "size", "expected"),
    [(9, 4, 2), (10, 4, 3), (8, 4, 2), (5, 4, 1), (3, 4, 1), (1, 4, 1), (1, 1, 1), (3, 1, 3)],
)
def test_a_last_batch_of_one_is_left_out(cases: int, size: int, expected: int) -> None:
    made = order(cases, size)
    assert made.batches_per_epoch() == expected
    lengths = [len(batch) for batch in seen(made, 0)]
    assert len(lengths) == expected
    if size > 1 and cases > 1:
        assert min(lengths) > 1


def test_another_case_is_left_out_each_time() -> None:
    missing = {next(iter(set(range(9)) - set(chain.from_iterable(seen(order(9, 4), epoch))))) for epoch in range(40)}
    assert len(missing) == 9


def test_balanced_sampling_shows_classes_equally_often() -> None:
    classes = np.array([0] * 900 + [1] * 90 + [3] * 10)  # no case of class 2
    made = Order(1000, 50, 0, "balanced", classes)
    shown = np.concatenate([classes[made.indices(epoch)] for epoch in range(20)])
    shares = np.bincount(shown, minlength=4) / len(shown)
    assert shares[[0, 1, 3]].tolist() == pytest.approx([1 / 3] * 3, abs=0.012)
    assert shares[2] == 0
    assert len(made.indices(0)) == 1000
    assert np.array_equal(made.indices(4), made.indices(4))


def test_positions_do_not_repeat_where_cases_do() -> None:
    """A case drawn twice in an epoch is varied differently each time."""
    made = Order(20, 5, 0, "balanced", np.array([0] * 19 + [1]))
    positions = [place for batch in batches(made).loader(0, 0, 4) for place in batch.positions]
    assert positions == list(range(20))


def test_loading_processes_change_nothing() -> None:
    made = order(num_cases=12, batch_cases=4)
    loader = batches(made, workers=1).loader(2, 1, 3)
    assert [batch.image[:, 0, 0, 0].int().tolist() for batch in loader] == seen(made, 2, 1)


def test_a_batch_moves_with_its_places() -> None:
    batch = Batch(torch.zeros(2, 1, 2, 2), torch.zeros(2, 2), 3, [4, 5])
    moved = batch.to("meta")
    assert (moved.image.device.type, moved.epoch, moved.positions) == ("meta", 3, [4, 5])
