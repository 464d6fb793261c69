"""BIDS' participants.tsv: who the subjects are, and which of its columns is the label."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

from medcnn.config.fields import nearest
from medcnn.data.layouts.columns import is_categorical, is_identifier, is_reserved, is_subgroup
from medcnn.data.layouts.listing import Problems

_MISSING = "n/a"


@dataclass(frozen=True)
class Participants:
    """rows: sub-<id> -> column -> value, "" where missing. label: the column that is the label, "" for none."""

    rows: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    label: str = ""
    remarks: list[str] = field(default_factory=list)


def read_participants(root: Path, wanted: str, problems: Problems) -> Participants:
    """participants.tsv; nothing where there is none."""
    path = root / "participants.tsv"
    if not path.is_file():
        if wanted:
            problems.add(f"labels={wanted}: there is no participants.tsv with such a column")
        return Participants(remarks=["no participants.tsv"])
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (UnicodeDecodeError, csv.Error) as error:
        problems.add(f"participants.tsv is no UTF-8 table ({type(error).__name__})")
        return Participants()
    if not lines or "participant_id" not in lines[0]:
        problems.add("participants.tsv has no column participant_id, or no rows")
        return Participants()
    rows: dict[str, dict[str, str]] = {}
    for number, line in enumerate(lines, start=2):
        if None in line or None in line.values():
            problems.add(f"participants.tsv, row {number}: has another number of columns than the header")
            continue
        clean = {key.strip(): "" if value.strip() == _MISSING else value.strip() for key, value in line.items()}
        subject = clean.pop("participant_id")
        subject = subject if subject.startswith("sub-") else f"sub-{subject}"
        if rows.get(subject, clean) != clean:
            problems.add(f"participants.tsv, row {number}: a subject stands there twice, with other values")
        rows[subject] = clean
    columns = list(next(iter(rows.values()), {}))
    return _chosen(rows, columns, wanted, problems)


def _chosen(rows: dict[str, dict[str, str]], columns: list[str], wanted: str, problems: Problems) -> Participants:
    dropped = [name for name in columns if is_identifier(name) and name != wanted]
    wanted = wanted or ("label" if "label" in columns else "")
    free = [name for name in columns if name == wanted or not (is_identifier(name) or is_reserved(name))]
    kept = {subject: {name: row[name] for name in free} for subject, row in rows.items()}
    remarks = [f"columns that name people were dropped: {', '.join(dropped)}"] if dropped else []
    if wanted and wanted not in columns:
        problems.add(f"labels={wanted}: participants.tsv has no such column.{nearest(wanted, columns)}")
        return Participants(kept)
    candidates = [
        name
        for name in columns
        if name in free and not is_subgroup(name) and is_categorical([row[name] for row in rows.values()])
    ]
    if wanted:
        return Participants(kept, wanted, [*remarks, f"the label is {wanted} of participants.tsv"])
    if len(candidates) == 1:
        said = f"the label is {candidates[0]}, the only categorical column of participants.tsv"
        return Participants(kept, candidates[0], [*remarks, said])
    if candidates:
        remarks.append(f"no label: {', '.join(candidates)} could each be it. Name one with labels=<column>")
    return Participants(kept, "", remarks)
