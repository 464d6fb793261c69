"""The config of compare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from medcnn.config.fields import MISSING, number


@dataclass
class CompareConf:
    """python -m medcnn.compare."""

    runs: list[str] = field(default_factory=list)  # two run or evaluation folders: A and B
    output: str = MISSING  # a new folder for the comparison
    names: list[str] = field(default_factory=lambda: ["A", "B"])  # what the two are called on the page
    split: str = ""  # "" is test where both runs have it, else the only split that both have
    seed: int = number(0, at_least=0)
    resamples: int = number(2000, at_least=100)

    def problems(self) -> Iterator[str]:
        if len(self.runs) != 2:
            yield f"runs: two folders are compared, got {len(self.runs)}. Write runs=[<run A>,<run B>]"
        if len(self.names) != 2 or len(set(self.names)) != 2 or not all(self.names):
            yield f"names: expected two different names, got {list(self.names)}. Write names=[before,after]"
        if any(mark in name for name in self.names for mark in "/\\"):
            yield "names: these stand on a page that may be shared, so they hold no path"
