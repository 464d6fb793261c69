"""Series that hold several volumes: refused by default, and taken apart by what tells the volumes apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medcnn.io.discover import Found, discover
from medcnn.io.read import read_scan, source_files
from medcnn.scan import Reason, Rejection, Scan

Write = Callable[..., Path]
Rejected = Callable[..., Rejection]


def found_in(folder: Path, *keys: str) -> list[Found]:
    found = list(discover(folder, split_by=keys))
    assert all(isinstance(item, Found) for item in found)
    return [item for item in found if isinstance(item, Found)]


def scans_of(folder: Path, *keys: str) -> dict[str, Scan]:
    return {item.reference: read_scan(folder, item.reference) for item in found_in(folder, *keys)}


@pytest.fixture
def twice(write_series: Write, phantom: np.ndarray) -> Callable[..., Path]:
    """One series with two volumes at the same places; the second one has 1000 added, and says `second` of itself."""

    def write(first: dict[str, Any], second: dict[str, Any], *, numbered: bool = True) -> Path:
        both = np.concatenate([phantom, phantom + 1000], axis=2)

        def change(number: int, data: Dataset) -> None:
            turn, place = divmod(number, phantom.shape[2])
            data.ImagePositionPatient = [-10, -20, 30 + 2.5 * place]
            data.InstanceNumber = number + 1 if numbered else 1
            for keyword, value in (second if turn else first).items():
                setattr(data, keyword, value)

        return write_series(both, change=change)

    return write


KINDS: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    ("time", {"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}, ["1", "2"]),
    ("time", {"AcquisitionNumber": 3}, {"AcquisitionNumber": 12}, ["3", "12"]),
    ("time", {"TriggerTime": 0}, {"TriggerTime": 43.5}, ["0", "43.5"]),
    ("time", {}, {}, ["1", "2"]),  # nothing but the order of the instance numbers
    ("echo", {"EchoTime": 4.6}, {"EchoTime": 30}, ["4.6", "30"]),
    ("echo", {"EchoNumbers": 1}, {"EchoNumbers": 2}, ["1", "2"]),
    ("b_value", {"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}, ["0", "1000"]),
    ("image_type", {"ImageType": ["ORIGINAL", "M"]}, {"ImageType": ["ORIGINAL", "P"]}, ["ORIGINAL/M", "ORIGINAL/P"]),
]


@pytest.mark.case("V17")
@pytest.mark.parametrize(("key", "first", "second", "values"), KINDS)
def test_repeated_positions_are_refused_with_the_values_and_split_by_them(
    key: str,
    first: dict[str, Any],
    second: dict[str, Any],
    values: list[str],
    twice: Callable[..., Path],
    rejected: Rejected,
    phantom: np.ndarray,
) -> None:
    folder = twice(first, second)
    refused = rejected(folder)
    assert refused.code is Reason.FOUR_D_AMBIGUOUS
    assert f"{key}: {', '.join(values)}" in refused.found
    assert f"#{key}={values[0]}" in refused.remedy
    scans = scans_of(folder, key)
    assert list(scans) == [f".#{key}={value}" for value in values]
    for plus, scan in zip((0, 1000), scans.values(), strict=True):
        assert np.array_equal(scan.voxels[0], phantom + plus)
        assert scan.facts[key] in values
    one, two = scans.values()
    assert one.geometry is not None
    assert two.geometry is not None
    assert one.geometry.corner_distance_mm(two.geometry) == 0
    assert one.identity != two.identity
    assert len({item.identity for item in found_in(folder, key)}) == 2


def test_a_key_that_tells_nothing_apart_splits_nothing(
    twice: Callable[..., Path], write_series: Write, phantom: np.ndarray
) -> None:
    plain = write_series(phantom, folder="plain")
    assert [item.reference for item in found_in(plain, "time", "echo", "orientation")] == ["."]
    both = twice({"EchoTime": 4.6}, {"EchoTime": 30})
    assert [item.reference for item in found_in(both, "b_value")] == ["."]


@pytest.mark.case("V06")
def test_instance_numbers_that_repeat_tell_no_time(twice: Callable[..., Path], rejected: Rejected) -> None:
    assert rejected(twice({}, {}, numbered=False)).code is Reason.SLICE_DUPLICATE


def test_a_part_that_is_not_there_is_refused_with_what_is(twice: Callable[..., Path], rejected: Rejected) -> None:
    folder = twice({"EchoTime": 4.6}, {"EchoTime": 30})
    refused = rejected(folder, "#echo=99")
    assert refused.code is Reason.READ_ERROR
    assert "echo=4.6; echo=30" in refused.remedy


@pytest.mark.case("V17")
def test_two_keys_at_once(write_series: Write, phantom: np.ndarray) -> None:
    four = np.concatenate([phantom + 1000 * number for number in range(4)], axis=2)

    def change(number: int, data: Dataset) -> None:
        volume, place = divmod(number, phantom.shape[2])
        data.ImagePositionPatient = [-10, -20, 30 + 2.5 * place]
        data.EchoTime, data.TemporalPositionIdentifier = (5, 9)[volume % 2], volume // 2 + 1

    folder = write_series(four, change=change)
    scans = scans_of(folder, "time", "echo")
    assert list(scans) == [f".#echo={echo}&time={time}" for echo in (5, 9) for time in (1, 2)]
    for (echo, time), scan in zip([(0, 0), (0, 1), (1, 0), (1, 1)], scans.values(), strict=True):
        assert np.array_equal(scan.voxels[0], phantom + 1000 * (echo + 2 * time))


@pytest.mark.case("V08")
def test_radial_slices_become_pictures_on_request(series_folder: Path, rejected: Rejected) -> None:
    folder = series_folder / "98892003" / "MR700"
    assert rejected(folder).code is Reason.ORIENTATION_INCONSISTENT
    scans = scans_of(folder, "orientation")
    assert len(scans) == 7
    theirs = [pydicom.dcmread(path).pixel_array for path in sorted(folder.iterdir())]
    assert all(any(np.array_equal(scan.voxels[0], picture) for picture in theirs) for scan in scans.values())
    assert len({scan.voxels.tobytes() for scan in scans.values()}) == len({picture.tobytes() for picture in theirs})


def test_two_orientations_become_two_volumes(write_series: Write, phantom: np.ndarray) -> None:
    both = np.concatenate([phantom, phantom + 1000], axis=2)

    def change(number: int, data: Dataset) -> None:
        turn, place = divmod(number, phantom.shape[2])
        data.ImageOrientationPatient = [0, 1, 0, 0, 0, -1] if turn else [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [2.5 * place, 0, 0] if turn else [0, 0, 2.5 * place]

    scans = scans_of(write_series(both, change=change), "orientation")
    axial, sagittal = scans[".#orientation=1"], scans[".#orientation=2"]
    assert np.array_equal(axial.voxels[0], phantom)
    assert np.array_equal(sagittal.voxels[0], (phantom + 1000)[:, :, ::-1])  # slices run against the normal here


def test_the_source_of_a_part_is_its_series(twice: Callable[..., Path]) -> None:
    folder = twice({"EchoTime": 4.6}, {"EchoTime": 30})
    assert source_files(folder, ".#echo=30") == sorted(folder.iterdir())
