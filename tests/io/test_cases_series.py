"""Conformance 5.2, what the other files' tests leave open of series and folders; each test is named after its case."""

from __future__ import annotations

import copy
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medcnn.io.discover import Found, Skipped, discover
from medcnn.io.read import read_scan, source_files
from medcnn.scan import Reason, ScanRejected

Read = Callable[..., Any]
Bundled = Callable[[str], Path]
Write = Callable[..., Path]


def in_child(code: str, *arguments: Path | str, timeout_s: float = 120) -> list[str]:
    """The lines that a process of its own prints; an endless walk or read ends as TimeoutExpired."""
    child = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(child, capture_output=True, text=True, check=True, timeout=timeout_s).stdout.splitlines()


@pytest.mark.case("V07")
def test_V07_the_uneven_slices_are_named_in_mm(rejected: Read, series_folder: Path) -> None:
    found = rejected(series_folder / "77654033" / "CT2")
    assert found.code is Reason.SLICE_SPACING_IRREGULAR
    assert "lie 202.50 mm apart, the others 1.25 mm" in found.found


@pytest.mark.case("V08")
def test_V08_localizers_are_skipped_in_a_folder(series_folder: Path) -> None:
    found = list(discover(series_folder / "98892001" / "CT2N"))
    assert [one.rejection.code for one in found if isinstance(one, Skipped)] == [Reason.LOCALIZER] * 2
    assert len(found) == 2


@pytest.mark.case("V09")
def test_V09_each_of_three_xrays_is_a_case_that_is_read(series_folder: Path) -> None:
    root = series_folder / "77654033"
    cases = [case for name in ("CR1", "CR2", "CR3") for case in discover(root / name) if isinstance(case, Found)]
    assert len(cases) == 3
    assert len({case.identity for case in cases}) == 3
    scans = [read_scan(root / name, case.reference) for name, case in zip(("CR1", "CR2", "CR3"), cases, strict=True)]
    assert all(scan.voxels.ndim == 3 and scan.geometry is None for scan in scans)


def two_series(number: int, data: Dataset) -> None:
    data.SeriesInstanceUID = f"1.2.{number % 2}"


def wider_gap(number: int, data: Dataset) -> None:
    data.ImagePositionPatient = ["0", "0", str(2.5 * number + (1.0 if number > 5 else 0.0))]


def one_turned(number: int, data: Dataset) -> None:
    if number == 3:
        data.ImageOrientationPatient = ["0", "1", "0", "0", "0", "-1"]


@pytest.mark.case("V12")
@pytest.mark.parametrize(
    ("change", "count", "code", "told"),
    [
        (two_series, 8, Reason.NOT_A_VOLUME, "the folder holds 2 series"),
        (None, 3, Reason.TOO_FEW_SLICES, "found 3 slice(s), a volume needs at least 4"),
        (wider_gap, 8, Reason.SLICE_SPACING_IRREGULAR, "slices 5 and 6 lie 3.50 mm apart, the others 2.50 mm"),
        (one_turned, 8, Reason.ORIENTATION_INCONSISTENT, "slices in about 2 orientations"),
    ],
    ids=["not a volume", "slice count", "slice increment", "slice orientation"],
)
def test_V12_twins_of_four_folders_that_fail(
    rejected: Read, write_series: Write, phantom: np.ndarray, change: Any, count: int, code: Reason, told: str
) -> None:
    options = {} if change is None else {"change": change}
    found = rejected(write_series(phantom[:, :, :count], **options))
    assert found.code is code
    assert told in found.found


@pytest.mark.case("V14")
def test_V14_all_ten_frames_are_the_same_in_five_encodings(read: Read, bundled: Bundled) -> None:
    kinds = ("", "_RLE", "_big_endian", "_jpeg_2k_lossless", "_jpeg_ls_lossless")
    frames = {kind: [read(bundled(f"emri_small{kind}"), f"#frame={n}").voxels for n in range(10)] for kind in kinds}
    assert len({frame.tobytes() for frame in frames[""]}) == 10
    assert all(np.array_equal(frames[kind], frames[""]) for kind in kinds)


@pytest.fixture
def enhanced(bundled: Bundled, tmp_path: Path) -> Callable[..., Path]:
    """A multi-frame CT: frame n at place[n] mm, its times as given; each pixel is the frame's number."""

    def write(places_mm: list[float], times: list[int] | None) -> Path:
        data = pydicom.dcmread(bundled("eCT_Supplemental"))
        first = data.PerFrameFunctionalGroupsSequence[0]
        shared = data.SharedFunctionalGroupsSequence[0]
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        groups = []
        for number, place_mm in enumerate(places_mm):
            group = copy.deepcopy(first)
            group.PlanePositionSequence[0].ImagePositionPatient = ["-10", "-20", str(place_mm)]
            if times is not None:
                group.FrameContentSequence[0].TemporalPositionIndex = times[number]
            groups.append(group)
        data.PerFrameFunctionalGroupsSequence = groups
        data.Rows, data.Columns, data.NumberOfFrames = 6, 5, len(groups)
        data.PixelData = np.repeat(np.arange(len(groups), dtype=np.uint16), 30).tobytes()
        data.save_as(tmp_path / "enhanced.dcm")
        return tmp_path / "enhanced.dcm"

    return write


@pytest.mark.case("V15")
@pytest.mark.parametrize("times", [[1, 1, 1, 1, 2, 2, 2, 2], [1, 2, 1, 2, 1, 2, 1, 2]])
def test_V15_a_multi_frame_object_in_four_dimensions(
    rejected: Read, read: Read, enhanced: Callable[..., Path], times: list[int]
) -> None:
    order = {1: iter([0, 1, 2, 3]), 2: iter([0, 1, 2, 3])}
    path = enhanced([10.0 * next(order[time]) for time in times], times)
    found = rejected(path)
    assert found.code is Reason.FOUR_D_AMBIGUOUS
    assert "time: 1, 2" in found.found
    for time in (1, 2):
        scan = read(path, f"#time={time}")
        assert scan.voxels.shape == (1, 5, 6, 4)
        assert scan.geometry.spacing_mm()[2] == pytest.approx(10)
        expected = [number - 1024 for number, at in enumerate(times) if at == time]  # rescale 1/-1024, shared
        assert scan.voxels[0, 0, 0].tolist() == expected


@pytest.mark.case("V15")
def test_V15_frames_at_one_place_are_never_stacked(rejected: Read, enhanced: Callable[..., Path]) -> None:
    assert rejected(enhanced([0.0, 10.0, 10.0, 20.0], None)).code is Reason.SLICE_DUPLICATE
    assert rejected(enhanced([0.0] * 4, None), "", min_slices=2).code in (
        Reason.FOUR_D_AMBIGUOUS,
        Reason.SLICE_DUPLICATE,
    )


@pytest.mark.case("V20")
@pytest.mark.parametrize("position", [["0", "nan", "0"], ["0", "inf", "0"], ["0", "0"], None])
def test_V20_a_position_that_cannot_be(
    rejected: Read, write_series: Write, phantom: np.ndarray, position: list[str] | None
) -> None:
    def change(number: int, data: Dataset) -> None:
        if number == 4 and position is None:
            del data.ImagePositionPatient
        elif number == 4:
            data.ImagePositionPatient = position

    assert rejected(write_series(phantom, change=change)).code is Reason.GEOMETRY_INVALID


@pytest.mark.case("V21")
def test_V21_one_series_is_ten_times_on_request(medcnn_data: Path) -> None:
    root = medcnn_data / "dicom" / "dcm_qa_nih" / "In" / "20180918GE"
    whole = list(discover(root))
    assert [one.reference for one in whole if isinstance(one, Found)] == ["mr_0004"]
    assert all(one.rejection.code is Reason.NOT_DICOM for one in whole if isinstance(one, Skipped))  # its README
    split = [one.reference for one in discover(root, split_by=["time"]) if isinstance(one, Found)]
    assert split == [f"mr_0004#time={time}" for time in range(1, 11)]


# Prints what is opened below the folder, and anything that ends as the reference does; then what came of it.
WATCHED = """
import os, sys
from pathlib import Path

folder, what = Path(sys.argv[1]).resolve(), sys.argv[2]
from medcnn.io.discover import discover
from medcnn.io.read import read_scan
from medcnn.scan import ScanRejected

def watch(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], (str, bytes, os.PathLike)):
        name = os.path.abspath(os.fsdecode(arguments[0]))
        if event == "open" and (name.startswith(str(folder)) or name.endswith("etc/passwd")):
            print("opened", os.path.relpath(name, folder))

sys.addaudithook(watch)
try:
    if what:
        read_scan(folder / "a" / "b", what)
        print("read")
    else:
        for one in discover(folder / "a" / "b"):
            rejection = getattr(one, "rejection", None)
            print("found" if rejection is None else rejection.code.value, one.reference)
except ScanRejected as rejected:
    print(rejected.rejection.code.value)
"""


@pytest.fixture
def traversing(tmp_path: Path, series_folder: Path, bundled: Bundled) -> Path:
    """a/b/ with a DICOMDIR (and its copy under another name) that refers to ../../etc/passwd, which is there."""
    data = pydicom.dcmread(series_folder / "DICOMDIR")
    referring = [record for record in data.DirectoryRecordSequence if "ReferencedFileID" in record]
    for record in referring:
        record.ReferencedFileID = ["..", "..", "etc", "passwd"]
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_bytes(bundled("CT_small").read_bytes())
    data.save_as(tmp_path / "a" / "b" / "DICOMDIR")
    content = (tmp_path / "a" / "b" / "DICOMDIR").read_bytes()
    assert content.count(rb"..\..\etc\passwd") == len(referring) > 0
    (tmp_path / "a" / "b" / "index").write_bytes(content)
    (tmp_path / "a" / "b" / "scan.dcm").write_bytes(bundled("MR_small").read_bytes())
    return tmp_path


@pytest.mark.case("V22")
@pytest.mark.parametrize("named", ["DICOMDIR", "index"])
def test_V22_a_named_directory_leads_nowhere(traversing: Path, named: str) -> None:
    *opened, outcome = in_child(WATCHED, traversing, named)
    assert outcome == "NOT_AN_IMAGE"
    assert set(opened) == {f"opened a/b/{named}"}


@pytest.mark.case("V22")
def test_V22_a_found_directory_leads_nowhere(traversing: Path) -> None:
    lines = in_child(WATCHED, traversing, "")
    assert [line for line in lines if not line.startswith("opened")] == [
        "NOT_AN_IMAGE DICOMDIR",
        "NOT_AN_IMAGE index",
        "found scan.dcm",
    ]
    assert set(lines) & {"opened a/b/index", "opened a/b/scan.dcm"}, "the hook sees what is opened"
    assert not [line for line in lines if line.startswith("opened") and "passwd" in line]


@pytest.mark.case("V22")
def test_V22_the_watch_would_see_it(traversing: Path) -> None:
    lines = in_child(
        WATCHED.replace("if what:", "open(folder / 'etc/passwd').close()\n    if what:"), traversing, "index"
    )
    assert "opened etc/passwd" in lines


@pytest.mark.case("V24")
@pytest.mark.parametrize("min_slices", [1, 2, 4])
def test_V24_one_slice_is_no_volume_however_few_are_asked_for(
    rejected: Read, write_series: Write, phantom: np.ndarray, min_slices: int
) -> None:
    found = rejected(write_series(phantom[:, :, :1]), min_slices=min_slices)
    assert found.code is Reason.TOO_FEW_SLICES
    assert "found 1 slice(s), a volume needs at least 2" in found.found


WALKED = """
import os, sys
import medcnn.io.dicom.slices, medcnn.io.read
from pathlib import Path
from medcnn.io.discover import discover

os.chdir(sys.argv[1])
if os.geteuid() == 0:  # root may read everything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for one in discover(Path(".")):
    rejection = getattr(one, "rejection", None)
    print("found" if rejection is None else rejection.code.value, one.reference)
"""


@pytest.mark.case("I07")
@pytest.mark.skipif(not hasattr(os, "setuid"), reason="the system has no users of its own")
def test_I07_what_may_not_be_read_is_skipped(tmp_path: Path, write_image: Write) -> None:
    write_image(np.ones((2, 2), "u2"), "root/good.dcm")
    write_image(np.ones((2, 2), "u2"), "root/locked/inside.dcm")
    write_image(np.ones((2, 2), "u2"), "root/secret.dcm").chmod(0)
    root = tmp_path / "root"
    root.chmod(0o755)
    (root / "good.dcm").chmod(0o644)
    (root / "locked").chmod(0)
    try:
        lines = in_child(WALKED, root)
    finally:
        (root / "locked").chmod(0o700)
    assert sorted(lines) == ["READ_ERROR locked", "READ_ERROR secret.dcm", "found good.dcm"]


READ_EACH = """
import sys
from pathlib import Path
from medcnn.io.discover import discover
from medcnn.io.read import read_scan
from medcnn.scan import ScanRejected

root = Path(sys.argv[1])
for one in discover(root):
    rejection = getattr(one, "rejection", None)
    print("walk", one.reference, "found" if rejection is None else rejection.code.value)
for name in sys.argv[2:]:
    try:
        read_scan(root, name)
        print("read", name, "ok")
    except ScanRejected as rejected:
        print("read", name, rejected.rejection.code.value)
"""


@pytest.mark.case("I07")
def test_I07_loops_pipes_and_devices_end(tmp_path: Path, write_series: Write, phantom: np.ndarray) -> None:
    root = write_series(phantom)
    (root / "myself").symlink_to("myself")
    (root / "left").symlink_to("right")
    (root / "right").symlink_to("left")
    (root / "up").symlink_to(root)
    (root / "zeros").symlink_to("/dev/zero")
    os.mkfifo(root / "pipe")
    names = ("myself", "left", "up", "zeros", "pipe")
    lines = in_child(READ_EACH, root, *names, ".")
    assert lines[-1] == "read . ok"  # the volume beside them
    assert [line for line in lines if line.startswith("walk")][-1] == "walk . found"
    assert set(lines) >= {f"walk {name} NOT_REGULAR_FILE" for name in (*names, "right")}
    ends = {line.split()[1]: line.split()[2] for line in lines if line.startswith("read")}
    assert ends["pipe"] == "NOT_REGULAR_FILE"
    assert ends["zeros"] == "PATH_ESCAPE"
    assert {ends["myself"], ends["left"]} == {"READ_ERROR"}
    assert ends["up"] == "ok"  # a link to a folder inside the root, named on purpose


@pytest.mark.case("I07")
def test_I07_a_device_node_is_no_file(tmp_path: Path) -> None:
    node = tmp_path / "zeros.dcm"
    try:
        os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except (OSError, AttributeError):
        pytest.skip("no device node can be made here")
    with pytest.raises(ScanRejected) as caught:
        read_scan(tmp_path, "zeros.dcm")
    assert caught.value.rejection.code is Reason.NOT_REGULAR_FILE
    (one,) = discover(tmp_path)
    assert isinstance(one, Skipped)
    assert one.rejection.code is Reason.NOT_REGULAR_FILE


@pytest.mark.case("S04")
def test_S04_a_link_out_of_the_root_is_no_slice(tmp_path: Path, write_series: Write, phantom: np.ndarray) -> None:
    """What discovery leaves out, reading leaves out: else a case would be read that nobody found."""
    folder = write_series(phantom, folder="root/series")
    (folder / "007.dcm").rename(tmp_path / "outside.dcm")
    (folder / "007.dcm").symlink_to(tmp_path / "outside.dcm")
    root = tmp_path / "root"
    found = list(discover(root))
    (case,) = (one for one in found if isinstance(one, Found))
    assert [one.reference for one in found if isinstance(one, Skipped)] == ["series/007.dcm"]
    assert len(source_files(root, case.reference)) == 7
    assert read_scan(root, case.reference).identity == case.identity


@pytest.mark.case("S04")
def test_S04_the_second_file_of_a_pair_may_not_lie_outside(tmp_path: Path) -> None:
    import nibabel

    root = tmp_path / "root"
    root.mkdir()
    nibabel.Nifti1Pair(np.ones((3, 4, 5), np.int16), np.eye(4)).to_filename(root / "pair.hdr")
    (root / "pair.img").rename(tmp_path / "outside.img")
    (root / "pair.img").symlink_to(tmp_path / "outside.img")
    with pytest.raises(ScanRejected) as caught:
        read_scan(root, "pair.hdr")
    assert caught.value.rejection.code is Reason.PATH_ESCAPE
