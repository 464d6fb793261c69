"""What is wrong with a config, all of it at once."""

from __future__ import annotations

from collections.abc import Sequence


class ConfigError(ValueError):
    """Every problem that was found, each a line that says what to type instead."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("the config cannot be run:\n" + "\n".join(f"  - {problem}" for problem in self.problems))
