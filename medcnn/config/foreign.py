"""What no config may hold, and the look at a user's own conf folder before Hydra reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

# What would run code, or read the environment: of interpolations, all but `${another.setting}`; `$` expressions.
FORBIDDEN_KEYS = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")
FORBIDDEN_VALUE = re.compile(r"\$\{(?!\s*[\w.\[\]]+\s*\})|^\s*['\"]?\$(?!\{)")
_HYDRA = re.compile(r"(^|@|override\s+/?)hydra([./]|$)")  # how Hydra itself works is set on the command line
_HYDRA_PACKAGE = re.compile(r"^\s*#\s*@package\s+hydra\b", re.MULTILINE)
_MOST_ALIASES = 100  # YAML aliases within aliases unfold without end
_PLAIN_TAGS = "tag:yaml.org,2002:"


def folder_problems(folder: Path) -> Iterator[str]:
    """Every reason why the YAML files of a folder are not read. Nothing in them is built or unfolded for this."""
    if not folder.is_dir():
        yield f"hydra.searchpath: there is no folder {folder}. Write hydra.searchpath=[file:///your/conf]"
    for path in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]):
        name = path.relative_to(folder)
        try:
            found = dict.fromkeys(_forbidden_events(path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
            found = {f"cannot be read ({type(error).__name__}). Write plain YAML in UTF-8": None}
        yield from (f"{name}: {problem}" for problem in found)


def _forbidden_events(text: str) -> Iterator[str]:
    aliases = 0
    if _HYDRA_PACKAGE.search(text):
        yield "CONFIG_FORBIDDEN, it changes how Hydra works. Take the package line out"
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        tag = getattr(event, "tag", None)
        if tag and (not tag.startswith(_PLAIN_TAGS) or "python" in tag):
            yield f"CONFIG_FORBIDDEN, the tag {tag} would build an object. Write the value"
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            if aliases == _MOST_ALIASES:
                yield f"CONFIG_FORBIDDEN, {_MOST_ALIASES} aliases and more. Write the values out"
        if isinstance(event, yaml.ScalarEvent) and (
            event.value in (*FORBIDDEN_KEYS, "()") or _HYDRA.search(event.value)
        ):
            yield f"CONFIG_FORBIDDEN, {event.value!r} names code to run or changes how Hydra works. Take it out"
        if isinstance(event, yaml.ScalarEvent) and FORBIDDEN_VALUE.search(event.value):
            yield "CONFIG_FORBIDDEN, a config reads no environment and calls nothing. Write the value"
