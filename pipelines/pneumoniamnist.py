"""PneumoniaMNIST at 28 pixels (MedMNIST v2, CC BY 4.0): three seeds, chosen on validation pictures.

    python -m pipelines.pneumoniamnist root=<folder with the .npz> [output=runs] [seeds=3]

Expected on the validation part: AUROC 0.998, accuracy 0.98 at the package's threshold. Wall time on two cores: about
six minutes a seed. Validation pictures of this set are easier than its test pictures; test a package with
`python -m medcnn.evaluate model=<run> data=pneumoniamnist data.root=<folder> data.split=test output=<folder>`.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from medcnn.config.arguments import key_values
from medcnn.config.compose import CommandLine, checked
from medcnn.train import train

METRICS = ("auroc", "accuracy", "balanced_accuracy")


def study(root: str, output: str, seeds: int, *more: str) -> list[Path]:
    """Train one package per seed; their run folders."""
    words = ["+task=xray_cls", "data=pneumoniamnist", f"data.root={root}", f"output={output}", *more]
    return [train(checked("train", CommandLine.of("train", [*words, f"seed={seed}"]))) for seed in range(seeds)]


def summary(runs: list[Path], split: str = "val") -> str:
    """Mean, standard deviation and each seed's value with its interval."""
    found = [json.loads((run / "metrics.json").read_text()) for run in runs]
    lines = [f"{split}, {len(runs)} seeds"]
    for metric in METRICS:
        values = [one[split][metric]["value"] for one in found]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        each = ", ".join("{value:.4f} ({low:.4f} to {high:.4f})".format(**one[split][metric]) for one in found)
        lines.append(f"{metric:<18} {statistics.mean(values):.4f} ± {spread:.4f}   seeds: {each}")
    minutes = ", ".join(f"{one['training']['wall_minutes']:.1f}" for one in found)
    return "\n".join([*lines, f"minutes of training {minutes}"])


def main() -> None:
    """The command."""
    given = key_values(sys.argv[1:], {"root": "", "output": "runs", "seeds": "3"})
    print(summary(study(given["root"], given["output"], int(given["seeds"]))))  # noqa: T201


if __name__ == "__main__":
    main()
