"""From the words of a manifest to the numbers of a loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medcnn.data.labels import Labels, truth
from medcnn.data.manifest import Case, Manifest
from medcnn.errors import DataError


def manifest(*labels: str) -> Manifest:
    return Manifest(Path(), tuple(Case(f"c{n}", {"": f"{n}.png"}, {"": word}) for n, word in enumerate(labels)))


def several(*labels: dict[str, str]) -> Manifest:
    return Manifest(Path(), tuple(Case(f"c{n}", {"": f"{n}.png"}, words) for n, words in enumerate(labels)))


def test_two_words_are_binary_and_the_last_is_positive() -> None:
    found = manifest("opacity", "normal", "opacity")
    labels = Labels.of(found, ["normal", "opacity"])
    assert (labels.kind, labels.class_names) == ("binary", ("normal", "opacity"))
    assert labels.targets(found.cases).tolist() == [[0, 1], [1, 0], [0, 1]]
    assert labels.indices(found.cases).tolist() == [1, 0, 1]


def test_without_class_names_the_words_found_sorted() -> None:
    assert Labels.of(manifest("b", "a", "b"), []).class_names == ("a", "b")
    assert Labels.of(manifest("10", "9", "1"), []).class_names == ("1", "9", "10")
    assert Labels.of(manifest("x", "2", "²"), []).class_names == ("2", "x", "²")


def test_more_words_are_multiclass() -> None:
    labels = Labels.of(manifest("a", "b", "c"), [])
    assert labels.kind == "multiclass"
    assert labels.targets(manifest("c").cases).tolist() == [[0, 0, 1]]


def test_numbers_stand_for_class_names() -> None:
    found = manifest("0", "1", "1")
    labels = Labels.of(found, ["normal", "pneumonia"])
    assert labels.indices(found.cases).tolist() == [0, 1, 1]


def test_class_names_that_are_numbers_mean_themselves() -> None:
    """Grades 1, 2, 3: the label 1 is the first class, in every part of the data."""
    labels = Labels.of(manifest("1", "2", "3"), ["1", "2", "3"])
    assert labels.indices(manifest("3", "1").cases).tolist() == [2, 0]
    with pytest.raises(DataError, match="'0' in 1 cases"):
        labels.indices(manifest("0", "1", "2").cases)
    assert Labels.of(manifest("1", "0"), ["1", "0"]).indices(manifest("1", "0").cases).tolist() == [0, 1]


def test_a_label_outside_the_classes_is_named_with_the_nearest_and_the_first_case() -> None:
    found = manifest("normal", "opasity", "opasity", "", "opacity")
    labels = Labels.of(found, ["normal", "opacity"])
    with pytest.raises(DataError) as caught:
        labels.targets(found.cases)
    said = str(caught.value)
    assert "outside the classes normal, opacity" in said
    assert "'opasity' in 2 cases (first c1) Did you mean opacity" in said
    assert "no label in 1 cases (first c3)" in said


@pytest.mark.parametrize("labels", [("a", "a"), ("", "")])
def test_one_class_is_none(labels: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="a classifier needs at least two"):
        Labels.of(manifest(*labels), [])


def test_several_labels_with_missing_ones() -> None:
    found = several({"mass": "1", "oedema": ""}, {"mass": "no", "oedema": "Positive"}, {"mass": "nan", "oedema": "0.0"})
    labels = Labels.of(found, [])
    assert (labels.kind, labels.class_names) == ("multilabel", ("mass", "oedema"))
    np.testing.assert_array_equal(labels.targets(found.cases), [[1, np.nan], [0, 1], [np.nan, 0]])


def test_several_labels_are_flags() -> None:
    found = several({"mass": "maybe", "oedema": ""})
    with pytest.raises(DataError, match=r"label\.mass of c0 is 'maybe': write 1, 0, or nothing"):
        Labels.of(found, []).targets(found.cases)
    with pytest.raises(DataError, match="the manifest's labels are"):
        Labels.of(found, ["oedema", "mass"])


def test_truth_as_the_metrics_take_it() -> None:
    one_hot = np.eye(3, dtype=np.float32)[[2, 0]]
    assert truth(one_hot, "multiclass").tolist() == [2, 0]
    flags = np.array([[1, np.nan]], np.float32)
    np.testing.assert_array_equal(truth(flags, "multilabel"), flags)


def test_no_cases_are_an_empty_table() -> None:
    labels = Labels("binary", ("a", "b"))
    assert labels.targets([]).shape == (0, 2)
    assert Labels("multilabel", ("a", "b")).targets([]).shape == (0, 2)
