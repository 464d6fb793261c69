"""medcnn <verb> ...: the same as python -m medcnn.<verb> ... ."""

from __future__ import annotations

import importlib
import sys

from medcnn import __version__
from medcnn.config.fields import nearest

VERBS = {
    "prepare": "a folder of scans becomes a manifest, and an audit of it",
    "train": "a manifest becomes a model package in a run",
    "evaluate": "a model and labelled data become metrics with intervals",
    "predict": "a model and a folder of scans become predictions",
    "compare": "two runs on the same cases, with paired intervals and tests",
    "models": "the networks by name: their size, cost, least input and weights on this machine",
    "doctor": "what this machine has, and what is missing",
    "cache": "how large the prepared scans are; clear them",
    "ui": "the MLflow dashboard of the runs",
    "sync": "deliver what MLflow has not received yet",
}

USAGE = "\n".join(
    [
        f"medcnn {__version__}: from a folder of X-ray or MRI scans to a CNN one can trust",
        "",
        "usage: medcnn <verb> [setting=value ...]      medcnn <verb> --help says more",
        "",
        *(f"  {verb:<10}{words}" for verb, words in VERBS.items()),
    ]
)


def main() -> None:
    """The console script."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)  # noqa: T201
        sys.exit(0 if words else 2)
    if words[0] in ("--version", "-V"):
        print(__version__)  # noqa: T201
        sys.exit(0)
    verb = words[0]
    if verb not in VERBS:
        print(f"medcnn: there is no verb {verb!r}.{nearest(verb, list(VERBS))}\n\n{USAGE}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    sys.argv = [f"medcnn {verb}", *words[1:]]
    sys.exit(importlib.import_module(f"medcnn.{verb}").main())


if __name__ == "__main__":
    main()
