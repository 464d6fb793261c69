"""Members and passes speak with one voice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medcnn.errors import UserError
from medcnn.inference.ensemble import Ensemble, at_rest, single_value
from medcnn.inference.mask_rule import MaskRule
from medcnn.inference.passes import Pass, all_passes
from medcnn.inference.tile_memory import bytes_per_tile, tiles_that_fit

CPU = torch.device("cpu")
TWO = MaskRule(("left", "right"))
BOTH = MaskRule(("whole", "core"), overlapping=True)


class Counted(nn.Module):
    """A convolution that counts what it is shown, and runs out of memory above a limit."""

    def __init__(self, outputs: int, limit: int = 1000, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.convolution = nn.Conv3d(1, outputs, 3, padding=1)
        self.limit, self.batches = limit, list[int]()

    def forward(self, image: Tensor) -> Tensor:
        if len(image) > self.limit:
            raise torch.OutOfMemoryError
        self.batches.append(len(image))
        answer: Tensor = self.convolution(image)
        return answer


def tiles(count: int, seed: int = 0) -> list[Tensor]:
    return list(torch.randn(count, 1, 6, 5, 4, generator=torch.Generator().manual_seed(seed)))


def mirrors(*axes: int, swaps: tuple[tuple[int, int], ...] = (), shifts: int = 0) -> list[Pass]:
    return all_passes(
        mirror_axes=axes, swaps=swaps, num_structures=2, left_right=0, shift_axes=(0, 1, 2), shifts=shifts
    )


def ensemble(
    networks: list[nn.Module], rule: MaskRule = TWO, passes: list[Pass] | None = None, **more: object
) -> Ensemble:
    return Ensemble(networks, rule, passes or [Pass()], CPU, more.pop("inputs_at_once", 4), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", [TWO, BOTH])
def test_an_ensemble_of_one_is_the_model(rule: MaskRule) -> None:
    network = Counted(rule.num_logits)
    with torch.no_grad():
        logits = network(torch.stack(tiles(3)))
    expected = logits.sigmoid() if rule.overlapping else logits.softmax(dim=1)[:, 1:]
    assert torch.equal(torch.stack(ensemble([network], rule)(tiles(3))), expected)


def test_two_equal_members_are_one() -> None:
    network = Counted(3)
    assert torch.equal(*(torch.stack(ensemble([network] * n)(tiles(5))) for n in (1, 2)))


def test_members_are_averaged_as_probabilities() -> None:
    one, other = Counted(3, seed=0), Counted(3, seed=1)
    alone = [torch.stack(ensemble([network])(tiles(2))) for network in (one, other)]
    torch.testing.assert_close(torch.stack(ensemble([one, other])(tiles(2))), sum(alone) / 2)


def test_mirroring_by_hand() -> None:
    network, tile = Counted(3), tiles(1)[0]
    with torch.no_grad():
        said = [network(tile.flip(dims)[None])[0].softmax(dim=0)[1:].flip(dims) for dims in ([], [1], [3], [1, 3])]
    torch.testing.assert_close(ensemble([network], passes=mirrors(0, 2))([tile])[0], torch.stack(said).mean(dim=0))


def test_a_network_that_mirrors_with_its_input_gains_nothing_by_mirroring() -> None:
    network = Counted(3)
    weight = network.convolution.weight.data
    ways: tuple[list[int], ...] = ([], [2], [3], [4], [2, 3], [2, 4], [3, 4], [2, 3, 4])
    symmetric = torch.stack([weight.flip(dims) for dims in ways]).mean(dim=0)
    network.convolution.weight.data = symmetric
    plain, mirrored = (ensemble([network], passes=passes)(tiles(2)) for passes in (mirrors(), mirrors(0, 1, 2)))
    torch.testing.assert_close(torch.stack(plain), torch.stack(mirrored), rtol=0, atol=1e-6)


def test_left_and_right_change_places_only_with_the_left_right_axis() -> None:
    tile = torch.zeros(1, 4, 3, 2)
    tile[:, :2] = 1  # the left half

    class Sides(nn.Module):
        """Calls what is bright on the low side left, on the high side right: by position, as trained on one body."""

        def forward(self, image: Tensor) -> Tensor:
            low = torch.arange(image.shape[2]).view(1, 1, -1, 1, 1) < image.shape[2] / 2
            return torch.cat([torch.zeros_like(image), 9 * image * low, 9 * image * ~low], dim=1)

    plain = ensemble([Sides()])([tile])[0]
    swapped = ensemble([Sides()], passes=mirrors(0, 1, swaps=((1, 2),)))([tile])[0]
    torch.testing.assert_close(plain, swapped)
    moments = ensemble([Sides()], passes=mirrors(0, 1, swaps=((1, 2),)), moments=True)([tile])[0]
    torch.testing.assert_close(moments[:2], plain)
    torch.testing.assert_close(moments[2], plain.sum(dim=0))
    wrong = ensemble([Sides()], passes=mirrors(0, 1))([tile])[0]
    assert (wrong - plain).abs().max() > 0.4


def test_shifts_go_there_and_back() -> None:
    passes = mirrors(shifts=2)
    assert [each.shift for each in passes] == [None, (2, -1), (2, 1)]
    tile = tiles(1)[0]
    for each in mirrors(0, 2, shifts=6):
        back = each.back(each.there(tile))
        torch.testing.assert_close(back[:, 1:-1, 1:-1, 1:-1], tile[:, 1:-1, 1:-1, 1:-1])
    assert len(mirrors(0, 2, shifts=6)) == 4 * 7


def test_tiles_and_passes_share_a_forward_batch() -> None:
    network = Counted(3)
    ensemble([network], passes=mirrors(0, 1), inputs_at_once=6)(tiles(3))
    assert network.batches == [6, 6]


def test_constant_tiles_are_computed_once_and_change_nothing() -> None:
    network = Counted(3)
    mixed = [tiles(1)[0], torch.zeros(1, 6, 5, 4), torch.zeros(1, 6, 5, 4), tiles(1, seed=1)[0]]
    together = ensemble([network])
    found = together(mixed) + together(mixed[1:2])
    assert network.batches == [3]
    with torch.no_grad():
        each = network(torch.stack([*mixed, mixed[1]])).softmax(dim=1)[:, 1:]
    torch.testing.assert_close(torch.stack(found), each)


def test_single_values() -> None:
    assert single_value(torch.full((2, 3, 3), 0.5)) == (0.5, 0.5)
    assert single_value(torch.cat([torch.zeros(1, 3, 3), torch.rand(1, 3, 3)])) is None


def test_when_memory_is_full_the_batch_is_halved_and_it_goes_on() -> None:
    network, plenty = Counted(3, limit=2), Counted(3)
    tight = ensemble([network], inputs_at_once=8)
    torch.testing.assert_close(torch.stack(tight(tiles(8))), torch.stack(ensemble([plenty])(tiles(8))))
    assert network.batches == [2, 2, 2, 2]
    with pytest.raises(UserError, match="too small for one tile"):
        ensemble([Counted(3, limit=0)])(tiles(1))


def test_bf16_networks_give_float32_probabilities() -> None:
    network = Counted(3)
    full, half = (torch.stack(ensemble([network], precision=word)(tiles(2))) for word in ("32", "bf16"))
    assert half.dtype == torch.float32
    assert 0 < (full - half).abs().max() < 0.02


def test_moments_are_of_the_foreground() -> None:
    one, other = Counted(3, seed=0), Counted(3, seed=1)
    said = np.stack([torch.stack(ensemble([network])(tiles(2))).sum(dim=1).numpy() for network in (one, other)])
    found = torch.stack(ensemble([one, other], moments=True)(tiles(2))).numpy()
    np.testing.assert_allclose(found[:, 2], said.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found[:, 3] - found[:, 2] ** 2, said.var(axis=0), atol=1e-6)


def test_networks_are_as_they_were_afterwards() -> None:
    training, resting = Counted(3).train(), Counted(3).eval()
    modes = []
    with at_rest([training, resting]):
        modes.append((training.training, resting.training))
    modes.append((training.training, resting.training))
    assert modes == [(False, False), (True, False)]


def test_memory_of_a_tile_is_that_of_the_largest_layer_twice() -> None:
    network = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.Conv3d(8, 2, 3, padding=1))
    assert bytes_per_tile(network, (1, 10, 10, 10), (1, 1, 1), CPU) == (8 + 2) * 1000 * 4 * 2
    assert bytes_per_tile(network, (1, 40, 40, 40), (4, 4, 4), CPU) == (8 + 2) * 64000 * 4 * 2  # seen on 16 a side
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(8000, 2))  # takes no other size
    assert bytes_per_tile(fixed, (1, 20, 20, 20), (1, 1, 1), CPU) == (8000 + 8000) * 4 * 2
    assert tiles_that_fit(80_000, 1, 32, CPU) == 13
    assert tiles_that_fit(80_000, 1, 4, CPU) == 4
    assert tiles_that_fit(10**9, 1, 4, CPU) == 1
