"""Row by row back to the scan's grid, beside torch's interpolation of the whole volume."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from medcnn.inference import restore
from medcnn.inference.restore import position, restored

CASES = [
    ((9, 7, 8), (9, 7, 8)),
    ((9, 7, 8), (14, 11, 8)),
    ((9, 7, 8), (31, 7, 3)),
    ((20, 7, 8), (9, 9, 9)),
    ((20, 5, 5), (2, 6, 6)),
    ((5, 1, 6), (11, 1, 9)),
    ((1, 6, 6), (4, 9, 9)),
    ((6, 6, 6), (1, 4, 4)),
    ((7, 3, 3), (40, 3, 3)),
]


def whole(volume: Tensor, shape: tuple[int, ...]) -> Tensor:
    return interpolate(volume[None], size=shape, mode="trilinear", align_corners=False)[0]


@pytest.mark.parametrize(("size", "shape"), CASES)
@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_equals_interpolation_of_the_whole_volume(
    size: tuple[int, ...], shape: tuple[int, ...], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    for chunk in (1, 2**20):
        monkeypatch.setattr(restore, "_CHUNK_BYTES", chunk)
        found, begun = [], 0
        for first, part in restored(torch.split(volume, rows, dim=1), size, shape):
            assert first == begun
            found.append(part.clone())
            begun += part.shape[1]
        torch.testing.assert_close(torch.cat(found, dim=1), whole(volume.double(), shape).float(), rtol=0, atol=2e-6)


def test_rows_are_handed_on_before_the_last_has_come() -> None:
    seen = 0

    def coming() -> object:
        nonlocal seen
        for row in torch.split(torch.rand(1, 10, 4, 4), 1, dim=1):
            seen += 1
            yield row

    first_row, rows = next(iter(restored(coming(), (10, 4, 4), (20, 4, 4))))  # type: ignore[arg-type]
    assert (first_row, seen) == (0, 2)  # rows 0 to 2 of 20 lie before the second of 10
    assert rows.shape[1] == 3


def test_positions_keep_the_outer_edges() -> None:
    assert position(0, 10, 20) == 0  # -0.25, clamped
    assert position(19, 10, 20) == 9
    assert position(2, 10, 20) == pytest.approx(0.75)
    assert position(0, 20, 10) == pytest.approx(0.5)
