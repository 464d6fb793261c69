"""patients.csv: what a model that was trained to answer for patients says of each, from all of their scans."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medcnn.batch.about import About
from medcnn.batch.cases import Case
from medcnn.batch.columns import Column
from medcnn.batch.ledger import OK, Row
from medcnn.batch.prediction_tables import write_csv
from medcnn.data.cells import from_cell
from medcnn.data.manifest_checks import columns_of
from medcnn.evaluation.aggregate import aggregate
from medcnn.evaluation.decisions import decide

TABLE = "patients.csv"


def write_patients(folder: Path, about: About, cases: Sequence[Case], rows: Sequence[Row]) -> None:
    """A row for each patient of whom a scan was answered, in the order of their first one; nothing for other models.

    A scan whose patient is not known is in no row. Raises OSError.
    """
    if about.patients is None:
        (folder / TABLE).unlink(missing_ok=True)  # of another model that answered here before
        return
    patient_of = {case.case_id: case.patient for case in cases}
    asked = [row for row in rows if patient_of.get(row.case_id)]
    answered = [row for row in asked if row.status == OK and not row.reason and row.probability]
    wanted = [Column("patient_key"), Column("images", 0), Column("left_out", 0)]
    wanted += [*(Column(f"p.{name}", 6) for name in about.names), Column("decision")]
    write_csv(folder / TABLE, wanted, _lines(about, about.patients, patient_of, asked, answered) if answered else [])


def _lines(
    about: About,
    rule: Mapping[str, Any],
    patient_of: Mapping[str, str],
    asked: Sequence[Row],
    answered: Sequence[Row],
) -> list[dict[str, str | float | None]]:
    kind, names = rule["kind"], about.names
    given = np.array([[row.probability[name] for name in names] for row in answered])
    patient = [patient_of[row.case_id] for row in answered]
    found = aggregate(given, kind=kind, patient=patient, rule=rule["aggregate"], class_names=names)
    decided = decide(found.probability, kind, rule["limits"] or None)
    lines: list[dict[str, str | float | None]] = []
    for first, images, probability, answer in zip(
        found.first_case, found.num_images, found.probability, decided, strict=True
    ):
        key = patient[int(first)]
        left_out = sum(patient_of[row.case_id] == key for row in asked) - int(images)
        words = np.array(names)[answer == 1].tolist() if kind == "multilabel" else [names[int(answer)]]
        chances = {f"p.{name}": float(one) for name, one in zip(names, probability, strict=True)}
        decision = "+".join(words) or "none"
        counts = {"images": float(images), "left_out": float(left_out)}
        lines.append({"patient_key": key, **counts, **chances, "decision": decision})
    return lines


def read_patients(manifest: Path) -> dict[str, str]:
    """Reference -> patient_id, {} where the table has no such column; it has been checked by whoever selects by it."""
    with manifest.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        columns = reader.fieldnames = [from_cell(name) for name in reader.fieldnames or []]
        if "patient_id" not in columns:
            return {}
        images = next(iter(columns_of(columns, "image")))
        return {from_cell(row[images]): from_cell(row["patient_id"]) for row in reader}
