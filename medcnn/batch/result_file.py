r"""cases/<name>/result.json: all that is said of one case, to be read by people and programs.

| key | |
|---|---|
| `format_version` | 1; raised when a key changes its meaning or goes |
| `notice` | for research use only |
| `case_id`, `reference` | the keyed name, and the scan's path (and selector) below the input |
| `series_instance_uid` | of a DICOM series, else null |
| `input_sha256` | of the scan's files; null where they could not be read |
| `status` | `ok`, `rejected` (the input cannot be used), `failed` (this run could not do it) |
| `rejection` | `{code, found, remedy}`, else null |
| `withheld` | why there is no decision or no mask although the scan was read, else null |
| `answer` | null where there is none. Of a classifier `{decision, confidence, set, classes}`, of a segmenter `{disagreement, structures}`, of a regression `{quantity, value, unit, low, high, coverage}` |
| `answer.coverage` | the chance that low to high holds the truth, as calibration cases promise it; null where they promise nothing |
| `answer.set` | the classes that the scan may have, as a list; null where the model makes no prediction sets |
| `answer.classes` | class -> `{probability, snomed_ct}`: calibrated; in the model's order |
| `answer.structures` | structure -> `{volume_ml, expected_dice, snomed_ct}`; in the model's order |
| `flags` | a list of `{code, text}`: what a person should look at |
| `files` | a list of `{path, kind, sha256}`, by path: all that was written for the case but this file |
| `model` | `{digest, settings, medcnn_version, kind, task, intended_use}`; settings is the digest of what else decides an answer |

What is not known, not asked for or no finite number is null. There are no times in it: the same scan, model and
settings give the same bytes. UTF-8; a byte of a file's name that is no UTF-8 stands as `\xff`.
"""  # noqa: E501  a table's row is one line

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from medcnn import __version__
from medcnn.batch.about import About
from medcnn.batch.ledger import Row
from medcnn.batch.results import CASES, MASKS, OVERLAYS, PROBABILITIES, SALIENCY, THUMBNAILS, UNCERTAINTY, VIEWS
from medcnn.batch.valid_text import valid

FORMAT_VERSION = 1
NOTICE = "for research use only"

_KINDS = {
    MASKS: "mask",
    OVERLAYS: "overlay",
    PROBABILITIES: "probability_map",
    UNCERTAINTY: "uncertainty_map",
    SALIENCY: "saliency_map",
    THUMBNAILS: "thumbnail",
    VIEWS: "view",
}
_DICOM_KINDS = {"_seg.dcm": "dicom_seg", "_sr.dcm": "dicom_sr", "_sc.dcm": "dicom_sc"}


def result_file(name: str) -> str:
    """Where it belongs, as a path in the results; name as medcnn/batch/names.py says it."""
    return f"{CASES}/{name}/result.json"


def result_json(row: Row, about: About) -> bytes:
    """As it is written. row's own entry for this file, if there is one, plays no part."""
    text = json.dumps(_clean(_result(row, about)), indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def file_kind(path: str) -> str:
    """mask, overlay, dicom_seg ... of a path in the results."""
    if path.endswith(".dcm"):
        return next((kind for end, kind in _DICOM_KINDS.items() if path.endswith(end)), "dicom")
    return _KINDS.get(path.partition("/")[0], "other")


def flag_parts(flag: str) -> dict[str, str]:
    """`WORD: in words` as {code, text}."""
    code, _, text = flag.partition(": ")
    return {"code": code, "text": text}


def _result(row: Row, about: About) -> dict[str, Any]:
    rejection = {"code": row.reason_code, "found": row.found, "remedy": row.remedy} if row.reason_code else None
    own = f"{CASES}/"
    files = sorted((path, digest) for path, digest in row.files.items() if not path.startswith(own))
    return {
        "format_version": FORMAT_VERSION,
        "notice": NOTICE,
        "case_id": row.case_id,
        "reference": row.reference,
        "series_instance_uid": row.series or None,
        "input_sha256": row.input_sha256 or None,
        "status": row.status,
        "rejection": rejection,
        "withheld": row.reason or None,
        "answer": None if rejection else _answer(row, about),
        "flags": [flag_parts(flag) for flag in row.flags],
        "files": [{"path": path, "kind": file_kind(path), "sha256": digest} for path, digest in files],
        "model": {
            "digest": row.model,
            "settings": row.settings,
            "medcnn_version": __version__,
            "kind": about.kind,
            "task": about.task,
            "intended_use": about.intended_use,
        },
    }


def _answer(row: Row, about: About) -> dict[str, Any] | None:
    """None too where a mask is withheld: nothing was computed. A classifier's numbers are said all the same."""
    if about.kind == "classification":
        classes = {name: {"probability": row.probability.get(name), **_code(name, about)} for name in about.names}
        held = None if row.conformal_set is None else list(row.conformal_set)
        return {"decision": row.decision or None, "confidence": row.confidence, "set": held, "classes": classes}
    if row.reason:
        return None
    if about.kind == "regression":
        ends = {"low": row.low, "high": row.high, "coverage": about.coverage}
        return {"quantity": about.names[0], "value": row.value, "unit": about.unit or None, **ends}
    structures = {
        name: {
            "volume_ml": row.volume_ml.get(name),
            "expected_dice": row.expected_dice.get(name),
            **_code(name, about),
        }
        for name in about.names
    }
    return {"disagreement": row.disagreement, "structures": structures}


def _code(name: str, about: About) -> dict[str, str | None]:
    return {"snomed_ct": about.codes.get(name) or None}


def _clean(value: Any) -> Any:
    """As JSON can hold it: valid text, finite numbers."""
    if isinstance(value, Mapping):
        return {valid(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, str):
        return valid(value)
    return None if isinstance(value, float) and not isfinite(value) else value
