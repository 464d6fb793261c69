"""Arrays that are mapped from one file: exactly what was written, and never believed when damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medcnn.data.cache import Cache
from medcnn.data.mapped import Arrays

GIVEN = Arrays(
    {"said": ["a", 1.5, None]},
    {
        "image": np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32),
        "target": np.asfortranarray(np.arange(21, dtype=np.uint8).reshape(3, 7)),
        "none": np.zeros(0, np.uint32),
        "wide": np.arange(4, dtype=np.uint64),
    },
)


def file_of(folder: Path) -> Path:
    (found,) = [path for path in folder.glob("??/*") if path.is_file()]
    return found


@pytest.mark.parametrize("again", [False, True], ids=["same process", "another"])
def test_what_was_written_comes_back(tmp_path: Path, again: bool) -> None:
    cache = Cache(tmp_path)
    cache.write_arrays("ab" * 32, GIVEN)
    found = (Cache(tmp_path) if again else cache).read_arrays("ab" * 32)
    assert found is not None
    assert (found.head, list(found.arrays)) == (GIVEN.head, list(GIVEN.arrays))
    for name, array in GIVEN.arrays.items():
        assert (found.arrays[name].dtype, found.arrays[name].shape) == (array.dtype, array.shape)
        assert np.array_equal(found.arrays[name], array)
        assert not found.arrays[name].flags.writeable
        assert found.arrays[name].ctypes.data % 64 == 0
    assert (Cache(tmp_path).size_bytes(), len(list(cache.entries()))) == (file_of(tmp_path).stat().st_size, 1)


def test_none_is_none(tmp_path: Path) -> None:
    assert Cache(tmp_path).read_arrays("ab" * 32) is None


@pytest.mark.parametrize("where", [0, 20, 40, 200, -40, -1])
def test_one_changed_byte_is_noticed_the_first_time_it_is_opened(tmp_path: Path, where: int) -> None:
    Cache(tmp_path).write_arrays("ab" * 32, GIVEN)
    path = file_of(tmp_path)
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(bytes(content))
    assert Cache(tmp_path).read_arrays("ab" * 32) is None
    assert not path.exists()


@pytest.mark.parametrize("kept", [0, 10, 30, 100, 300])
def test_a_file_that_lost_its_end_is_none_even_when_it_was_trusted(tmp_path: Path, kept: int) -> None:
    cache = Cache(tmp_path)
    cache.write_arrays("ab" * 32, GIVEN)
    path = file_of(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    assert cache.read_arrays("ab" * 32) is None


def test_views_outlive_the_file(tmp_path: Path) -> None:
    """Another process may shrink the cache under a training."""
    cache = Cache(tmp_path)
    cache.write_arrays("ab" * 32, GIVEN)
    found = cache.read_arrays("ab" * 32)
    cache.clear()
    assert found is not None
    assert np.array_equal(found.arrays["image"], GIVEN.arrays["image"])
    assert cache.read_arrays("ab" * 32) is None


def test_further_steps_have_keys_of_their_own(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    keys = {cache.derived_key(key, {"spacing_mm": [edge]}) for key in ("a", "b") for edge in (1.0, 2.0)}
    assert len(keys) == 4
    assert cache.derived_key("a", {"x": 1, "y": 2}) == cache.derived_key("a", {"y": 2, "x": 1})
