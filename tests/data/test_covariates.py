"""Covariates: what is fitted on training cases, what a cell becomes, and what is refused with which words."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medcnn.data.covariates import Covariate, Covariates, TrainingCovariates
from medcnn.data.manifest import Case
from medcnn.errors import DataError
from medcnn.scan import Reason, ScanRejected


def cases(**columns: list[str]) -> list[Case]:
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [Case(f"case-{n}", {"": f"{n}.png"}, {"": "a"}, f"P{n}", free=row) for n, row in enumerate(rows)]


AGES, SEXES = ["30", "40.5", "055Y", "018M"], ["M", "female", "f", "male"]


def fitted(missing: str = "stop", dropout: float = 0.0, **columns: list[str]) -> Covariates:
    columns = columns or {"age": AGES, "sex": SEXES}
    return Covariates.fit(cases(**columns), list(columns), missing=missing, dropout=dropout)


def reason(spec: Covariates, **values: str) -> tuple[Reason, str, str]:
    with pytest.raises(ScanRejected) as caught:
        spec.vector(values)
    why = caught.value.rejection
    return why.code, why.found, why.remedy


def test_numbers_are_scaled_by_the_training_cases_and_words_are_one_of_several() -> None:
    spec, ages = fitted(), np.array([30, 40.5, 55, 1.5])
    found = spec.vectors(cases(age=AGES, sex=SEXES))
    np.testing.assert_allclose(found[:, 0], (ages - ages.mean()) / ages.std(), rtol=1e-6)
    assert found[:, 1:].tolist() == [[0, 1], [1, 0], [1, 0], [0, 1]]  # F, M: sorted, however they are written
    assert (spec.num_inputs, spec.names, spec.in_words()) == (3, ["age", "sex"], "age (number), sex (F, M)")
    assert spec.vector({"age": "30", "sex": "M"}).tolist() == found[0].tolist()


@pytest.mark.parametrize("missing", ["stop", "mean"])
def test_it_comes_back_from_a_package(missing: str) -> None:
    spec = fitted(missing, 0.1, age=AGES, sex=SEXES)
    assert Covariates.from_json(json.loads(json.dumps(spec.as_json()))) == spec


def test_what_is_missing_or_unknown_is_said_without_the_value() -> None:
    spec = fitted()
    code, found, remedy = reason(spec, sex="F")
    assert (code, found) == (Reason.COVARIATE_MISSING, "age is not known")
    assert remedy == "Give it in a column age of select.manifest=<csv> or, of DICOM, in the header"
    code, found, _ = reason(spec, age="61", sex="secret")
    assert (code, found) == (
        Reason.COVARIATE_INVALID,
        "sex is a word that no training case had; the model knows F, M",
    )
    code, found, _ = reason(spec, age="old", sex="F")
    assert (code, found) == (Reason.COVARIATE_INVALID, "age is no number")


def test_a_gap_is_an_average_case_and_told_so_where_it_was_learnt() -> None:
    spec = fitted("mean", age=["10", "", "30", ""], sex=["F", "F", "M", "M"], centre=["a", "b", "a", "b"])
    assert [column.may_be_missing for column in spec.columns] == [True, False, False]
    assert spec.vector({"age": "nan", "sex": "F", "centre": "b"}).tolist() == [0, 1, 1, 0, 0, 1]
    assert spec.vector({"age": "30", "sex": "F", "centre": "b"}).tolist() == [1, 0, 1, 0, 0, 1]
    assert reason(spec, age="20", centre="a")[0] is Reason.COVARIATE_MISSING
    (note,) = spec.remarks("mean")
    assert note.startswith("no training case lacks sex, centre, so")


def test_hidden_cells_teach_gaps() -> None:
    spec = fitted("mean", 0.25)
    assert all(column.may_be_missing for column in spec.columns)
    np.testing.assert_allclose(spec.gap, [0, 1, 0.5, 0.5, 1])
    values = np.tile(spec.vector({"age": "30", "sex": "M"}), (400, 1))
    hidden = TrainingCovariates(spec, values, 0.25, seed=3)
    rows = hidden.batch(range(400), 2, range(400))
    gone = rows[:, [1, 4]]
    assert np.abs(gone.mean(axis=0) - 0.25).max() < 0.08
    assert np.array_equal(rows[gone.all(axis=1)], np.tile(spec.gap, (int(gone.all(axis=1).sum()), 1)))
    assert np.array_equal(hidden.batch(range(100, 400), 2, range(100, 400)), rows[100:])  # of the place alone
    assert not np.array_equal(hidden.batch(range(400), 3, range(400)), rows)


def test_every_case_that_cannot_be_used_is_named() -> None:
    spec = fitted()
    with pytest.raises(DataError) as caught:
        spec.vectors(cases(age=["1", "", "n/a", "x"], sex=["M", "M", "Q", ""]))
    text = str(caught.value)
    assert "age is empty in 2 of 4 cases (case-1, case-2). Fill the cells in" in text
    assert "age is no number in 1 of 4 cases (case-3)" in text
    assert "sex is a word that no training case had; the model knows F, M in 1 of 4 cases (case-2)" in text
    assert "sex is empty in 1 of 4 cases (case-3)" in text
    assert "Q" not in text


def test_columns_that_are_not_there_are_named_with_those_that_are() -> None:
    with pytest.raises(DataError, match=r"no column agee; its free columns are age, sex\. Did you mean age\?"):
        Covariates.fit(cases(age=AGES, sex=SEXES), ["agee"], missing="stop", dropout=0)
    with pytest.raises(DataError, match="it has no free column"):
        fitted().vectors([Case("a", {"": "a.png"}, {"": "a"})])


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([f"word{n}" for n in range(40)], "40 different words in|for 40 training patients"),
        (["5"] * 40, "the same in all training cases"),
        (["x"] * 40, "the same in all training cases"),
        ([""] * 40, "empty in all training cases"),
        ([f"word{n % 15}" for n in range(40)], r"15 different words in the training cases"),
    ],
)
def test_columns_that_make_no_covariate(column: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        fitted("mean", size=column)


def test_far_numbers_are_flagged_and_not_repeated() -> None:
    spec = Covariates((Covariate("sex", ("F", "M"), (0.5, 0.5), may_be_missing=True), Covariate("age", mean=50, sd=10)))
    assert spec.oddities(spec.vector({"age": "99", "sex": "F"})) == []
    (flag,) = spec.oddities(spec.vector({"age": "101", "sex": "F"}))
    assert flag == "COVARIATE: age is more than 5 standard deviations from the training cases' mean"
