"""Doctor: what this machine has for medcnn in one screen, and what is missing.

python -m medcnn.doctor
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from medcnn import __version__

USAGE = """usage: python -m medcnn.doctor

Versions, device, memory, disk, pixel decoders and the MLflow store of this machine, and what is missing.
exit codes: 0 all that is needed is there, 1 something is missing
"""

NEEDED = (
    "torch", "torchvision", "monai", "lightning", "mlflow", "hydra-core", "omegaconf", "pydicom", "nibabel", "numpy",
    "scipy", "scikit-learn", "pandas", "matplotlib", "pillow", "safetensors",
)  # fmt: skip

# What reads which DICOM transfer syntax; all come with medcnn.
DECODERS = {
    "uncompressed, RLE, deflated": "pydicom",
    "JPEG baseline": "PIL",
    "JPEG lossless, JPEG 12-bit": "imagecodecs",
    "JPEG-LS": "jpeg_ls",
    "JPEG 2000, HTJ2K": "openjpeg",
}

_ENOUGH_DISK_GB, _ENOUGH_MEMORY_GB = 5, 4


@dataclass(frozen=True)
class Finding:
    """One line. `remedy` is '' where all is well."""

    name: str
    found: str
    remedy: str = ""


def doctor() -> list[Finding]:
    """Everything that was looked at. Imports torch, to ask for its devices."""
    return [*_versions(), *_devices(), *_room(), *_decoders(), *_store()]


def _versions() -> Iterator[Finding]:
    yield Finding(
        "medcnn", f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
    found, missing = [], []
    for name in NEEDED:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    yield Finding(
        "packages", ", ".join(found), f"missing: {', '.join(missing)}. pip install medcnn again" if missing else ""
    )


def _devices() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        yield Finding("device", "unknown", "torch is missing. pip install medcnn again")
        return
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("processor", f"{cores} cores, {torch.backends.cpu.get_cpu_capability()}")
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(number)
            precision = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
            yield Finding(f"GPU {number}", f"{card.name}, {card.total_memory / 1e9:.0f} GB, trains in {precision}")
    elif torch.backends.mps.is_available():
        yield Finding("GPU", "Apple silicon (MPS)")
    elif shutil.which("nvidia-smi"):
        yield Finding("GPU", "a driver is there, torch cannot use it", "install a torch build for this CUDA driver")
    else:
        yield Finding("GPU", "none: training runs on the processor, which does for pictures and small volumes")


def _room() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    free_gb = memory.available / 1e9
    remedy = "close other programs, or set data.memory_gb=1" if free_gb < _ENOUGH_MEMORY_GB else ""
    yield Finding("memory", f"{free_gb:.1f} of {memory.total / 1e9:.1f} GB free", remedy)
    disk_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    remedy = "free space, or set output=<folder on another disk>" if disk_gb < _ENOUGH_DISK_GB else ""
    yield Finding("disk here", f"{disk_gb:.0f} GB free", remedy)
    if not os.access(Path.cwd(), os.W_OK):
        yield Finding("folder", "not writable", "go to a folder of your own, or set output=<folder>")


def _decoders() -> Iterator[Finding]:
    missing = [syntax for syntax, module in DECODERS.items() if importlib.util.find_spec(module) is None]
    there = [syntax for syntax in DECODERS if syntax not in missing]
    remedy = f"cannot be read: {', '.join(missing)}. pip install medcnn again" if missing else ""
    yield Finding("pixel decoders", "; ".join(there), remedy)


def _store() -> Iterator[Finding]:
    from medcnn.tracking.store import resolve_store

    try:
        store = resolve_store("")
    except ValueError as error:
        yield Finding("MLflow store", "unusable", str(error))
        return
    source = "from MLFLOW_TRACKING_URI" if os.environ.get("MLFLOW_TRACKING_URI") else "default"
    yield Finding("MLflow store", f"{store.uri} ({source})")


def main() -> None:
    """The command."""
    if sys.argv[1:]:
        asked = sys.argv[1] in ("-h", "--help")
        print(USAGE, file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)
    findings = doctor()
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{'ok ' if not finding.remedy else 'FIX'}  {finding.name:<{width}}  {finding.found}")  # noqa: T201
        if finding.remedy:
            print(f"     {'':<{width}}  -> {finding.remedy}")  # noqa: T201
    missing = sum(bool(finding.remedy) for finding in findings)
    print("all that is needed is there" if not missing else f"{missing} thing(s) to mend")  # noqa: T201
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
