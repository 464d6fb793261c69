"""What MLflow admits as the name of a metric, a parameter or a model."""

from __future__ import annotations

import re

KEY_CHARACTERS = 250


def clean_key(name: str) -> str:
    """MLflow's alphabet for names."""
    return re.sub(r"[^\w.\- /]", "_", name, flags=re.ASCII)[:KEY_CHARACTERS]
