"""All that findings are drawn from: the manifest, what was measured, what could not be read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from medcnn.config.data import SPLITS
from medcnn.data.audit.record import Record
from medcnn.data.manifest import Case, Manifest
from medcnn.io.discover import Skipped
from medcnn.scan import Rejection

NO_SPLIT = "all"


@dataclass(frozen=True, eq=False)
class Measured:
    """A case and what it looks like."""

    case: Case
    record: Record

    @property
    def case_id(self) -> str:
        return self.case.case_id

    @property
    def split(self) -> str:
        return self.case.split or NO_SPLIT

    @property
    def who(self) -> str:
        """The patient; the case itself where nobody knows."""
        return self.case.patient_id or f"case {self.case.case_id}"


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of a data set.

    declared  the labels that masks may hold, where the task says so
    known     cases that were not read again, since nothing about them changed
    """

    manifest: Manifest
    measured: tuple[Measured, ...]
    rejected: tuple[tuple[Case, Rejection], ...] = ()
    skipped: tuple[Skipped, ...] = ()
    declared: Collection[int] | None = field(default=None)
    known: int = 0

    def divided(self, manifest: Manifest) -> Evidence:
        """The same measurements, of cases that have got their splits; those that are no longer there left out."""
        cases = {case.case_id: case for case in manifest.cases}
        kept = tuple(replace(one, case=cases[one.case_id]) for one in self.measured if one.case_id in cases)
        return replace(self, manifest=manifest, measured=kept)

    @cached_property
    def splits(self) -> list[str]:
        """In the usual order; ["all"] where the manifest names none."""
        present = {case.split or NO_SPLIT for case in self.manifest.cases}
        return [split for split in (*SPLITS, NO_SPLIT) if split in present]

    @cached_property
    def by_split(self) -> Mapping[str, list[Measured]]:
        return {split: [one for one in self.measured if one.split == split] for split in self.splits}

    @cached_property
    def classes(self) -> list[str]:
        """Of a data set with one label per case; [] of any other."""
        if self.manifest.label_names != [""]:
            return []
        return sorted({case.labels[""] for case in self.manifest.cases} - {""}, key=_natural)

    def patients(self) -> dict[str, list[Case]]:
        """Known patients only."""
        found: dict[str, list[Case]] = defaultdict(list)
        for case in self.manifest.cases:
            if case.patient_id:
                found[case.patient_id].append(case)
        return found

    def questions(self) -> dict[str, dict[str, str]]:
        """What is asked of a case -> case_id -> answer: `class` of one label per case, else one for each label."""
        names = self.manifest.label_names
        found = {}
        for name in names:
            answers = {one.case_id: one.case.labels[name] for one in self.measured}
            found[f"label {name}" if name else "class"] = {key: word for key, word in answers.items() if word}
        return found


def label_text(case: Case) -> str:
    """One label as it is, several as `fracture=1, mass=0`; for comparing and showing."""
    if list(case.labels) in ([""], []):
        return case.labels.get("", "")
    return ", ".join(f"{name}={value}" for name, value in case.labels.items() if value)


def _natural(word: str) -> tuple[int, int, str]:
    return (0, int(word), "") if word.isascii() and word.isdecimal() else (1, 0, word)
