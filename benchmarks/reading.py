"""How fast DICOM folders are looked into and read, beside SimpleITK (GDCM), and what discovering 100,000 files takes.

    python -m benchmarks.reading [rounds=5] [files=5000] [many=100000]

Targets: scanning a tree of 5,000 files at least 3 times as fast as SimpleITK's series scan, reading its series into
volumes with all checks at least as fast as its series reader, discovery of 100,000 files under 600 MB.
scan_gdcm is GetGDCMSeriesIDs and GetGDCMSeriesFileNames, scan_gdcm_names the first alone; read_itk sorts the files by
GDCM, read_itk_named is given them in their order.
Both sides run as processes of their own, in turn, on the same files; a process imports, touches every file once (so
that neither pays for the disk) and then times its work. Ratios are pair by pair; the median counts.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

KINDS = {"mr": (12, 192), "ct": (4, 512)}  # series for 5,000 files, and pixels a side


def make_tree(root: Path, files: int) -> None:
    """Mixed studies: MR and CT series with real headers, single X-rays, localizers, and what is no scan."""
    per_series = files // 20
    for kind, (count, side) in KINDS.items():
        for number in range(count):
            _write_series(root / f"study{number:02d}" / f"{kind}{number}", kind, side, per_series, number)
    template = _template("ct")
    for number in range(files // 10):
        template.Modality, template.SOPClassUID = "CR", "1.2.840.10008.5.1.4.1.1.1"
        template.SeriesInstanceUID = template.SOPInstanceUID = pydicom.uid.generate_uid()
        _save(template, root / "xray" / f"{number:05d}.dcm")
    for number in range(files - len(_all(root))):
        path = root / "notes" / f"{number:05d}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"no scan {number}\n" * 20)


def _template(kind: str) -> Dataset:
    return pydicom.dcmread(str(get_testdata_file("MR_small.dcm" if kind == "mr" else "CT_small.dcm", download=False)))


def _write_series(folder: Path, kind: str, side: int, count: int, seed: int) -> None:
    data, series = _template(kind), pydicom.uid.generate_uid()
    generator = np.random.default_rng(seed)
    picture = generator.integers(0, 2000, (side, side)).astype(np.int16)
    data.Rows = data.Columns = side
    data.SeriesInstanceUID, data.ImageOrientationPatient = series, [1, 0, 0, 0, 1, 0]
    data.StudyInstanceUID, data.PixelSpacing = pydicom.uid.generate_uid(), [0.9, 0.9]
    for place in range(count):
        data.SOPInstanceUID = pydicom.uid.generate_uid()
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.InstanceNumber, data.ImagePositionPatient = count - place, [-100, -100, 1.5 * place]
        data.PixelData = np.roll(picture, place).tobytes()
        _save(data, folder / f"{place:05d}.dcm")


def _save(data: Dataset, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    pydicom.dcmwrite(path, data)


def _all(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def series_folders(root: Path) -> list[Path]:
    """Folders that hold one MR or CT series each."""
    return sorted(path for path in root.glob("study*/*") if path.is_dir())


def scan_medcnn(root: Path) -> int:
    """Cases found."""
    from medcnn.io.discover import Found, discover

    return sum(isinstance(item, Found) for item in discover(root))


def scan_gdcm(root: Path) -> int:
    """Series found, with the sorted files of each: what the series reader needs.

    Asking for the files scans the whole folder again, so for the folder of X-rays, a series each, it is left out.
    """
    import SimpleITK

    reader, found = SimpleITK.ImageSeriesReader, 0
    for folder in sorted({path.parent for path in _all(root)}):
        series = reader.GetGDCMSeriesIDs(str(folder))
        found += len(series) if len(series) != 1 else bool(reader.GetGDCMSeriesFileNames(str(folder), series[0]))
    return found


def scan_gdcm_names(root: Path) -> int:
    """Series found, without their files: less than discovery does."""
    import SimpleITK

    folders = sorted({path.parent for path in _all(root)})
    return sum(len(SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))) for folder in folders)


def read_medcnn(root: Path) -> int:
    """Voxels read, every check made."""
    from medcnn.io.read import read_scan

    return sum(read_scan(root, str(folder.relative_to(root))).voxels.size for folder in series_folders(root))


def read_itk(root: Path) -> int:
    """Voxels read: files sorted by GDCM, stacked by ITK, as float32."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)  # noqa: FBT003  its own
    total = 0
    for folder in series_folders(root):
        reader = SimpleITK.ImageSeriesReader()
        reader.SetOutputPixelType(SimpleITK.sitkFloat32)
        reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
        total += int(np.prod(reader.Execute().GetSize()))
    return total


def read_itk_named(root: Path) -> int:
    """Voxels read: files given in their order, so that ITK only reads and stacks."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)  # noqa: FBT003  its own
    total = 0
    for folder in series_folders(root):
        reader = SimpleITK.ImageSeriesReader()
        reader.SetOutputPixelType(SimpleITK.sitkFloat32)
        reader.SetFileNames([str(path) for path in sorted(folder.iterdir())])
        total += int(np.prod(reader.Execute().GetSize()))
    return total


WORK = {
    "scan_medcnn": scan_medcnn,
    "scan_gdcm": scan_gdcm,
    "scan_gdcm_names": scan_gdcm_names,
    "read_medcnn": read_medcnn,
    "read_itk": read_itk,
    "read_itk_named": read_itk_named,
}


def _timed(name: str, root: Path) -> float:
    """Seconds of one piece of work, in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.reading", name, str(root)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _child(name: str, root: Path) -> None:
    for path in _all(root):
        path.read_bytes()
    WORK[name](next(iter(sorted(root.glob("study*")))))  # imports, and one study as a warm-up
    if name == "read_medcnn" or name == "scan_medcnn":
        from medcnn.io.dicom import series as dicom_series

        dicom_series._headers.clear()  # what was remembered of the warm-up
    began = time.perf_counter()
    WORK[name](root)
    print(time.perf_counter() - began)


def compare(ours: str, theirs: str, root: Path, rounds: int) -> None:
    """A line: how many times as fast, pair by pair."""
    pairs = [(_timed(ours, root), _timed(theirs, root)) for _ in range(rounds)]
    ratios = [their / own for own, their in pairs]
    own_s, their_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(
        f"{ours} beside {theirs}: {statistics.median(ratios):.2f} times as fast "
        f"({min(ratios):.2f} to {max(ratios):.2f}); {own_s:.2f} s and {their_s:.2f} s"
    )


def peak_memory(many: int, folder: Path) -> None:
    """Discovery of many small files in a process of its own: its peak, and that of the bare imports."""
    root = folder / "many"
    data = _template("mr")
    data.Rows = data.Columns = 4
    data.PixelData = bytes(32)
    for number in range(many):
        if number % 100 == 0:
            data.SeriesInstanceUID = pydicom.uid.generate_uid()
            (root / f"{number // 100:05d}").mkdir(parents=True)
            _save(data, root / f"{number // 100:05d}" / "0.dcm")
            content = (root / f"{number // 100:05d}" / "0.dcm").read_bytes()
            uid = str(data.SOPInstanceUID).encode()
        stamp = f"1.2.{number:09d}".encode().ljust(len(uid), b"9")[: len(uid)]
        (root / f"{number // 100:05d}" / f"{number % 100}.dcm").write_bytes(content.replace(uid, stamp))
    program = (
        "import resource, sys; from pathlib import Path; from medcnn.io.discover import discover\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = sum(1 for _ in discover(Path(sys.argv[1])))\n"
        "print(found, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program, str(root)], capture_output=True, text=True, check=True)
    found, before, peak = (int(word) for word in done.stdout.split())
    seconds = time.perf_counter() - began
    print(
        f"discovering {many} files: {found} cases, {seconds:.0f} s, "
        f"peak {peak / 1024:.0f} MB, of which {before / 1024:.0f} MB imports"
    )


def main() -> None:
    """The whole comparison, or one timed piece of it."""
    if len(sys.argv) == 3 and sys.argv[1] in WORK:
        _child(sys.argv[1], Path(sys.argv[2]))
        return
    asked = dict(word.split("=") for word in sys.argv[1:])
    rounds, files, many = (
        int(asked.get(key, value)) for key, value in (("rounds", 5), ("files", 5000), ("many", 100000))
    )
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        root = Path(folder) / "tree"
        make_tree(root, files)
        print(f"{len(_all(root))} files, {len(series_folders(root))} series", flush=True)
        compare("scan_medcnn", "scan_gdcm", root, rounds)
        compare("scan_medcnn", "scan_gdcm_names", root, rounds)
        compare("read_medcnn", "read_itk", root, rounds)
        compare("read_medcnn", "read_itk_named", root, rounds)
        peak_memory(many, Path(folder))


if __name__ == "__main__":
    main()
