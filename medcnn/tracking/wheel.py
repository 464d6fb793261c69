"""The running medcnn as a wheel, so that a logged model carries the code that made it.

Written here, not by pip: it needs no build tools, no source checkout and no network, takes milliseconds, and the same
code always gives the same bytes. It is pure Python, so it can also be imported as it is, without being installed.
"""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import medcnn

UNDATED = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say
#: What predicting never needs; the serving environment stays smaller without it.
NOT_SERVED = {"hydra-core", "omegaconf", "lightning", "nvidia-ml-py", "rich", "jinja2", "matplotlib", "filelock"}


def build_wheel(folder: Path) -> Path:
    """Write medcnn-<version>-py3-none-any.whl into the folder."""
    version = medcnn.__version__
    info = f"medcnn-{version}.dist-info"
    contents = dict(_modules())
    contents[f"{info}/METADATA"] = _metadata(version)
    contents[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: medcnn\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"medcnn-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, UNDATED)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return path


def _modules() -> Iterator[tuple[str, bytes]]:
    """The package's code and configuration; sample scans stay behind."""
    package = Path(medcnn.__file__).parent
    for path in sorted(package.rglob("*")):
        inside = path.relative_to(package)
        if path.is_file() and "__pycache__" not in inside.parts and inside.parts[0] != "_samples":
            yield f"medcnn/{inside.as_posix()}", path.read_bytes()
    configuration = package.parent / "conf"  # in a source checkout; installed, it is medcnn/_conf already
    if (package.parent / "pyproject.toml").exists() and configuration.is_dir():
        for path in sorted(configuration.rglob("*.yaml")):
            yield f"medcnn/_conf/{path.relative_to(configuration).as_posix()}", path.read_bytes()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def _metadata(version: str) -> bytes:
    lines = ["Metadata-Version: 2.1", "Name: medcnn", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in _declared()]
    return ("\n".join(lines) + "\n").encode()


def _declared() -> list[str]:
    """What medcnn depends on, extras left out."""
    checkout = Path(medcnn.__file__).parent.parent / "pyproject.toml"
    if checkout.exists():
        project = tomllib.loads(checkout.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == "medcnn":
            return list(project["dependencies"])
    try:
        declared = metadata.requires("medcnn") or []
    except metadata.PackageNotFoundError:
        return []
    return [requirement for requirement in declared if "extra ==" not in requirement]


def requirements() -> list[str]:
    """The versions at hand of what predicting needs, for the environment a model is served in."""
    return sorted(filter(None, map(_pinned, _declared())))


def _pinned(requirement: str) -> str:
    match = re.match(r"([A-Za-z0-9._-]+)(\[[^\]]*\])?", requirement)
    if match is None or match[1].lower() in NOT_SERVED:
        return ""
    try:
        version = metadata.version(match[1])
    except metadata.PackageNotFoundError:
        return ""
    return f"{match[1]}{match[2] or ''}=={version.partition('+')[0]}"  # "+cpu" is not on every index
