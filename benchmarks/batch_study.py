"""One DICOM study to masks, DICOM SEG, SR and SC: seconds of reading, computing, restoring and writing.

    python -m benchmarks.batch_study [dicom=<folder of series>] [model=<run or package>] [size=512,512,120] [rounds=3]
        [work=batch_bench] [synthetic=yes]

A synthetic CT (512 x 512 x 120, 63 MB in 120 files) and, with dicom=, real series; each with `medcnn.predict`, whole
command, and from its ledger the seconds of each part (seconds_of). Without model= the network is a stub of one
convolution of 1 x 1 x 1 that draws by value, so that all but the computing is measured.

The peer, in turn with it, is what one would write with the bare libraries: SimpleITK reads the series, numpy draws the
same structures by value, highdicom writes the SEG onto the source slices. No check of the series, no report, no ledger.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process_tree import Taken, taken

_REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULTS = {
    "dicom": "", "model": "", "size": "512,512,120", "rounds": "3", "work": "batch_bench",
    "synthetic": "yes", "json": "",
}  # fmt: skip
_PARTS = ("read", "compute", "restore", "write")
_CT = "1.2.840.10008.5.1.4.1.1.2"


def write_ct(folder: Path, size: tuple[int, int, int]) -> None:
    """An axial CT of three levels in noise: air, a body, two organs in it."""
    from mixed_dicom import as_bytes, picture

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    across, down = np.meshgrid(*(np.linspace(-1, 1, length) for length in size[:2]), indexing="xy")
    for at in range(size[2]):
        along = 2 * at / size[2] - 1
        values = np.full(across.shape, 0.0)
        values[across**2 + down**2 < 0.8] = 60
        values[(across - 0.3) ** 2 + down**2 + along**2 < 0.12] = 150
        values[(across + 0.4) ** 2 + (down - 0.1) ** 2 + along**2 < 0.05] = 230
        values += generator.normal(0, 12, values.shape)
        data = picture(1, (values + 1024).astype(np.uint16), SOPClassUID=_CT, Modality="CT", BodyPartExamined="ABDOMEN")
        data.SOPInstanceUID, data.InstanceNumber = f"{data.SOPInstanceUID}.{at + 1}", at + 1
        data.FrameOfReferenceUID, data.ImageType = f"{data.StudyInstanceUID}.9", ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = "1", "-1024", "HU"
        data.PixelSpacing, data.SliceThickness = [0.8, 0.8], 2.5
        data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-200, -200, 2.5 * at]
        data.PatientID, data.PatientName, data.StudyID, data.AccessionNumber = "P1", "Phantom", "1", "A1"
        data.PatientBirthDate, data.PatientSex, data.StudyTime, data.ReferringPhysicianName = "", "", "120000", ""
        data.SeriesNumber, data.PositionReferenceIndicator = 1, ""
        (folder / f"{at:04d}.dcm").write_bytes(as_bytes(data))


def our_model(folder: Path) -> Path:
    """The stub: background up to 100, liver up to 200, kidney beyond."""
    from packages import tiny_segmenter_package

    from medcnn.inference.mask_rule import MaskRule

    shutil.rmtree(folder, ignore_errors=True)
    rule = MaskRule(("liver", "kidney"), values={"liver": (1,), "kidney": (2,)})
    return tiny_segmenter_package(
        folder, rule=rule, codes={"liver": "10200004", "kidney": "64033007"}, patch=(96, 96, 64)
    )


def ours(source: Path, model: Path, output: Path) -> tuple[Taken, list[dict[str, Any]]]:
    """The command over the folder, and its rows."""
    shutil.rmtree(output, ignore_errors=True)
    words = [f"model={model}", f"input={source}", f"output={output}", "inference.accelerator=cpu"]
    command = [sys.executable, "-m", "medcnn.predict", *words]
    done = taken(command, dict(os.environ), output.with_suffix(".log"), ends=(0, 8, 9))
    return done, [json.loads(line) for line in (output / "ledger.jsonl").read_text().splitlines()]


def bare(source: Path, output: Path) -> None:
    """The peer, in a process of its own; prints its seconds by part."""
    import highdicom as hd
    import pydicom
    import SimpleITK as sitk  # noqa: N813  as its own examples say
    from pydicom.sr.codedict import codes

    marks = [time.perf_counter()]
    reader = sitk.ImageSeriesReader()
    names = reader.GetGDCMSeriesFileNames(str(source))
    reader.SetFileNames(names)
    voxels = sitk.GetArrayFromImage(reader.Execute())
    marks.append(time.perf_counter())
    labels = ((voxels > 100).astype(np.uint8) + (voxels > 200)).astype(np.uint8)
    marks.append(time.perf_counter())
    slices = [pydicom.dcmread(name) for name in names]
    algorithm = hd.AlgorithmIdentificationSequence(name="bare", version="1", family=codes.DCM.ArtificialIntelligence)
    segments = [
        hd.seg.SegmentDescription(
            number, label, codes.SCT.Organ, code, hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC, algorithm
        )
        for number, (label, code) in enumerate((("liver", codes.SCT.Liver), ("kidney", codes.SCT.Kidney)), start=1)
    ]
    made = hd.seg.Segmentation(
        slices, labels, hd.seg.SegmentationTypeValues.BINARY, segments, hd.UID(), 100, hd.UID(), 1,
        "bare", "bare", "1", "1",
    )  # fmt: skip
    made.save_as(output)
    marks.append(time.perf_counter())
    print(json.dumps(dict(zip(("read", "compute", "write"), np.diff(marks).round(3).tolist(), strict=True))))


def peer(source: Path, output: Path) -> dict[str, float]:
    """Its parts, and the whole process."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.batch_study", "bare", str(source), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=_REPOSITORY)
    parts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**parts, "whole": round(time.perf_counter() - began, 3)}


def say(name: str, rows: list[dict[str, float]]) -> None:
    """Medians of the rounds."""
    parts = (f"{part} {statistics.median(row[part] for row in rows):.3f}" for part in rows[0])
    print(f"{name:<34} {', '.join(parts)}", flush=True)


def measured(asked: dict[str, str], work: Path) -> dict[str, Any]:
    """Seconds by part, of each series."""
    model = Path(asked["model"]) if asked["model"] else our_model(work / "model_study")
    result: dict[str, Any] = {}
    if asked["synthetic"] == "yes":
        size = tuple(int(part) for part in asked["size"].split(","))
        write_ct(work / "ct", (size[0], size[1], size[2]))
        theirs, us = [], []
        for number in range(int(asked["rounds"])):
            for who in ("us", "them")[:: -1 if number % 2 else 1]:
                if who == "them":
                    theirs.append(peer(work / "ct", work / "bare.dcm"))
                    continue
                done, (row,) = ours(work / "ct", model, work / "study")
                if row["status"] != "ok":
                    sys.exit(f"{row['reason_code']}: {row['found']}")
                split = {part: row["seconds_of"].get(part, 0.0) for part in _PARTS}
                us.append({**split, "case": row["seconds"], "whole": done.wall_s, "peak_mb": done.peak_mb})
        sizes = {name: (work / "study" / name).stat().st_size for name in row["files"]}
        say(f"medcnn, {asked['size']}", us)
        say("bare SimpleITK and highdicom", theirs)
        print("\n".join(f"  {name}  {size / 2**20:.2f} MB" for name, size in sizes.items()))
        result["synthetic"] = {"medcnn": us, "bare": theirs, "bytes": sizes}
    if asked["dicom"]:
        _, rows = ours(Path(asked["dicom"]), model, work / "real")
        for row in rows:
            if row["status"] == "ok" and row["seconds_of"]:
                say(row["reference"][-34:], [{part: row["seconds_of"].get(part, 0.0) for part in _PARTS}])
            else:
                print(f"{row['reference'][-34:]:<34} {row['reason_code'] or row['reason']}")
        result["real"] = [{key: row[key] for key in ("reference", "reason_code", "seconds_of")} for row in rows]
    return result


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["bare"]:
        bare(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    asked = DEFAULTS | dict(word.split("=", 1) for word in sys.argv[1:])
    sys.path[:0] = [str(_REPOSITORY / "tests"), str(_REPOSITORY / "tests" / "commands")]
    work = Path(asked["work"]).resolve()
    work.mkdir(parents=True, exist_ok=True)
    result = measured(asked, work)
    target = Path(asked["json"]) if asked["json"] else work / "batch_study.json"
    target.write_text(json.dumps({"asked": asked, **result}, indent=2))
    print(f"written: {target}")


if __name__ == "__main__":
    main()
