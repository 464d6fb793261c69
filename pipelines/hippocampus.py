"""Hippocampus in MRI, anterior and posterior (Medical Segmentation Decathlon Task04, CC BY-SA 4.0).

    python -m pipelines.hippocampus root=<the task's folder> [output=runs] [minutes=30] [fold=0]

Trains within the minutes and measures on the cases of one of the five folds in splits.json; fold= (nothing after it)
trains on all but 8 % of the cases, for a model to be used. Wall time on two cores: the minutes asked for.
Expected figures: benchmarks/README.md. In all five folds the plan of 30 minutes has a Dice of 0.898 and 0.881, that of
120 minutes no more (0.899 and 0.880); both were computed on a GPU, and not by this command. For cases elsewhere:
`python -m medcnn.evaluate model=<run> data=hippocampus data.root=<folder with imagesTr and labelsTr> data.split=test
output=<folder>`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from medcnn.config.arguments import key_values
from medcnn.config.compose import CommandLine, checked
from medcnn.train import train

STRUCTURES = ("anterior", "posterior")


def study(root: str, output: str, minutes: str, fold: str, *more: str) -> Path:
    """Train one package; its run folder."""
    words = ["+task=mri_seg", "data=hippocampus", f"data.root={root}", f"output={output}"]
    words += [f"trainer.max_minutes={minutes}", *([f"data.fold={fold}"] if fold else []), *more]
    return train(checked("train", CommandLine.of("train", words)))


def summary(run: Path) -> str:
    """Dice and 95th percentile of surface distance of each structure, with intervals."""
    found = json.loads((run / "metrics.json").read_text())
    split = next(name for name in ("test", "val") if name in found)
    lines = [f"{split}, {found[split]['dice.anterior']['n']} cases, {found['training']['wall_minutes']:.1f} minutes"]
    for structure in STRUCTURES:
        for metric in ("dice", "hd95_mm"):
            value = found[split][f"{metric}.{structure}"]
            lines.append("{0:<10} {1:<8} {value:.4f} ({low:.4f} to {high:.4f})".format(structure, metric, **value))
    return "\n".join(lines)


def main() -> None:
    """The command."""
    given = key_values(sys.argv[1:], {"root": "", "output": "runs", "minutes": "30", "fold": "0"})
    print(summary(study(given["root"], given["output"], given["minutes"], given["fold"])))  # noqa: T201


if __name__ == "__main__":
    main()
