"""Dice over time of a segmenter, beside nnU-Net v2 with its own schedule compressed into 60 minutes.

    python -m benchmarks.segmentation_curve root=<hippocampus, MSD> [peer=<nnU-Net's python>] [work=segmentation_bench]
        [do=peer,medcnn,report] [steps=360] [minutes=12] [words="trainer.members=1 ..."] [run=<run folder>]

Target: the Dice that nnU-Net has after 60 minutes on two cores is reached in at most a fifth of that time. Both train
on fold 0 of splits.json and are measured on its validation cases: Dice of whole scans in their own grids, mean.

peer    nnU-Net's trainer, `steps` of its batches of 7 (360 of about 10 s each on two quiet cores are 60 minutes), its
        learning rate falling over these; the weights after each quarter outline the cases without and with mirroring.
        Its minutes are the seconds that it had of all cores, through `threads`: those that a quiet machine takes if
        both cores are always busy, which favours nnU-Net. The time by the clock is in the table too. It goes on where
        it was cut off. Prediction and all validation but one batch an epoch, which its log wants, do not count.
medcnn  `python -m medcnn.train` with trainer.max_minutes=`minutes`, by the clock, imports and validations included. It
        keeps to minutes, so this needs a quiet machine: how much of the cores it had is said. Dice is that of its
        validations after epochs (where it trains several networks, of each alone), and at last that of the package.
        With run= an earlier training is taken, of the same fold.
report  curve.csv, curve.png and a table in the work folder, from what the others left there.
"""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from benchmarks.segmentation_peer import FOLD, STRUCTURES, SUFFIX, Peer
from medcnn.evaluation.segmentation.glance import dice_at_a_glance

DEFAULTS = {
    "root": "", "peer": "", "work": "segmentation_bench", "do": "peer,medcnn,report", "steps": "360", "minutes": "12",
    "words": "", "run": "", "threads": "2",
}  # fmt: skip
COLUMNS = ("who", "minutes", "clock_minutes", "steps", *STRUCTURES, "note")
Row = dict[str, object]


# nnU-Net


def peer_rows(peer: Peer, steps: int) -> list[Row]:
    """Train, outline, measure; each only where it was not done yet."""
    peer = replace(peer, results=f"results_{steps}")
    peer.prepare()
    if not (peer.trained / "checkpoint_100.pth").is_file():
        peer.run("train", steps=steps)
    done, rows = _epochs(peer), []
    for part in (100, 75, 50, 25):
        for mirroring in ("no", "yes"):
            output = peer.trained / f"outlined_{part}_mirroring_{mirroring}"
            if len(list(output.glob(f"*{SUFFIX}"))) < len(peer.held_out):
                asked = {"input": peer.held_out_images, "output": output, "checkpoint": f"checkpoint_{part}.pth"}
                peer.run("predict", **asked, mirroring=mirroring)
            note = f"{steps} steps" + (", mirrored copies averaged" if mirroring == "yes" else "")
            row = {"who": "nnU-Net", **done[max(done) * part // 100], **dice_of(peer, output), "note": note}
            rows.append(row)
    return sorted(rows, key=lambda row: (str(row["note"]), row["steps"]))


def _epochs(peer: Peer) -> dict[int, Row]:
    """Epoch -> times until its end. The last line of an epoch counts: it may have been trained twice."""
    lines = [json.loads(line) for line in (peer.trained / "epochs.jsonl").read_text().splitlines()]
    each = {int(line["epoch"]): line for line in lines}
    cores = np.cumsum([each[number]["cpu_s"] for number in sorted(each)])
    clock = np.cumsum([each[number]["wall_s"] for number in sorted(each)])
    return {
        number: {
            "minutes": float(cores[at]) / 60 / peer.threads,
            "clock_minutes": float(clock[at]) / 60,
            "steps": each[number]["steps"],
        }
        for at, number in enumerate(sorted(each))
    }


def dice_of(peer: Peer, folder: Path) -> dict[str, float]:
    """Structure -> mean Dice of the validation cases, by the masks in a folder."""
    import nibabel

    found: dict[str, list[float]] = {name: [] for name in STRUCTURES}
    for case in peer.held_out:
        truth, given = (
            np.asanyarray(nibabel.load(path / f"{case}{SUFFIX}").dataobj).astype(np.uint8)[None]  # type: ignore[attr-defined]
            for path in (peer.root / "labelsTr", folder)
        )
        for name, value in dice_at_a_glance(truth, given, STRUCTURES).items():
            found[name].append(value)
    return {name: float(np.nanmean(values)) for name, values in found.items()}


# medcnn


def our_rows(peer: Peer, minutes: str, words: str) -> list[Row]:
    """One training, its validations as they came."""
    output = peer.work / "medcnn" / f"{minutes}_minutes"
    command = [sys.executable, "-m", "medcnn.train", "+task=mri_seg", "data=hippocampus", f"data.root={peer.root}"]
    command += [f"data.fold={FOLD}", f"trainer.max_minutes={minutes}", f"output={output}", "tracking.wait_s=0"]
    command += [f"tracking.uri=sqlite:///{output}/mlflow.db", *words.split()]
    output.mkdir(parents=True, exist_ok=True)
    clock, before = time.perf_counter(), _cores_s()
    with (output / "train.log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    share = (_cores_s() - before) / (time.perf_counter() - clock) / peer.threads
    print(f"max_minutes={minutes}: medcnn had {share:.0%} of {peer.threads} cores")
    return rows_of_run((output / "mri_seg" / "latest").resolve())


def _cores_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def rows_of_run(run: Path) -> list[Row]:
    """When each validation ended, by what the run told its tracker, and at last the package, when its report was there.

    Time begins with the run's folder, a second or two after the command.
    """
    began = datetime.strptime(run.name.rpartition("_")[0], "%Y-%m-%d_%H-%M-%S").timestamp()
    plan = json.loads((run / "plan.json").read_text())
    rows: list[Row] = []
    for line in (run / "tracking" / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        found = event.get("values", {})
        if event["kind"] == "metrics" and "val/dice" in found and "train/loss" in found:
            dice = {name: found[f"val/dice.{name}"] for name in STRUCTURES}
            note = f"network {-(-event['step'] // plan['steps'])} of {plan['members']} while it trains"
            rows.append(_our_row((event["time_ms"] / 1000 - began) / 60, event["step"], dice, note))
    measured = json.loads((run / "metrics.json").read_text())["val"]
    ended = ((run / "metrics.json").stat().st_mtime - began) / 60
    package = {name: measured[f"dice.{name}"]["value"] for name in STRUCTURES}
    return [*rows, _our_row(ended, plan["steps"] * plan["members"], package, "the package")]


def _our_row(minutes: float, steps: int, dice: dict[str, float], note: str) -> Row:
    return {"who": "medcnn", "minutes": minutes, "clock_minutes": minutes, "steps": steps, **dice, "note": note}


# Both


def report(work: Path, rows: list[Row]) -> None:
    """curve.csv, curve.png, and a line for each point."""
    with (work / "curve.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()})
    print(f"{'':<10}{'minutes':>9}{'by clock':>10}{'steps':>7}" + "".join(f"{name:>11}" for name in STRUCTURES))
    for row in rows:
        dice = "".join(f"{row[name]:>11.4f}" for name in STRUCTURES)
        print(
            f"{row['who']:<10}{row['minutes']:>9.1f}{row['clock_minutes']:>10.1f}{row['steps']:>7}{dice}  {row['note']}"
        )
    draw(work / "curve.png", rows)
    print(work / "curve.png")


def draw(path: Path, rows: list[Row]) -> None:
    """A panel for each structure, a line for each training."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(STRUCTURES), figsize=(10, 4), sharex=True, sharey=True, layout="constrained")
    lines = list(dict.fromkeys((row["who"], row["note"]) for row in rows))
    for panel, name in zip(panels, STRUCTURES, strict=True):
        for who, note in lines:
            points = [row for row in rows if (row["who"], row["note"]) == (who, note)]
            label = f"{who}{', ' if note else ''}{note}"
            panel.plot([row["minutes"] for row in points], [row[name] for row in points], marker=".", label=label)
        panel.set(title=name, xlabel="minutes on two cores")
        panel.grid(visible=True, alpha=0.3)
    panels[0].set_ylabel("Dice, mean of the validation cases")
    panels[-1].legend(loc="lower right", fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """What is asked for, then the report of all that is there."""
    asked = DEFAULTS | dict(word.split("=", 1) for word in sys.argv[1:])
    peer, do = Peer.of(asked), asked["do"].split(",")
    kept = peer.work / "curve.json"
    rows: list[Row] = json.loads(kept.read_text()) if kept.is_file() else []
    reason = peer.missing() if "peer" in do else ""
    if reason:
        print(f"nnU-Net's curve is not measured: {reason}")
    elif "peer" in do:
        rows = [row for row in rows if row["who"] != "nnU-Net"] + peer_rows(peer, int(asked["steps"]))
    if "medcnn" in do:
        run = Path(asked["run"]).resolve() if asked["run"] else None
        mine = rows_of_run(run) if run else our_rows(peer, asked["minutes"], asked["words"])
        rows = [row for row in rows if row["who"] != "medcnn"] + mine
    peer.work.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(rows, indent=1))
    if "report" in do:
        report(peer.work, rows)


if __name__ == "__main__":
    main()
