"""Where the covariates of a folder's cases come from: the manifest that selects them, else a DICOM header."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medcnn.config.fields import nearest
from medcnn.data.cells import from_cell
from medcnn.data.covariate_cells import is_age, is_empty, is_sex
from medcnn.data.covariates import Covariates
from medcnn.data.manifest_checks import columns_of
from medcnn.errors import DataError
from medcnn.scan import Rejection, ScanRejected


@dataclass(frozen=True)
class Beside:
    """What a model takes beside each image.

    cells  reference -> column -> cell, as the manifest has them; never logged
    """

    spec: Covariates
    cells: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)

    def of(self, reference: str, facts: Mapping[str, str]) -> tuple[dict[str, str], Rejection | None]:
        """One case's values, and why they cannot be used. facts: what its header says of the patient, as discovered."""
        table = self.cells.get(reference, {})
        values = {}
        for name in self.spec.names:
            cell = table.get(name, "")
            values[name] = _of_header(name, facts) if is_empty(cell) else cell
        try:
            self.spec.vector(values)
        except ScanRejected as rejected:
            return values, rejected.rejection
        return values, None


def _of_header(name: str, facts: Mapping[str, str]) -> str:
    """PatientAge in years and PatientSex; a header says nothing else that is asked for."""
    if is_age(name):
        return facts.get("age_years", "")
    return facts.get("sex", "") if is_sex(name) else ""


def read_cells(manifest: Path, spec: Covariates) -> dict[str, dict[str, str]]:
    """The covariates of a manifest's images, by reference; the table itself has been checked by whoever selects by it.

    Raises DataError where a column is missing that no header can stand in for.
    """
    with manifest.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        columns = reader.fieldnames = [from_cell(name) for name in reader.fieldnames or []]
        images = next(iter(columns_of(columns, "image")))
        there = ", ".join(columns)
        missing = [name for name in spec.names if name not in columns and not (is_age(name) or is_sex(name))]
        if missing:
            raise DataError(
                f"select.manifest: this model takes {', '.join(spec.names)} beside each image, and there is no column "
                f"{', '.join(missing)} in {manifest.name}, which has {there}.{nearest(missing[0], list(columns))}"
            )
        return {
            from_cell(row[images]): {name: from_cell(row[name]) for name in spec.names if name in columns}
            for row in reader
        }
