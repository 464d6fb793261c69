"""What a process is sent out with, before its first case."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medcnn.config.folders import data_root
from medcnn.config.predict import PredictConf


@dataclass(frozen=True)
class Errand:
    """All that a process needs to know before its first case.

    conf     with the package as a folder
    root     what the cases' references are relative to
    results  the folder
    """

    conf: PredictConf
    root: Path
    results: Path

    @classmethod
    def of(cls, conf: PredictConf, results: Path) -> Errand:
        """As the config says."""
        source = data_root(conf.input)
        return cls(conf, source.parent if source.is_file() else source, results)

    def as_json(self) -> dict[str, Any]:
        """For another process."""
        return {"conf": asdict(self.conf), "root": str(self.root), "results": str(self.results)}
