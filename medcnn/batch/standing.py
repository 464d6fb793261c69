"""Whether a case was answered before, so that nothing need be done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256

from medcnn import __version__
from medcnn.batch.about import About
from medcnn.batch.ledger import FAILED
from medcnn.batch.outcome import Asked
from medcnn.batch.results import Results

FORMAT = 4  # raised whenever rows or outputs come out otherwise, so that older ones are made again


def stands(asked: Asked, input_sha256: str, about: About, results: Results) -> bool:
    """By this model, from these bytes, with these settings, and every file of it is whole and called as it would be."""
    row, case = asked.known, asked.case
    if row is None or row.status == FAILED or not input_sha256:
        return False
    if (row.reference, row.input_sha256, row.name) != (case.reference, input_sha256, asked.name):
        return False
    return (row.model, row.settings) == (about.model, about.settings) and results.holds(row)


def settings_digest(deciding: Mapping[str, object]) -> str:
    """Of what decides an answer besides the scan and the model; neither batch nor device does."""
    whole = {**deciding, "format": FORMAT, "medcnn": __version__}
    return sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]
