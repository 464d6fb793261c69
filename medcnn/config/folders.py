"""Where medcnn's own configs and samples lie: in the checkout, else inside the installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parent

SAMPLES_PREFIX = "samples:"  # data.root=samples:xray names a folder of data_samples wherever that is installed


def _own_folder(in_checkout: str, in_package: str) -> Path:
    for folder in (_CHECKOUT / in_checkout, _PACKAGE / in_package):
        if folder.is_dir() and (in_checkout != "conf" or (folder / "train.yaml").is_file()):
            return folder
    raise FileNotFoundError(f"this installation of medcnn has no {in_checkout!r} folder. Install medcnn again.")


def conf_folder() -> Path:
    """The absolute folder of the Hydra configs."""
    return _own_folder("conf", "_conf")


def samples_folder() -> Path:
    """The absolute folder of the sample scans."""
    return _own_folder("data_samples", "_samples")


def checkout_folder() -> Path | None:
    """The source checkout, where this is one."""
    return _CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() else None


def data_root(root: str) -> Path:
    """data.root as an absolute path; `samples:<kind>` is a folder of the samples."""
    if root.startswith(SAMPLES_PREFIX):
        return samples_folder() / root.removeprefix(SAMPLES_PREFIX)
    return Path(root).expanduser().resolve()
