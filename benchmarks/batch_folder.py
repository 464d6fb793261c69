"""The hostile folder of the tests at full size, 100 good scans and 30 bad ones, and kill -9 at random moments.

    python -m benchmarks.batch_folder [kinds=volumes,pictures] [kills=50] [work=batch_bench] [seed=0]

One run from end to end, the same again, then a run into another folder that is killed and started again until it is
done. While that goes on every file is read in the moment in which it gets its name, and must be whole and the same as
the uninterrupted run's. Counts, no times: what is measured is that there is nothing to count.

Target: 100 results, 30 reasons, exit code 8; again: nothing recomputed, the ledger as it was; after the kills the same
bytes; no partial file, no process that outlives the command.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULTS = {"kinds": "volumes,pictures", "kills": "50", "work": "batch_bench", "seed": "0", "json": ""}


def gone_over(kind: str, asked: dict[str, str]) -> dict[str, Any]:
    """Counts of one kind of folder."""
    sys.path[:0] = [str(_REPOSITORY / "tests"), str(_REPOSITORY / "tests" / "commands")]
    from chaos import Command, differences, killed_until_done, results
    from mixed_folder import write_pictures, write_volumes
    from packages import tiny_package, tiny_segmenter_package
    from watcher import Watcher

    work = Path(asked["work"]).resolve() / f"hostile_{kind}"
    shutil.rmtree(work, ignore_errors=True)
    mixed = (write_volumes if kind == "volumes" else write_pictures)(work / "scans")
    model = (tiny_segmenter_package if kind == "volumes" else tiny_package)(work / "model")
    words = [f"model={model}", f"input={mixed.root}", f"privacy.key_file={work / 'key'}", "inference.accelerator=cpu"]

    # I01, I02: once, and again
    whole = Command([*words, f"output={work / 'whole'}"], work / "whole.log")
    began = time.monotonic()
    code = whole.run()
    seconds = time.monotonic() - began
    ledger = (work / "whole" / "ledger.jsonl").read_bytes()
    expected = results(work / "whole")
    rows = {row["reference"]: row["reason_code"] for row in expected["ledger.jsonl"].values()}
    found: dict[str, Any] = {
        "exit_code": code,
        "results": sum(not reason for reason in rows.values()),
        "reasons": sum(bool(reason) for reason in rows.values()),
        "wrong_reasons": sorted(name for name in rows if rows[name] != mixed.bad.get(name, "")),
        "codes": Counter(filter(None, rows.values())),
        "exit_code_again": whole.run(),
        "ledger_as_it_was": (work / "whole" / "ledger.jsonl").read_bytes() == ledger,
        "differences_again": differences(work / "whole", expected),
    }

    # I03: killed
    (work / "cut").mkdir(mode=0o700)
    watcher = Watcher(work / "cut", {name: value for name, value in expected.items() if "/" in name})
    cut = Command([*words, f"output={work / 'cut'}"], work / "cut.log")
    dice = random.Random(int(asked["seed"]))
    found["kills_that_hit"] = killed_until_done(cut, watcher, int(asked["kills"]), seconds, dice)
    found["exit_code_in_the_end"] = cut.run()
    watcher.close()
    found["files_seen"] = watcher.seen.total() - watcher.seen["row"]
    found["rows_seen"] = watcher.seen["row"]
    found["faults_seen"] = watcher.faults
    found["differences_in_the_end"] = differences(work / "cut", expected)
    found["left_aside"] = [path.name for path in (work / "cut").rglob(".part-*")]
    return found


def main() -> None:
    """Run and print."""
    asked = DEFAULTS | dict(word.split("=", 1) for word in sys.argv[1:])
    Path(asked["work"]).mkdir(parents=True, exist_ok=True)
    result = {}
    for kind in asked["kinds"].split(","):
        result[kind] = gone_over(kind, asked)
        for what, value in result[kind].items():
            shown = dict(value) if isinstance(value, Counter) else value
            listed = isinstance(shown, list)
            print(
                f"{kind:<9} {what:<24} {len(shown) if listed else shown}  {shown[:5] if listed and shown else ''}",
                flush=True,
            )
    target = Path(asked["json"] or Path(asked["work"]) / "batch_folder.json")
    target.write_text(json.dumps({"asked": asked, **result}, indent=2))
    print(f"written: {target}")


if __name__ == "__main__":
    main()
