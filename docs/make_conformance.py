"""Write docs/conformance.md: every reading case, run, with its tests and what came of them.

MEDCNN_DATA=<folder> python docs/make_conformance.py
"""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).with_name("conformance.md")
CASES = Path(__file__).with_name("conformance_cases.csv")
ROOT = PAGE.parents[1]
GROUPS = {"C": "One DICOM image", "V": "DICOM series and volumes", "N": "NIfTI"}
OTHER_CASES = {"T": 23, "I": 15, "S": 11, "L": 1}  # training, batches, security, load: marked, but no part of this page
PACKAGES = (
    *("pydicom", "pydicom-data", "nibabel", "numpy", "highdicom", "SimpleITK", "dcm2niix"),
    *("pillow", "imagecodecs", "pylibjpeg-openjpeg", "pyjpegls"),
)
NOT_AT_HAND = "not at hand"
ASKED = "MEDCNN_CONFORMANCE_RESULTS"  # the plugin below writes to the file named so

HEAD = """# Conformance: what every input ends as

Made by `MEDCNN_DATA=<folder> python docs/make_conformance.py`, which runs the tests that carry a case's id
(`@pytest.mark.case("C01")`); do not edit by hand. The cases stand in `docs/conformance_cases.csv`. An input ends
accepted and correct, or refused with a [reason code](data.md#reason-codes); nothing else counts as passed.

*Tests* are the files with the number of test functions in each; *checks* are the runs of them, one for each set of
parameters; one that serves several cases counts for each. *Not at hand here* are checks on real files that the
machine that made this page did not have. *Further files*, named last, are real files that the case also asks for, and
that were at hand nowhere: the case then rests on twins made by the tests.
"""


@dataclass(frozen=True)
class Case:
    """One row of the list. further: real files it also asks for, which no test has."""

    id: str
    input: str
    expected: str
    further: str = ""


@dataclass
class Result:
    """What came of the checks of one case."""

    tests: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # file -> its test functions
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def state(self) -> str:
        """Failed before anything else: one check that fails fails the case."""
        if not self.outcomes:
            return "**no test**"
        counts = sorted(self.outcomes.items(), key=lambda item: (item[0] != "failed", _rank(item[0])))
        return ", ".join(f"{'**failed**' if name == 'failed' else name} {count}" for name, count in counts)


def read_cases() -> list[Case]:
    """The list, in its own order."""
    with CASES.open(newline="", encoding="utf-8") as file:
        return [Case(**row) for row in csv.DictReader(file)]


def results(checks: Iterable[Mapping[str, Any]]) -> dict[str, Result]:
    """Case -> what came of it, from the plugin's records."""
    found: dict[str, Result] = defaultdict(Result)
    for check in checks:
        for case in check["cases"]:
            found[case].tests[check["file"]].add(check["function"])
            found[case].outcomes[_outcome(check["outcome"], check["reason"])] += 1
    return found


def _outcome(outcome: str, reason: str) -> str:
    if outcome != "skipped":
        return outcome
    return "not at hand here" if NOT_AT_HAND in reason else f"skipped ({reason})"


def page(found: Mapping[str, Result]) -> str:
    """The whole page as Markdown."""
    cases = read_cases()
    parts = [HEAD, _totals(cases, found), _versions()]
    for letter, title in GROUPS.items():
        parts += [f"\n## {title}\n", "| id | input | expected | tests | checks |", "|---|---|---|---|---|"]
        parts += [_row(case, found.get(case.id, Result())) for case in cases if case.id[0] == letter]
    return "\n".join(parts) + "\n"


def _totals(cases: list[Case], found: Mapping[str, Result]) -> str:
    states = Counter(_kind(found.get(case.id, Result())) for case in cases)
    checks = sum((found[case.id].outcomes for case in cases if case.id in found), Counter[str]())
    told = ", ".join(f"{count} {name}" for name, count in sorted(states.items(), key=lambda item: _rank(item[0])))
    runs = ", ".join(f"{count} {name}" for name, count in sorted(checks.items(), key=lambda item: _rank(item[0])))
    return f"**{len(cases)} cases: {told}.** Checks, counted for each case they serve: {runs}.\n"


def _rank(name: str) -> tuple[bool, str]:
    return name != "passed", name


def _kind(result: Result) -> str:
    """One word for a whole case."""
    if not result.outcomes:
        return "without a test"
    if result.outcomes["failed"]:
        return "failed"
    return "passed" if result.outcomes["passed"] else "not run here"


def _versions() -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return f"With Python {platform.python_version()}, {versions}."


def _row(case: Case, result: Result) -> str:
    files = ", ".join(
        f"[{Path(name).name}](../{name}) {len(result.tests[name])}" for name in sorted(result.tests, key=_by_name)
    )
    return f"{words_of(case)} {files} | {result.state} |"


def words_of(case: Case) -> str:
    """How the row of a case begins."""
    expected = case.expected + (f". *Further files: {case.further}.*" if case.further else "")
    return f"| {case.id} | {_cell(case.input)} | {_cell(expected)} |"


def _by_name(file: str) -> str:
    return Path(file).name


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("<", "&lt;")


def listed(text: str) -> dict[str, dict[str, int]]:
    """Case -> test file -> number of functions, as a page shows them."""
    rows = re.findall(r"^\| ([A-Z]\d\d\w?) \|.*\| ([^|]*) \| [^|]* \|$", text, re.MULTILINE)
    return {
        case: {path: int(count) for path, count in re.findall(r"\]\(\.\./(\S+)\) (\d+)", cell)} for case, cell in rows
    }


def run_checks() -> list[dict[str, Any]]:
    """Run the marked tests in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "checks.json"
        paths = os.pathsep.join([str(PAGE.parent), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "tests", "-m", "case", "-q", "-p", Path(__file__).stem, "-W", "ignore"],
            cwd=ROOT,
            env=os.environ | {ASKED: str(file), "PYTHONPATH": paths},
        )
        if done.returncode not in (0, 1):
            raise SystemExit("the tests could not be run")
        return list(json.loads(file.read_text(encoding="utf-8")))


_checks: dict[str, dict[str, Any]] = {}


def _of_this_page(item: pytest.Item) -> list[str]:
    named = {case for mark in item.iter_markers("case") for case in mark.args}
    return sorted(case for case in named if case[0] in GROUPS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Plugin: leave out what serves no case of this page."""
    if ASKED in os.environ:
        config.hook.pytest_deselected(items=[item for item in items if not _of_this_page(item)])
        items[:] = [item for item in items if _of_this_page(item)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Plugin: one record for each check, the worst of its set-up, call and tear-down."""
    report = yield
    record = _checks.setdefault(item.nodeid, {"outcome": "passed", "reason": ""})
    record |= {"cases": _of_this_page(item), "file": item.location[0], "function": item.originalname}  # type: ignore[attr-defined]
    if report.outcome != "passed" and record["outcome"] != "failed":
        record["outcome"] = report.outcome
        if report.skipped and isinstance(report.longrepr, tuple):
            record["reason"] = report.longrepr[2].removeprefix("Skipped: ")
    return report


def pytest_sessionfinish() -> None:
    """Plugin: hand the records over."""
    if ASKED in os.environ:
        Path(os.environ[ASKED]).write_text(json.dumps(list(_checks.values())), encoding="utf-8")


if __name__ == "__main__":
    PAGE.write_text(page(results(run_checks())), encoding="utf-8")
