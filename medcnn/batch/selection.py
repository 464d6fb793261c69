"""Which scans of a folder are asked about, by what their headers say, and which of them the model takes."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medcnn.config.errors import ConfigError
from medcnn.data.cells import from_cell
from medcnn.data.manifest_checks import columns_of
from medcnn.errors import DataError
from medcnn.inference.expectation import Expectation
from medcnn.inference.terms import term
from medcnn.io.discover import Found
from medcnn.scan import Reason

_KINDS = {2: "picture", 3: "volume"}
_OTHER = {"MODALITY": "of another modality", "BODY_PART": "of another body part"}


@dataclass(frozen=True)
class LeftOut:
    """A scan that the user did not ask about.

    filter  which setting left it out
    found   what it is, in codes and numbers; never a description
    """

    reference: str
    filter: str
    found: str


@dataclass(frozen=True)
class Selection:
    """What the user asks about; empty asks about everything. A scan that does not say what is asked for is left out.

    modality    DICOM's codes
    series      a regular expression, looked for in the series' description, upper or lower case
    body_part   DICOM's BodyPartExamined
    min_slices  of a series or a volume; what only reading can count is asked about
    manifest    references below the input; None asks about all
    """

    modality: tuple[str, ...] = ()
    series: str = ""
    body_part: tuple[str, ...] = ()
    min_slices: int = 0
    manifest: frozenset[str] | None = None
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises ConfigError where `series` is no regular expression."""
        object.__setattr__(self, "_pattern", _compiled(self.series))
        for name in ("modality", "body_part"):
            object.__setattr__(self, name, tuple(word.strip().upper() for word in getattr(self, name)))

    def why_not(self, found: Found) -> LeftOut | None:
        """The first setting that leaves a scan out; None: it is asked about."""
        if self.manifest is not None and found.reference not in self.manifest:
            return LeftOut(found.reference, "manifest", "not in the manifest")
        for name, word, asked in (
            ("modality", found.modality, self.modality),
            ("body_part", found.body_part, self.body_part),
        ):
            if asked and word not in asked:
                return LeftOut(found.reference, name, f"{_said(word)}, asked for {', '.join(asked)}")
        if self.series and not self._pattern.search(found.description):
            said = "does not match" if found.description else "is not there"
            return LeftOut(found.reference, "series", f"the series' description {said}")
        if 0 < found.slices < self.min_slices:
            return LeftOut(found.reference, "min_slices", f"{found.slices} slices, asked for {self.min_slices} or more")
        return None


def _compiled(series: str) -> re.Pattern[str]:
    try:
        return re.compile(series, re.IGNORECASE)
    except re.error as error:
        raise ConfigError(
            [f"select.series: {series!r} is no regular expression ({error}). To find t1 or t2 write series='t1|t2'"]
        ) from None


def _said(word: str) -> str:
    if not word:
        return "the scan does not say"
    return f"the scan says {term(word)}"


def read_references(manifest: Path) -> frozenset[str]:
    """The images of a manifest (CSV), as references below its data root. Labels are not needed.

    Raises DataError where it is no such table.
    """
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames = [from_cell(name) for name in reader.fieldnames or []]
            images = columns_of(columns, "image")
            if len(images) != 1:
                there = ", ".join(columns) or "nothing"
                raise DataError(f"select.manifest: one column 'image' is needed, {len(images)} are there, of {there}")
            cells = [from_cell(row[next(iter(images))]) for row in reader]
    except OSError as error:
        raise DataError(f"select.manifest: {manifest} cannot be read ({type(error).__name__})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"select.manifest: {manifest.name} is no UTF-8 CSV ({type(error).__name__})") from None
    references = frozenset(filter(None, cells))
    if not references:
        raise DataError(f"select.manifest: {manifest.name} names no image")
    return references


def fit(found: Found, expects: Expectation, spatial_dims: int) -> tuple[str, ...]:
    """Why the model does not take a scan, as far as its header says; () it may.

    spatial_dims  of the scans that the model takes
    """
    reasons = list(expects.misfits(found.modality, found.body_part))
    if found.spatial_dims is not None and found.spatial_dims != spatial_dims:
        reasons.append(
            f"{Reason.GEOMETRY_MISMATCH}: this scan is a {_KINDS[found.spatial_dims]} and the model takes "
            f"{_KINDS[spatial_dims]}s"
        )
    return tuple(reasons)


def fit_in_words(misfits: Sequence[tuple[str, ...]], expects: Expectation, spatial_dims: int) -> str:
    """One line: `fits the model (MR volumes): 12 of 20 cases; 5 of another modality, 3 pictures`.

    misfits  what `fit` says of each case; one that misfits in several ways is counted by the first
    """
    other = {2: "volume", 3: "picture"}[spatial_dims]
    firsts = Counter(reasons[0].partition(":")[0] for reasons in misfits if reasons)
    parts = [
        f"{count} {_OTHER[word]}" if word in _OTHER else f"{count} {other}{'s' * (count > 1)}"
        for word, count in firsts.most_common()
    ]
    takes = " ".join(filter(None, ("/".join(expects.modality), "/".join(expects.body_part))))
    kind = f"{takes} {_KINDS[spatial_dims]}s".strip()
    good = f"{sum(not reasons for reasons in misfits)} of {len(misfits)} case{'s' * (len(misfits) != 1)}"
    return f"fits the model ({kind}): " + "; ".join(filter(None, (good, ", ".join(parts))))
