"""What to do after prepare: the training to type, so that it sees the very data that were audited, or why not yet."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from medcnn.config.data import BACKGROUND, DataConf, SplitConf
from medcnn.config.reading import ReadingConf
from medcnn.data.audit.audit import Audit
from medcnn.data.audit.evidence import Evidence
from medcnn.data.audit.finding import Severity
from medcnn.data.manifest import Manifest

_DUPLICATES, _DROPS = "data.duplicates", "drop_from_train"  # the one stop that a setting of training mends
_NAME = re.compile(r"\w+")  # of a structure, as Hydra takes it without quotes
_PLAIN = re.compile(r"[\w/\\.\-+@%*?]+")  # what Hydra takes for one value without quotes


def next_step(
    audit: Audit, path: Path, conf: DataConf, *, undivided: bool, codes: Mapping[str, Sequence[int]] | None = None
) -> str:
    """A line for a shell, or what is in the way.

    path: of the written manifest; conf: with which the scans were read and divided; undivided: they could not be;
    codes: class -> values in masks, as the layout says
    """
    manifest, stops = audit.evidence.manifest, audit.of(Severity.STOP)
    if not manifest.label_names and not manifest.mask_names:
        return "not with this version: there are boxes and neither label nor mask, and it trains no detectors"
    if manifest.says_nothing:
        return "not yet: fill in the labels, or run again with labels=<csv>"
    if not all(_DROPS in stop.remedy for stop in stops):
        return "not yet: training would stop at what is marked STOP"
    if undivided:
        return "not yet: training could not divide the patients either"
    command = _train_command(audit.evidence, path, [*_as_read(conf), *([(_DUPLICATES, _DROPS)] if stops else [])], conf)
    return command if manifest.label_names else f"{command}{_structures(manifest, codes or {})}"


def _structures(manifest: Manifest, codes: Mapping[str, Sequence[int]]) -> str:
    """What the values of the masks mean, which the manifest does not hold."""
    named = {name: values for name, values in codes.items() if name != BACKGROUND}
    if manifest.mask_names != [""] or not named or not all(_NAME.fullmatch(name) for name in named):
        return ""
    told = ", ".join(f"{name}: [{', '.join(map(str, values))}]" for name, values in named.items())
    return " " + shlex.quote(f"data.structures={{{told}}}")


def _train_command(evidence: Evidence, path: Path, more: Sequence[tuple[str, Any]], conf: DataConf) -> str:
    scans = "mri" if any(len(one.record.sides_px) == 3 for one in evidence.measured) else "xray"
    task = f"{scans}_{'cls' if evidence.manifest.label_names else 'seg'}"
    root = evidence.manifest.root
    settings = [
        ("data.root", root),
        ("data.manifest", path.relative_to(root).as_posix() if path.is_relative_to(root) else path),
        *more,
        *_as_divided(evidence.manifest, conf.splits),
    ]
    words = [f"+task={task}", "data=custom", *(f"{name}={_value(value)}" for name, value in settings)]
    return f"python -m medcnn.train {shlex.join(words)}"


def _as_read(conf: ReadingConf) -> Iterator[tuple[str, Any]]:
    """Reading settings that are not the default: training must see the values that were measured."""
    for one in fields(ReadingConf):
        if getattr(conf, one.name) != one.default:
            yield f"data.{one.name}", getattr(conf, one.name)


def _as_divided(manifest: Manifest, conf: SplitConf) -> Iterator[tuple[str, Any]]:
    """What training would otherwise decide anew."""
    present = {case.split for case in manifest.cases}
    if present == {""}:
        for one in fields(SplitConf):
            if getattr(conf, one.name) != one.default:
                yield f"data.splits.{one.name}", getattr(conf, one.name)
    elif "calib" not in present:
        yield "data.splits.calib", 0


def _value(value: Any) -> str:
    """As Hydra reads it back."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
