"""The verb sync: bring to MLflow what could not be delivered, and mark runs KILLED whose process is gone.

python -m medcnn.sync [runs=runs]
"""

from __future__ import annotations

import sys
from pathlib import Path

from medcnn.config.arguments import ArgumentError, key_values
from medcnn.tracking.deliver import Outcome, deliver
from medcnn.tracking.store import silence
from medcnn.tracking.sweep import run_folders, undelivered

HELP = """medcnn sync [runs=runs]

Bring to MLflow what training could not deliver while MLflow was away, and mark
runs KILLED whose process is gone. Prints a line for each run it touched.

  runs    the folder that holds the run folders (default: runs)

MLFLOW_TRACKING_URI may send runs elsewhere that no MLflow has seen yet.
Exit code: 0 all delivered, 1 something is still missing, 2 wrong arguments.
"""
PATIENCE_S = 10.0
GOOD = {Outcome.DELIVERED, Outcome.RUNNING, Outcome.BUSY}


def sync(run_root: Path, *, patience_s: float = PATIENCE_S) -> int:
    """Deliver every undelivered run below a folder; 0 if nothing is missing afterwards, else 1.

    patience_s  how long to try one run while MLflow does not answer
    """
    silence()
    outcomes = []
    for folder in undelivered(run_root):
        outcomes.append(deliver(folder, follow=False, patience_s=patience_s))
        _say(f"{folder.relative_to(run_root.resolve()).as_posix()}: {outcomes[-1]}")
    if not outcomes:
        _say(f"{len(run_folders(run_root))} runs below {run_root}, all delivered")
    return 0 if GOOD.issuperset(outcomes) else 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """The door."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"--help", "-h"}.intersection(arguments):
        _say(HELP)
        return 0
    try:
        run_root = Path(key_values(arguments, {"runs": "runs"})["runs"])
        if not run_root.is_dir():
            raise ArgumentError(f"runs={run_root}: there is no such folder here. Name the one that training wrote to")
    except ArgumentError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return sync(run_root)


if __name__ == "__main__":
    sys.exit(main())
