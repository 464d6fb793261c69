"""Every case of the reading list has a test, no test names a case that is none, and the page shows both as they are."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@cache
def make_conformance() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_conformance", ROOT / "docs" / "make_conformance.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@cache
def marked() -> dict[str, dict[str, int]]:
    """Case -> test file -> number of its functions that carry the case's marker, read without importing any."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for case in set(cases_of(node)):
                    found[case][path.relative_to(ROOT).as_posix()] += 1
    return {case: dict(files) for case, files in found.items()}


def cases_of(function: ast.FunctionDef) -> Iterator[str]:
    """What its markers name: of the function, or of single sets of its parameters."""
    for decorator in function.decorator_list:
        for node in ast.walk(decorator):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.case":
                assert node.args, f"{function.name}: a marker without a case"
                for argument in node.args:
                    assert isinstance(argument, ast.Constant), f"{function.name}: ids are written out"
                    yield str(argument.value)


def test_the_list_is_whole_and_in_order() -> None:
    ids = [case.id for case in make_conformance().read_cases()]
    assert len(set(ids)) == len(ids)
    assert Counter(name[0] for name in ids) == {"C": 34, "V": 25, "N": 21}
    assert ids == sorted(ids, key=lambda name: ("CVN".index(name[0]), name))
    assert all(case.input and case.expected for case in make_conformance().read_cases())


@pytest.mark.parametrize("case", [case.id for case in make_conformance().read_cases()])
def test_every_case_has_a_test(case: str) -> None:
    assert marked().get(case), f"no test carries @pytest.mark.case({case!r})"


def test_no_test_names_a_case_that_is_none() -> None:
    known = {case.id for case in make_conformance().read_cases()}
    known |= {f"{letter}{n:02d}" for letter, last in make_conformance().OTHER_CASES.items() for n in range(1, last + 1)}
    assert {case: files for case, files in marked().items() if case not in known} == {}


def test_the_page_shows_these_cases_and_these_tests() -> None:
    maker = make_conformance()
    text = maker.PAGE.read_text(encoding="utf-8")
    expected = {case.id: marked().get(case.id, {}) for case in maker.read_cases()}
    assert maker.listed(text) == expected, "run python docs/make_conformance.py"
    assert [case.id for case in maker.read_cases() if f"\n{maker.words_of(case)} " not in text] == []


def test_the_page_has_no_failure_and_no_case_without_a_test() -> None:
    text = make_conformance().PAGE.read_text(encoding="utf-8")
    assert "**failed**" not in text
    assert "**no test**" not in text


def test_the_page_tells_failed_skipped_and_missing_apart() -> None:
    maker = make_conformance()
    check = {"cases": ["C01"], "file": "tests/io/test_a.py", "function": "test_one", "reason": ""}
    found = maker.results(
        [
            check | {"outcome": "passed"},
            check | {"outcome": "failed", "cases": ["C01", "C02"]},
            check | {"outcome": "skipped", "reason": "real data is not at hand: MEDCNN_DATA is not set"},
            check | {"outcome": "skipped", "cases": ["C03"], "reason": "no device node can be made"},
        ]
    )
    text = maker.page(found)
    rows = {line.split(" ")[1]: line for line in text.splitlines() if line.startswith("| C0")}
    assert rows["C01"].endswith("| [test_a.py](../tests/io/test_a.py) 1 | **failed** 1, passed 1, not at hand here 1 |")
    assert rows["C02"].endswith("| **failed** 1 |")
    assert rows["C03"].endswith("| skipped (no device node can be made) 1 |")
    assert rows["C04"].endswith("|  | **no test** |")
    assert "**80 cases: 2 failed, 1 not run here, 77 without a test.**" in text
    assert maker.listed(text)["C01"] == {"tests/io/test_a.py": 1}
    assert set(maker.listed(text)) == {case.id for case in maker.read_cases()}


def test_a_marker_is_found_wherever_it_stands() -> None:
    source = (
        "@pytest.mark.case('C01', 'V02')\n"
        "@pytest.mark.parametrize('x', [1, pytest.param(2, marks=pytest.mark.case('N03'))])\n"
        "def test_x(x): ..."
    )
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    assert sorted(cases_of(function)) == ["C01", "N03", "V02"]
