"""What to type after prepare, so that training sees the very data that were audited."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from medcnn.config.data import DataConf, SplitConf
from medcnn.config.reading import ReadingConf
from medcnn.data.audit.evidence import Evidence
from medcnn.data.manifest import Manifest

_PLAIN = re.compile(r"[\w/\\.\-+@%*?]+")  # what Hydra takes for one value without quotes


def train_command(manifest: Manifest, path: Path, evidence: Evidence, conf: DataConf) -> str:
    """A line for a shell. path: of the written manifest; conf: with which the scans were read and divided."""
    task = "mri_cls" if any(len(one.record.sides_px) == 3 for one in evidence.measured) else "xray_cls"
    root = manifest.root
    settings = [
        ("data.root", root),
        ("data.manifest", path.relative_to(root).as_posix() if path.is_relative_to(root) else path),
        *_as_read(conf),
        *_as_divided(manifest, conf.splits),
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
