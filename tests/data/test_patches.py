"""Patches in an order that is a pure function of (seed, epoch, position), exactly cut, and where they should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import pytest
import torch

from medcnn.data.patches import PatchBatch, PatchBatches, PatchOrder, PatchShape


@dataclass
class OneCase:
    """Every voxel says which case it is of and where it lies, and the target is 1 + that place in every 50th."""

    image: np.ndarray
    target: np.ndarray


@dataclass
class MadeCases:
    """Case n of the given sizes: image = n + 1000 * flattened place + 1 in channel 0, its negative in channel 1."""

    sizes: list[tuple[int, ...]]
    foreground: list[tuple[np.ndarray, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.made = []
        for number, size in enumerate(self.sizes):
            places = np.arange(np.prod(size)).reshape(size)
            image = (1 + places)[None].astype(np.float32)
            labels = (places % 50 == 7).astype(np.uint8) + 2 * (places % 50 == 11).astype(np.uint8)
            self.made.append(OneCase(np.concatenate([image, np.full_like(image, number)]), labels[None]))
            own = tuple(np.flatnonzero(labels == kind).astype(np.uint32) for kind in (1, 2, 3))  # no voxel is a 3
            self.foreground.append(own)

    def __getitem__(self, index: int, /) -> OneCase:
        return self.made[index]

    def __len__(self) -> int:
        return len(self.made)


SIZES = [(20, 16, 12), (14, 18, 10), (9, 30, 11), (16, 16, 16), (8, 8, 8)]
CASES = MadeCases(SIZES)
ORDER = PatchOrder(len(SIZES), 4, seed=3, patches_per_case=8)
SHAPE = PatchShape((8, 8, 8))


def batches(
    order: PatchOrder = ORDER, shape: PatchShape = SHAPE, *, cases: MadeCases = CASES, epoch: int = 0, first: int = 0,
    last: int | None = None, workers: int = 0, **ranks: int,
) -> list[PatchBatch]:  # fmt: skip
    made = PatchBatches(cases, order, shape, workers=workers)
    return list(made.loader(epoch, first, order.batches_per_epoch() if last is None else last, **ranks))


def shown(found: Sequence[PatchBatch]) -> dict[int, bytes]:
    """Position -> the patch and its target, as bytes."""
    return {
        position: batch.image[row].numpy().tobytes() + batch.target[row].numpy().tobytes()
        for batch in found
        for row, position in enumerate(batch.positions)
    }


def where(batch: PatchBatch, row: int, cases: MadeCases = CASES) -> tuple[int, tuple[int, ...]]:
    """The case of a patch that lies within it, and its first voxel."""
    case = int(batch.image[row, 1].max())
    place = int(batch.image[row, 0].flatten()[0]) - 1
    return case, tuple(int(index) for index in np.unravel_index(place, cases.sizes[case]))


def test_shapes_types_and_places() -> None:
    found = batches()
    assert [batch.positions for batch in found] == [list(range(4 * n, 4 * n + 4)) for n in range(10)]
    for batch in found:
        assert (batch.image.shape, batch.image.dtype) == ((4, 2, 8, 8, 8), torch.float32)
        assert (batch.target.shape, batch.target.dtype) == ((4, 1, 8, 8, 8), torch.uint8)
        assert batch.epoch == 0


def test_a_patch_is_what_lies_at_its_place_in_image_and_target() -> None:
    for batch in batches():
        for row in range(4):
            case, start = where(batch, row)
            part = tuple(slice(first, first + 8) for first in start)
            assert np.array_equal(batch.image[row].numpy(), CASES[case].image[(slice(None), *part)])
            assert np.array_equal(batch.target[row].numpy(), CASES[case].target[(slice(None), *part)])


def test_every_case_comes_once_before_any_comes_again() -> None:
    cases = [where(batch, row)[0] for batch in batches() for row in range(4)]
    for turn in range(8):
        assert sorted(cases[5 * turn : 5 * turn + 5]) == [0, 1, 2, 3, 4]
    assert len({tuple(cases[5 * turn : 5 * turn + 5]) for turn in range(8)}) > 1


def test_the_same_position_is_the_same_patch_whatever_the_batch_and_the_ranks() -> None:
    whole = shown(batches())
    assert len(whole) == 40
    for size in (5, 8, 10):
        assert shown(batches(replace(ORDER, batch_patches=size))) == whole
    for ranks in (2, 3):
        parts = [shown(batches(rank=rank, ranks=ranks)) for rank in range(ranks)]
        assert dict(chain.from_iterable(part.items() for part in parts)) == whole
        assert sum(map(len, parts)) == 40
    assert shown(batches(epoch=1)) != whole
    assert shown(batches(replace(ORDER, seed=4))) != whole


def test_a_resumed_epoch_is_the_tail_of_the_whole() -> None:
    whole = shown(batches(epoch=5))
    resumed = shown(batches(epoch=5, first=7))
    assert sorted(resumed) == list(range(28, 40))
    assert resumed == {position: whole[position] for position in resumed}
    assert shown(batches(epoch=5, first=7, last=9, workers=1)) == {n: whole[n] for n in range(28, 36)}


def test_the_global_generators_decide_nothing() -> None:
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    first = shown(batches())
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    assert shown(batches()) == first


@pytest.mark.parametrize(
    ("share", "size", "expected"),
    [(1 / 3, 2, 1), (1 / 3, 3, 1), (1 / 3, 6, 2), (0.5, 4, 2), (0.01, 4, 1), (1.0, 4, 4), (0.0, 4, 0), (1.0, 1, 1)],
)
def test_every_batch_has_its_share_of_patches_around_a_structure(share: float, size: int, expected: int) -> None:
    order = PatchOrder(5, size, 0, patches_per_case=60, foreground_share=share)
    counts = {
        sum(order.seeks_structure(position) for position in range(start, start + size)) for start in range(0, 300, size)
    }
    assert counts == {expected}


def test_batches_of_one_patch_keep_the_share_over_time() -> None:
    order = PatchOrder(5, 1, 0, foreground_share=1 / 3)
    assert [order.seeks_structure(position) for position in range(6)] == [False, False, True] * 2


def test_those_patches_are_centred_on_a_structure_as_far_as_the_scan_goes() -> None:
    order = replace(ORDER, foreground_share=1.0)
    kinds = []
    for batch in (found for epoch in range(20) for found in batches(order, epoch=epoch)):
        for row in range(4):
            case, start = where(batch, row)
            size, labels = SIZES[case], CASES[case].target[0]
            if case == 4:
                assert start == (0, 0, 0)
                continue
            centre = [first + 4 for first in start]
            window = tuple(  # at an end of the scan, the voxel may lie beside the middle
                slice(0 if c == 4 else c, n if c == n - 4 else c + 1) for c, n in zip(centre, size, strict=True)
            )
            assert labels[window].any()
            if all(4 < c < n - 4 for c, n in zip(centre, size, strict=True)):
                kinds.append(int(labels[tuple(centre)]))
    assert set(kinds) == {1, 2}
    assert kinds.count(1) / len(kinds) == pytest.approx(0.5, abs=0.1)


def test_a_case_without_structures_gives_uniform_patches() -> None:
    empty = MadeCases([(20, 20, 20)])
    empty.foreground[0] = (np.zeros(0, np.uint32),) * 3
    order = PatchOrder(1, 4, 0, patches_per_case=200, foreground_share=1.0)
    found = batches(order, cases=empty)
    starts = np.array([where(batch, row, empty)[1] for batch in found for row in range(4)])
    assert len(starts) == 200
    for axis in range(3):  # 13 positions, each as likely
        assert set(starts[:, axis]) == set(range(13))
        assert starts[:, axis].mean() == pytest.approx(6, abs=1)


def test_every_voxel_can_be_reached() -> None:
    size = (10, 13, 9)
    made = MadeCases([size])
    seen = np.zeros(np.prod(size), bool)
    order = PatchOrder(1, 10, 0, patches_per_case=600, foreground_share=0.0)
    for batch in batches(order, PatchShape((4, 4, 4)), cases=made):
        seen[(batch.image[:, 0].numpy().astype(int) - 1).ravel()] = True
    assert seen.all()


def test_a_margin_brings_in_what_is_there_and_zeros_beyond() -> None:
    for batch in batches(shape=PatchShape((8, 8, 8), (2, 0, 3))):
        assert batch.image.shape[2:] == (12, 8, 14)
        for row in range(4):
            case, start = where(PatchBatch(batch.image[:, :, 2:-2, :, 3:-3], batch.target, 0, batch.positions), row)
            low = np.array(start) - (2, 0, 3)
            pads = [(30, 30)] * 3
            for made, whole in ((batch.image, CASES[case].image), (batch.target, CASES[case].target)):
                padded = np.pad(whole, [(0, 0), *pads])
                part = tuple(slice(first + 30, first + 30 + n) for first, n in zip(low, (12, 8, 14), strict=True))
                assert np.array_equal(made[row].numpy(), padded[(slice(None), *part)])
    inner = shown([replace_image(batch) for batch in batches(shape=PatchShape((8, 8, 8), (2, 0, 3)))])
    assert inner == shown(batches())  # a margin moves no patch


def replace_image(batch: PatchBatch) -> PatchBatch:
    """Without the margin of (2, 0, 3)."""
    image, target = (part[:, :, 2:-2, :, 3:-3].contiguous() for part in (batch.image, batch.target))
    return PatchBatch(image, target, batch.epoch, batch.positions)


@pytest.mark.parametrize(("jitter", "starts"), [(0, {-4}), (2, {-6, -5, -4, -3, -2}), (50, set(range(-8, 1)))])
def test_a_scan_smaller_than_the_patch_lies_in_its_middle_or_near_it_and_whole(jitter: int, starts: set[int]) -> None:
    made = MadeCases([(8, 20, 5)])
    order = PatchOrder(1, 4, 0, patches_per_case=120, foreground_share=0.5)
    found: set[int] = set()
    for batch in batches(order, PatchShape((16, 8, 5), jitter_vox=jitter), cases=made):
        for patch, target in zip(batch.image.numpy(), batch.target.numpy(), strict=True):
            rows = np.flatnonzero(patch[0].any(axis=(1, 2)))
            assert np.array_equal(rows, np.arange(rows[0], rows[0] + 8))  # all of it, and zeros around
            assert not target[0][np.setdiff1d(np.arange(16), rows)].any()
            found.add(-int(rows[0]))
    assert found == starts


def test_an_odd_rest_lies_before_the_scan() -> None:
    made = MadeCases([(3, 3)])
    (batch,) = batches(PatchOrder(1, 2, 0), PatchShape((4, 6)), cases=made)
    rows, columns = batch.image[0, 0].numpy().nonzero()
    assert (rows.min(), columns.min()) == (1, 2)


@pytest.mark.parametrize("across", [0, 1, 2])
def test_slices_of_volumes(across: int) -> None:
    order = replace(ORDER, foreground_share=0.5)
    shape = PatchShape((8, 10), (1, 0), across=across)
    seen = set()
    for batch in batches(order, shape):
        assert (batch.image.shape, batch.target.shape) == ((4, 2, 10, 10), (4, 1, 10, 10))
        for row, position in enumerate(batch.positions):
            case = int(batch.image[row, 1].max())
            middle = batch.image[row, 0].numpy()
            at = np.argwhere(middle)[0]
            place = np.unravel_index(int(middle[tuple(at)]) - 1, SIZES[case])
            level = CASES[case].image[0].take(place[across], axis=across)
            inside = middle[middle > 0]
            assert np.isin(inside, level).all()  # one slice, and nothing of its neighbours
            seen.add(int(place[across]))
            if order.seeks_structure(position):
                assert CASES[case].target[0].take(place[across], axis=across).any()
    assert len(seen) > 3


def test_pictures() -> None:
    made = MadeCases([(30, 24), (8, 40)])
    order = PatchOrder(2, 3, 1, patches_per_case=9)
    for batch in batches(order, PatchShape((12, 12), (4, 4)), cases=made):
        assert (batch.image.shape, batch.target.shape) == ((3, 2, 20, 20), (3, 1, 20, 20))


def test_fewer_patches_than_a_batch_fill_it_again() -> None:
    (batch,) = batches(PatchOrder(2, 5, 0), cases=MadeCases([(9, 9, 9), (10, 10, 10)]))
    cases = batch.image[:, 1].amax(dim=(1, 2, 3)).int().tolist()
    assert (len(cases), set(cases)) == (5, {0, 1})
    (batch,) = batches(PatchOrder(1, 2, 0), cases=MadeCases([(9, 9, 9)]))  # one case trains
    assert len(batch.image) == 2
    assert PatchOrder(10, 4, 0).batches_per_epoch() == 2  # all full; the rest waits for another epoch


def test_a_rank_without_a_patch_takes_the_last() -> None:
    order = PatchOrder(5, 2, 0)
    parts = [batches(order, rank=rank, ranks=3) for rank in range(3)]
    assert [[batch.positions for batch in part] for part in parts] == [[[0], [2]], [[1], [3]], [[1], [3]]]


def test_a_batch_moves_with_its_places() -> None:
    moved = PatchBatch(torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2, dtype=torch.uint8), 3, [4, 5]).to("meta")
    assert (moved.image.device.type, moved.target.device.type, moved.epoch, moved.positions) == (
        "meta",
        "meta",
        3,
        [4, 5],
    )


def test_a_margin_for_each_axis() -> None:
    with pytest.raises(ValueError, match="a margin for each axis"):
        PatchShape((8, 8, 8), (1, 1))
