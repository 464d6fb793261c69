"""Which columns may be groups, and what of their values is shown."""

from __future__ import annotations

import pytest

from medcnn.config.verbs import EvaluateConf
from medcnn.data.manifest import Case
from medcnn.errors import DataError
from medcnn.evaluation.age_bands import AGE_EDGES
from medcnn.study.classification.subgroups import column_values, require_columns, torn_patients


def case(number: int, **free: str) -> Case:
    return Case(f"c{number}", {"": f"{number}.png"}, {"": "a"}, f"P{number // 2}", "test", free=free)


def test_values_are_made_short_clean_and_ages_to_bands() -> None:
    cases = [case(0, site=" A\tB\x1b[31m ", patient_age="045Y"), case(1, site="x" * 99, patient_age="")]
    assert column_values(cases, ["site", "patient_age"], (40, 60)) == {
        "site": ["A B [31m", "x" * 40],
        "patient_age": ["40 to 60", ""],
    }


def test_a_data_set_without_free_columns_says_so() -> None:
    with pytest.raises(DataError, match="no column site; the manifest has no free column"):
        require_columns([case(0)], ["site"], AGE_EDGES)


@pytest.mark.parametrize("value", ["1.2.840.113619.2.55", "N{}"])
def test_names_and_uids_are_no_groups(value: str) -> None:
    cases = [case(n, who=value.format(n)) for n in range(40)]
    with pytest.raises(DataError, match="so it names patients or scans and no groups") as error:
        require_columns(cases, ["who"], AGE_EDGES)
    assert value.format(7) not in str(error.value)
    require_columns([case(n, age=str(n)) for n in range(40)], ["age"], AGE_EDGES)


def test_patients_with_images_in_several_groups_are_counted() -> None:
    cases = [case(n, scanner="xxyxyy"[n], age=str(41 + n)) for n in range(6)]
    notes = torn_patients(cases, column_values(cases, ["scanner", "age"], AGE_EDGES))
    assert notes == ["scanner: 1 patients have images of several groups, and count in that of their first image"]


def test_the_setting_and_the_function_cut_ages_alike() -> None:
    assert tuple(EvaluateConf().age_edges) == AGE_EDGES
