"""Whether memory or open files grow with the length of a run: many small scans, one command.

    python -m benchmarks.batch_memory [kinds=volumes,pictures] [cases=1000] [work=batch_bench] [explain=gradcam]

Small NIfTI volumes for a segmenter, PNG pictures for a classifier, both with tiny networks of known weights.
Proportional set size, all and the anonymous part alone, and open files, summed over the tree of processes, whenever
another hundred cases stand in the ledger (medians of the half second around), and the slope of a line through the
anonymous part of all that was seen after the first hundred: the rest depends on what else runs on the machine.

Target: less than 1 MB more per 100 cases, as many open files at the end as after the first hundred. No peer: nnU-Net's
processes end with the folder, and its memory is measured in `batch_peer`.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from pathlib import Path

import numpy as np

from benchmarks.process_tree import Sample, taken

_REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULTS = {"kinds": "volumes,pictures", "cases": "1000", "work": "batch_bench", "explain": "gradcam", "json": ""}
_STEP = 100


def write_scans(folder: Path, kind: str, count: int) -> None:
    """Each of another content."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sys.path[:0] = [str(_REPOSITORY / "tests"), str(_REPOSITORY / "tests" / "commands")]
    from mixed_pictures import grey
    from mixed_volumes import nifti, packed, voxels
    from PIL import Image

    for number in range(count):
        if kind == "volumes":
            (folder / f"v{number:05d}.nii.gz").write_bytes(packed(nifti(voxels(number))))
        else:
            Image.fromarray(grey(number)).save(folder / f"p{number:05d}.png")


def write_model(folder: Path, kind: str) -> None:
    """A package with a tiny network."""
    from packages import tiny_package, tiny_segmenter_package

    shutil.rmtree(folder, ignore_errors=True)
    if kind == "volumes":
        tiny_segmenter_package(folder)
    else:
        tiny_package(folder)


class Rows:
    """How many cases stand in the ledger, read on from where the last look ended."""

    def __init__(self, ledger: Path) -> None:
        self.ledger, self.count, self._at = ledger, 0, 0

    def now(self) -> int:
        """Lines."""
        if self.ledger.is_file():
            with self.ledger.open("rb") as stream:
                stream.seek(self._at)
                new = stream.read()
            self._at += len(new)
            self.count += new.count(b"\n")
        return self.count


def measured(kind: str, asked: dict[str, str]) -> list[tuple[int, Sample]]:
    """(cases done, what was held) of a whole run."""
    work = Path(asked["work"]).resolve()
    write_scans(work / kind, kind, int(asked["cases"]))
    write_model(work / f"model_{kind}", kind)
    output = work / f"results_{kind}"
    shutil.rmtree(output, ignore_errors=True)
    rows, seen = Rows(output / "ledger.jsonl"), []
    words = [f"model={work / f'model_{kind}'}", f"input={work / kind}", f"output={output}", "inference.accelerator=cpu"]
    command = [sys.executable, "-m", "medcnn.predict", *words, f"explain={asked['explain']}"]
    done = taken(command, dict(os.environ), work / f"{kind}.log", look=lambda sample: seen.append((rows.now(), sample)))
    if rows.now() != int(asked["cases"]):
        sys.exit(f"{rows.now()} rows of {asked['cases']} cases; see {work / f'{kind}.log'}")
    print(f"{kind}: {asked['cases']} cases in {done.wall_s:.1f} s, peak {done.peak_mb:.1f} MB of all processes")
    return seen


def slope(seen: list[tuple[int, Sample]]) -> float:
    """MB per hundred cases, a straight line through everything behind the first hundred and before the last case."""
    last = seen[-1][0]
    later = np.array([(count, sample.anonymous_mb) for count, sample in seen if _STEP <= count < last])
    return float(np.polyfit(later[:, 0], later[:, 1], 1)[0]) * 100 if len(later) > 1 else float("nan")


def steps(seen: list[tuple[int, Sample]]) -> list[dict[str, float]]:
    """After every hundred cases: medians of what was held within a quarter of a second."""
    found = []
    for count in range(_STEP, seen[-1][0] + 1, _STEP):
        reached = next((sample.at_s for rows, sample in seen if rows >= count), None)
        near = [sample for _, sample in seen if reached is not None and abs(sample.at_s - reached) < 0.25]
        if near:
            names = ("pss_mb", "anonymous_mb", "handles", "processes")
            held = {name: round(statistics.median(getattr(one, name) for one in near), 2) for name in names}
            found.append({"cases": count, **held})
    return found


def main() -> None:
    """Measure and print."""
    asked = DEFAULTS | dict(word.split("=", 1) for word in sys.argv[1:])
    result = {}
    for kind in asked["kinds"].split(","):
        seen = measured(kind, asked)
        table = steps(seen)
        for row in table:
            parts = f"{row['pss_mb']:8.1f} MB, anonymous {row['anonymous_mb']:8.1f} MB, {row['handles']:.0f} open files"
            print(f"{kind:<9} after {row['cases']:5.0f}: {parts}, {row['processes']:.0f} processes")
        grows = slope(seen)
        print(f"{kind:<9} {grows:+.3f} MB per 100 cases; open files {min(row['handles'] for row in table):.0f} to "
              f"{max(row['handles'] for row in table):.0f}", flush=True)  # fmt: skip
        result[kind] = {
            "mb_per_100_cases": grows,
            "steps": table,
            "seen": [[n, one.at_s, one.pss_mb] for n, one in seen],
        }
    target = Path(asked["json"] or Path(asked["work"]) / "batch_memory.json")
    target.write_text(json.dumps({"asked": asked, **result}, indent=2))
    print(f"written: {target}")


if __name__ == "__main__":
    main()
