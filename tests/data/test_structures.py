"""From the values of mask files to targets, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medcnn.config.data import DataConf
from medcnn.config.fields import all_problems
from medcnn.data.structures import IGNORED, Structures
from medcnn.errors import DataError
from medcnn.scan import ScanRejected


def conf(**settings: Any) -> DataConf:
    return DataConf(name="mine", root="/data", **settings)


def of(structures: dict[str, list[int]], **settings: Any) -> Structures:
    return Structures.of(conf(structures=structures, **settings), {}, [], [""])


def test_exclusive_structures_become_class_numbers_in_the_order_of_the_names() -> None:
    made = of({"liver": [3], "kidneys": [1, 7]})
    labels = np.array([[0, 1, 3], [7, 3, 0]])
    target = made.target(labels)
    assert (target.dtype, target.shape) == (np.uint8, (1, 2, 3))
    assert target[0].tolist() == [[0, 2, 1], [2, 1, 0]]
    assert made.labels(target[0]).tolist() == [[0, 1, 3], [1, 3, 0]]  # 7 is written as the kidneys' first value
    assert (made.num_planes, made.overlapping) == (1, False)


def test_structures_that_share_values_are_planes_of_their_own() -> None:
    made = of({"whole": [1, 2], "core": [2]})
    target = made.target(np.array([0, 1, 2]))
    assert target.tolist() == [[0, 1, 1], [0, 0, 1]]
    assert made.overlapping
    with pytest.raises(ValueError, match="no label map"):
        made.labels(target)


@pytest.mark.parametrize("structures", [{"a": [1]}, {"whole": [1, 2], "core": [2]}])
def test_what_nobody_judged_is_ignored_in_every_plane(structures: dict[str, list[int]]) -> None:
    target = of(structures, ignore_labels=[9]).target(np.array([0, 9, 1]))
    assert (target[:, 1] == IGNORED).all()
    assert target[0].tolist() == [0, IGNORED, 1]


def test_values_that_mean_nothing_here_can_be_background() -> None:
    made = of({"background": [0, 4], "tumour": [2]})
    assert made.names == ("tumour",)
    assert made.target(np.array([0, 4, 2])).tolist() == [[0, 0, 1]]


def test_unknown_values_are_told_with_their_numbers_and_the_known_ones() -> None:
    made = of({"a": [1], "b": [2]})
    for values, told in (([0, 5, 5, 1], "5 (2 voxels)"), ([0, -3], "-3 (1 voxels)"), ([70_000], "70000 (1 voxels)")):
        with pytest.raises(ScanRejected) as caught:
            made.target(np.array(values))
        rejection = caught.value.rejection
        assert (rejection.code.value, told in rejection.found) == ("LABEL_VALUES", True)
        assert "known are 0, 1, 2" in rejection.found
    with pytest.raises(ScanRejected, match="and 90 more"):
        made.target(np.arange(3, 103))


def test_a_layouts_own_codes_stand_in_for_the_config() -> None:
    codes = {"background": (0,), "back": (2,), "front": (1,), "ignore": (3,)}
    made = Structures.of(conf(), codes, ["front", "back"], [""])
    assert (made.names, made.ignore, made.background) == (("front", "back"), (3,), (0,))
    assert made.target(np.array([0, 1, 2, 3])).tolist() == [[0, 1, 2, IGNORED]]
    asked = Structures.of(conf(structures={"all": [1, 2]}), codes, ["front", "back"], [""])
    assert asked.names == ("all",)


def test_a_mask_for_each_structure() -> None:
    made = Structures.of(conf(), {}, [], ["lung", "heart"])
    assert (made.names, made.overlapping) == (("lung", "heart"), True)
    assert made.own_plane("lung", np.array([0, 255, 0])).tolist() == [0, 1, 0]
    with pytest.raises(ScanRejected, match="LABEL_VALUES"):
        made.own_plane("lung", np.array([0, 1, 2]))  # a label map where a mask belongs
    fussy = Structures.of(conf(structures={"heart": [1, 2]}, ignore_labels=[9]), {}, [], ["lung", "heart"])
    assert fussy.names == ("heart",)
    assert fussy.own_plane("heart", np.array([0, 1, 2, 9])).tolist() == [0, 1, 1, IGNORED]
    with pytest.raises(ScanRejected, match="LABEL_VALUES"):
        fussy.own_plane("heart", np.array([0, 3]))
    with pytest.raises(DataError, match=r"no column mask\.hart, it has mask\.lung, mask\.heart\. Did you mean heart"):
        Structures.of(conf(structures={"hart": [1]}), {}, [], ["lung", "heart"])


def test_codes_must_name_a_structure() -> None:
    assert of({"lung": [1]}, class_codes={"lung": "39607008"}).codes == {"lung": "39607008"}
    with pytest.raises(DataError, match=r"no structure 'long'.*Did you mean lung"):
        of({"lung": [1]}, class_codes={"long": "39607008"})


def test_no_structure_or_too_many() -> None:
    with pytest.raises(DataError, match="0 structures"):
        Structures.of(conf(), {}, [], [""])
    with pytest.raises(DataError, match="255 structures"):
        of({f"s{number}": [number] for number in range(1, 256)})
    with pytest.raises(DataError, match="value 2000000"):
        Structures.of(conf(), {"a": (2_000_000,)}, ["a"], [""])


def test_all_253_fit_into_a_byte() -> None:
    made = of({f"s{number}": [number] for number in range(1, 254)})
    labels = np.arange(254)
    assert np.array_equal(made.target(labels)[0], labels)


def test_they_travel_as_json() -> None:
    for made in (of({"whole": [1, 2], "core": [2]}, ignore_labels=[9], class_codes={"core": "1"}), of({"a": [300]})):
        assert Structures.from_json(made.as_json()) == made
    assert of({"a": [300]}).labels(np.array([1, 0])).tolist() == [300, 0]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"structures": {"a": [0]}}, "structures.a: 0 is the background"),
        ({"structures": {"a": []}}, "structures.a: needs at least one value"),
        ({"structures": {"a": [1]}, "ignore_labels": [1]}, "structures.a: [1] cannot be"),
        ({"structures": {"a": [1], "background": [1]}}, "structures.a: [1] cannot be"),
        ({"structures": {"a": [-1]}}, "structures: values must be whole numbers"),
        ({"ignore_labels": [0]}, "ignore_labels: values must be"),
        ({"layout": "msd", "manifest": "m.csv"}, "manifest: data.layout=msd reads the folder itself"),
        ({"layout": "mds"}, "layout: 'mds' is not one of"),
        ({"fold": -1}, "fold: must be >= 0"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], problem: str) -> None:
    assert any(line.startswith(problem) for line in all_problems(conf(**settings)))


def test_settings_that_can_be() -> None:
    fine = conf(structures={"whole": [1, 2], "core": [2], "background": [0, 5]}, ignore_labels=[255], fold=0)
    assert list(all_problems(fine)) == []
