"""Write docs/settings.md: every setting, from the dataclasses that hold the defaults, with the comments beside them.

python docs/make_settings.py
"""

from __future__ import annotations

import inspect
import re
import tokenize
from collections.abc import Iterator
from dataclasses import Field, dataclass, fields, is_dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from medcnn.config.compare import CompareConf
from medcnn.config.model import FAMILIES, CustomConf, PlainCNNConf, ResNetConf, UNetConf
from medcnn.config.predict import PredictConf
from medcnn.config.verbs import EvaluateConf, PrepareConf, TrainConf

PAGE = Path(__file__).with_name("settings.md")
OTHERS = {"evaluate": EvaluateConf, "predict": PredictConf, "prepare": PrepareConf, "compare": CompareConf}
NETWORKS = (PlainCNNConf, ResNetConf, *FAMILIES, UNetConf, CustomConf)

HEAD = """# Every setting

Made by `python docs/make_settings.py` from `medcnn/config/`; do not edit by hand. [Configuration](configuration.md)
says how settings are given. *required* has no default. The presets in `conf/` change some defaults.
"""
_LIMITS = {"above": "> {:g}", "at_least": "≥ {:g}", "below": "< {:g}", "at_most": "≤ {:g}"}


@dataclass(frozen=True)
class Setting:
    """One line of a table."""

    name: str
    default: str
    values: str
    words: str


def page() -> str:
    """The whole page as Markdown."""
    whole = TrainConf()
    groups = {f.name: value for f in fields(whole) if is_dataclass(value := getattr(whole, f.name))}
    parts = [HEAD, "\n## python -m medcnn.train\n"]
    parts += _section("the run itself", "", [s for s in _settings(whole) if s.name.partition(".")[0] not in groups])
    for name, group in groups.items():
        if name != "model":
            parts += _section(name, _doc(group), list(_settings(group, f"{name}.")))
    for kind in NETWORKS:
        parts += _section(f"model={kind().name}", _doc(kind()), list(_settings(kind(), "model.")))
    for verb, schema in OTHERS.items():
        conf = schema()
        names = [f.name for f in fields(conf) if is_dataclass(getattr(conf, f.name))]
        shared = ", ".join(f"`{name}`" for name in names)
        parts.append(f"\n## python -m medcnn.{verb}\n")
        parts += _section("its own", "", [s for s in _settings(conf) if s.name.partition(".")[0] not in names])
        if names:
            parts.append(f"\nAnd, as far as they apply, the groups {shared} of train.")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)) + "\n"


def _doc(conf: Any) -> str:
    return " ".join(str(inspect.getdoc(type(conf))).split())


def _section(title: str, words: str, settings: list[Setting]) -> list[str]:
    rows = [f"| `{s.name}` | {s.default} | {s.values} | {s.words} |" for s in settings]
    text = f"\n### {title}\n" + (f"\n{words}\n" if words else "")
    return [text, "| setting | default | values | |", "|---|---|---|---|", *rows]


def _settings(conf: Any, path: str = "") -> Iterator[Setting]:
    comments = _comments(type(conf))
    for item in fields(conf):
        value = getattr(conf, item.name)
        if is_dataclass(value):
            yield from _settings(value, f"{path}{item.name}.")
        elif path + item.name != "model.name":  # said by model=<name>
            name = "model" if path + item.name == "package" else path + item.name  # typed so, see compose.SPELLED
            words = comments.get(item.name, "").partition("; typed as model=")[0]
            if item.name == "probability":  # a random step says at its switch what it does
                words = _doc(conf)
            yield Setting(name, _default(value), _values(item), _plain(words))


def _plain(words: str) -> str:
    return words.replace("|", "\\|").replace("<", "&lt;").replace('""', "empty").replace("[]", "`[]`")


def _default(value: Any) -> str:
    match value:
        case "???":
            return "*required*"
        case "":
            return "empty"
        case bool():
            return f"`{str(value).lower()}`"
        case None:
            return "`null`"
        case list():
            return f"`[{','.join(map(str, value))}]`"
    return f"`{value}`"


def _values(item: Field[Any]) -> str:
    if choices := item.metadata.get("choices"):
        return ", ".join(f"`{name}`" if name else "empty" for name in choices)
    limits = [
        words.format(item.metadata[key])
        for rule, words in _LIMITS.items()
        for key in (rule, f"each_{rule}")
        if item.metadata.get(key) is not None
    ]
    return ", ".join(limits)


def _comments(kind: type) -> dict[str, str]:
    """Field -> the comment at the end of its line, also of the classes it comes from."""
    found: dict[str, str] = {}
    for one in reversed([k for k in kind.__mro__ if is_dataclass(k)]):
        source = inspect.getsource(one)
        for token in tokenize.generate_tokens(StringIO(source).readline):
            name = re.match(r"\s+(\w+):", token.line)
            if token.type == tokenize.COMMENT and name and not token.line.lstrip().startswith("#"):
                found[name[1]] = token.string.lstrip("# ").strip()
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
