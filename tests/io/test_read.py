from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medcnn.io import read as read_module
from medcnn.io.read import read_scan, rejecting, source_files
from medcnn.scan import Reason, ScanRejected


class PanicException(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PanicException("rust"), Reason.DECODE_FAILED),
        (MemoryError(), Reason.MEMORY),
        (OSError(5, "I/O"), Reason.READ_ERROR),
        (KeyError("Canary^Name"), Reason.INTERNAL),
    ],
)
def test_whatever_a_reader_throws_is_a_rejection(error: BaseException, code: Reason) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(ScanRejected) as caught:
        rejecting(fail)()
    assert caught.value.rejection.code is code
    assert "Canary" not in str(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_a_program_passes(error: type[BaseException]) -> None:
    def stop() -> None:
        raise error

    with pytest.raises(error):
        rejecting(stop)()


def test_a_panic_anywhere_in_reading_is_a_rejection(
    rejected: Callable[..., Any], bundled: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def panic(*_: Any) -> None:
        raise PanicException

    monkeypatch.setattr("medcnn.io.dicom.image.check_burned_in", panic)
    assert rejected(bundled("MR_small_RLE")).code is Reason.DECODE_FAILED


def test_source_files_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    assert source_files(tmp_path, "a.png") == [(tmp_path / "a.png").resolve()]
    with pytest.raises(ScanRejected, match="PATH_ESCAPE"):
        source_files(tmp_path, "../a.png")


def test_an_empty_folder_is_no_scan(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScanRejected, match="NOT_DICOM: the folder holds no DICOM image"):
        read_scan(tmp_path, "empty")


def test_reading_imports_neither_torch_nor_monai_nor_codecs() -> None:
    heavy = ("torch", "monai", "mlflow", "imagecodecs", "nibabel", "highdicom", "scipy")
    code = f"import sys, medcnn.io.read, medcnn.io.discover; print([m for m in {heavy} if m in sys.modules])"
    root = Path(read_module.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
