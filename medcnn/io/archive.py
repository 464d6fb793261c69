"""Rows of one array archive in the MedMNIST layout: `{train,val,test}_{images,labels}` in an `.npz`.

Arrays are unpacked once per process and kept, for a packed archive cannot be read row by row.
"""

from __future__ import annotations

import threading
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from medcnn.scan import Reason, Scan, ScanRejected

Array = npt.NDArray[Any]
PARTS = ("train", "val", "test")
MAX_MEMBER_BYTES = 4 * 2**30
_KEPT = 6  # arrays: images and labels of three parts
_arrays: OrderedDict[tuple[str, int, int, str], Array] = OrderedDict()
_lock = threading.Lock()


def rows(path: Path) -> list[tuple[str, int, tuple[int, ...]]]:
    """(part, index, label) of every row; the label is () without labels, one class index, or one 0 or 1 per finding."""
    shapes = members(path)
    found: list[tuple[str, int, tuple[int, ...]]] = []
    for part in PARTS:
        if f"{part}_images" not in shapes:
            continue
        count = shapes[f"{part}_images"][0]
        labels: list[tuple[int, ...]] = [()] * count
        if f"{part}_labels" in shapes:
            table = array(path, f"{part}_labels")
            if table.dtype.kind not in "iub" or len(table) != count:
                raise _broken(f"{part}_labels are not {count} whole numbers or rows of them")
            labels = [tuple(int(value) for value in row) for row in table.reshape(count, -1)]
        found += [(part, index, label) for index, label in enumerate(labels)]
    return found


def read_row(path: Path, part: str, index: int) -> Scan:
    """One row: (1, H, W), (3, H, W) or (1, D, H, W), values 0 to 255."""
    name = f"{part}_images"
    images = array(path, name) if name in members(path) else None
    if images is None or index >= len(images):
        raise ScanRejected(
            Reason.READ_ERROR,
            f"the archive has no such row in the part asked for ({index})",
            "Check the manifest's #row=",
        )
    row = images[index].astype(np.float32)
    in_colour = row.ndim == 3 and row.shape[-1] == 3
    voxels = np.ascontiguousarray(np.moveaxis(row, -1, 0)) if in_colour else row[None]
    return Scan(voxels=voxels, value_range=(0.0, 255.0), facts={"format": "npz", "spacing_source": "unknown"})


def members(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays, from their headers only; ARCHIVE_UNSAFE or BOMB before memory is taken."""
    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    with _lock:
        if key not in _shapes:
            _shapes.clear()
            _shapes[key] = _read_shapes(path)
        return _shapes[key]


_shapes: dict[tuple[str, int, int], dict[str, tuple[int, ...]]] = {}


def _read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    wanted = {f"{part}_{what}" for part in PARTS for what in ("images", "labels")}
    shapes = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in wanted:
                    shapes[name] = _checked_shape(archive, info, name)
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        if isinstance(error, ScanRejected):
            raise
        raise _broken(f"it cannot be opened as an .npz ({type(error).__name__})") from None
    if not any(name.endswith("_images") for name in shapes):
        raise _broken("it has none of train_images, val_images, test_images")
    return shapes


def _checked_shape(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> tuple[int, ...]:
    with archive.open(info) as member:
        version = npy.read_magic(member)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(member)
        header_bytes = member.tell()
    if dtype.hasobject:
        raise ScanRejected(
            Reason.ARCHIVE_UNSAFE, "the archive holds pickled objects", "Save plain arrays with numpy.savez_compressed"
        )
    claimed = int(np.prod(shape, dtype=object)) * dtype.itemsize + header_bytes
    if max(claimed, info.file_size) > MAX_MEMBER_BYTES:
        raise ScanRejected(
            Reason.BOMB,
            f"an array unpacks to more than {MAX_MEMBER_BYTES // 2**30} GiB",
            "Split the archive into files",
        )
    if claimed != info.file_size:
        raise _broken("an array is shorter or longer than it says")
    if name.endswith("_images") and (dtype != np.uint8 or len(shape) not in (3, 4) or 0 in shape[1:]):
        raise _broken("images must be uint8 of (n, H, W), (n, H, W, 3) or (n, D, H, W)")
    return tuple(int(size) for size in shape)


def array(path: Path, name: str) -> Array:
    """One array, unpacked at its first use and kept while the file stays as it is."""
    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size, name)
    with _lock:
        if key in _arrays:
            _arrays.move_to_end(key)
            return _arrays[key]
    members(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            loaded: Array = archive[name]
    except (ValueError, zipfile.BadZipFile, OSError, EOFError, zlib.error) as error:
        raise _broken(f"an array cannot be unpacked ({type(error).__name__})") from None
    loaded.setflags(write=False)  # handed out many times
    with _lock:
        _arrays[key] = loaded
        while len(_arrays) > _KEPT:
            _arrays.popitem(last=False)
    return loaded


def _broken(how: str) -> ScanRejected:
    return ScanRejected(Reason.READ_ERROR, f"the archive is not in the MedMNIST layout: {how}", "Export it again")
