"""Dataclass fields that know their own limits, and the walk that lists every value outside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, fields, is_dataclass
from difflib import get_close_matches
from typing import Any

MISSING = "???"  # OmegaConf's word for "required, not set"


def choice(default: str, *names: str) -> Any:
    """A string that must be one of the names."""
    return field(default=default, metadata={"choices": names})


def number(
    default: float | int | None,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Any:
    """A number within limits; None passes where the type admits it."""
    return field(default=default, metadata={"above": above, "at_least": at_least, "at_most": at_most, "below": below})


def numbers(default: list[Any], *, at_least: float | None = None, above: float | None = None) -> Any:
    """A list of numbers, each within the limits."""
    return field(default_factory=lambda: list(default), metadata={"each_at_least": at_least, "each_above": above})


def nearest(word: str, names: list[str]) -> str:
    """' Did you mean x?' where something is close, else ''."""
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""


def all_problems(node: Any, path: str = "") -> Iterator[str]:
    """Every setting below node that cannot be, as `path: what is wrong`."""
    known = [f.name for f in fields(node)]
    for key in sorted(vars(node).keys() - set(known)):  # +key=... walks past the schema
        yield f"{path}{key}: not a known setting.{nearest(key, known)}"
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value):
            yield from all_problems(value, f"{path}{item.name}.")
        else:
            yield from _outside(f"{path}{item.name}", value, item.metadata)
    if hasattr(node, "problems"):
        yield from (path + line for line in node.problems())


def _outside(path: str, value: Any, limits: Mapping[str, Any]) -> Iterator[str]:
    names = limits.get("choices")
    if names and value not in names:
        yield f"{path}: {value!r} is not one of {', '.join(names)}.{nearest(str(value), list(names))}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from (f"{path}: must be {rule}, got {value}" for rule in _broken(value, limits, ""))
    if isinstance(value, list):
        rules = {rule for v in value if isinstance(v, int | float) for rule in _broken(v, limits, "each_")}
        yield from (f"{path}: every entry must be {rule}, got {value}" for rule in sorted(rules))


def _broken(value: float, limits: Mapping[str, Any], prefix: str) -> Iterator[str]:
    # "not >" also catches nan
    if (low := limits.get(f"{prefix}above")) is not None and not value > low:
        yield f"> {low:g}"
    if (low := limits.get(f"{prefix}at_least")) is not None and not value >= low:
        yield f">= {low:g}"
    if (high := limits.get(f"{prefix}at_most")) is not None and not value <= high:
        yield f"<= {high:g}"
    if (high := limits.get(f"{prefix}below")) is not None and not value < high:
        yield f"< {high:g}"
