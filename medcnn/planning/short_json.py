"""JSON for readers: short lists and groups stand on one line."""

from __future__ import annotations

import json
from typing import Any

_ROW, _GROUP = 160, 100  # characters: of a list or group without further ones inside, and of others


def short_json(value: Any, indent: int = 0) -> str:
    """Like json.dumps with an indent of 2, but lists and groups that fit into a line stand on one.

    Raises ValueError for numbers that JSON does not have.
    """
    flat = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or (indent and len(flat) + indent <= _longest(value)):
        return flat
    inner, pad = indent + 2, "\n" + " " * (indent + 2)
    if isinstance(value, dict):
        rows = [f"{json.dumps(str(key), ensure_ascii=False)}: {short_json(item, inner)}" for key, item in value.items()]
        return "{" + pad + f",{pad}".join(rows) + "\n" + " " * indent + "}"
    return "[" + pad + f",{pad}".join(short_json(item, inner) for item in value) + "\n" + " " * indent + "]"


def _longest(value: dict[str, Any] | list[Any]) -> int:
    items = value.values() if isinstance(value, dict) else value
    return _GROUP if any(isinstance(item, dict | list) for item in items) else _ROW
