"""What a run was made with: code, versions, machine. Reads files and package metadata; imports nothing heavy."""

from __future__ import annotations

import platform
import shutil
import socket
import subprocess
from importlib import metadata
from pathlib import Path

import medcnn

PACKAGES = ("torch", "monai", "lightning", "torchvision", "timm", "mlflow", "numpy", "pydicom", "nibabel")
GIT_TIMEOUT_S = 5.0


def environment(*, device: str = "") -> dict[str, str]:
    """Tags for a run. device is what the caller trains on ("cpu", "NVIDIA H100"): to find out would import torch."""
    tags = {
        "medcnn.version": medcnn.__version__,
        "host": socket.gethostname(),
        "platform": platform.platform(terse=True),
        "python": platform.python_version(),
        **versions(),
        **source(),
    }
    return {**tags, "device": device} if device else tags


def versions() -> dict[str, str]:
    """Installed versions of what decides a result, as version.<package>."""
    found = {}
    for package in PACKAGES:
        try:
            found[f"version.{package}"] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def source() -> dict[str, str]:
    """The commit that medcnn itself runs from, and whether its files differ from it; empty for an installed package."""
    checkout = Path(medcnn.__file__).resolve().parent.parent
    git = shutil.which("git")
    if git is None or not (checkout / ".git").exists():
        return {}
    try:
        commit = _git(git, checkout, "rev-parse", "HEAD")
        dirty = _git(git, checkout, "status", "--porcelain", "--untracked-files=no") != ""
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"mlflow.source.git.commit": commit, "git.dirty": str(dirty).lower()}


def _git(git: str, checkout: Path, *arguments: str) -> str:
    answer = subprocess.run(
        [git, "-C", str(checkout), *arguments], capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True
    )
    return answer.stdout.strip()
