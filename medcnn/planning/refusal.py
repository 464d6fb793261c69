"""Why no plan can be made."""

from __future__ import annotations

from medcnn.errors import UserError


class PlanError(UserError, ValueError):
    """What stands in the way and what to do. The code is for machines and tests.

    NO_CASES, FACTS, AXES, CONSTANT, STRUCTURE, TOO_SMALL, MEMORY, SETTING
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
