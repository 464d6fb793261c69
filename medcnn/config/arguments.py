"""The tracking verbs have no configuration: arguments as key=value, checked against the known keys."""

from __future__ import annotations

from difflib import get_close_matches


class ArgumentError(ValueError):
    """What was typed wrong, and what to type instead."""


def key_values(arguments: list[str], defaults: dict[str, str]) -> dict[str, str]:
    """The defaults with what was typed put in; raises ArgumentError with every problem."""
    values, problems = dict(defaults), []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        key = key.lstrip("-+")
        if not equals:
            problems.append(f"{argument}: arguments are key=value; known keys: {', '.join(defaults)}")
        elif key not in defaults:
            near = get_close_matches(key, defaults, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}=?" if near else f"known keys: {', '.join(defaults)}"
            problems.append(f"{argument}: unknown key, {hint}")
        else:
            values[key] = value
    if problems:
        raise ArgumentError("\n".join(problems))
    return values
