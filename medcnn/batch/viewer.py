"""The viewer of volumes that the page of results loads: NiiVue, whole and offline (medcnn/batch/vendor)."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from medcnn.whole_file import write_whole

VIEWER = "views/niivue.js"


def write_viewer(results_folder: Path) -> None:
    """Put it beside the views, once for all cases; its licence within. Raises OSError."""
    path = results_folder / VIEWER
    path.parent.mkdir(mode=0o700, exist_ok=True)
    vendor = files("medcnn.batch") / "vendor"
    licence = (vendor / "LICENSE").read_bytes().replace(b"*/", b"* /")
    content = b"/*! NiiVue 0.69.0\n" + licence + b"*/\n" + (vendor / "niivue.umd.js").read_bytes()
    if not path.is_file() or path.read_bytes() != content:
        write_whole(path, content)
