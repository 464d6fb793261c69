"""How the processes of one distributed training find each other: the first names its run folder in the environment.

Lightning starts the further ones with the same command; they read the run's own config instead of the command line.
"""

from __future__ import annotations

import os
from pathlib import Path

_RUN, _RESUMES = "MEDCNN_RUN", "MEDCNN_RESUMES"


def announce(run: Path, *, resumes: bool) -> None:
    """Said by the first process, before it starts others."""
    os.environ[_RUN], os.environ[_RESUMES] = str(run), str(int(resumes))


def helped_run() -> Path | None:
    """The run folder that this process helps with; None in the first process, and in any other command."""
    found = os.environ.get(_RUN)
    return Path(found) if found and os.environ.get("LOCAL_RANK", "0") != "0" else None


def helps_to_resume() -> bool:
    """Whether that run goes on from a checkpoint."""
    return os.environ.get(_RESUMES) == "1"
