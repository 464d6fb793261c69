"""Prepare: a folder with a folder per class becomes a manifest that names classes and splits by patient.

python -m medcnn.prepare input=<folder> output=<folder>/manifest.csv
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from medcnn.config.compose import open_door
from medcnn.config.errors import ConfigError
from medcnn.config.verbs import PrepareConf

if TYPE_CHECKING:
    from medcnn.data.manifest import Case, Manifest
    from medcnn.data.privacy import Keyring

log = logging.getLogger("medcnn.prepare")

USAGE = """usage: python -m medcnn.prepare input=<folder> output=<manifest.csv>

Every folder directly below the input is a class; the scans at any depth in it (DICOM, NIfTI, PNG, JPEG) are its cases.

  input=<folder>        for example scans/normal/*.dcm and scans/pneumonia/*.dcm
  output=<file>         the manifest to write; image paths in it are relative to the input
  splits=true           divide patients into train, val, calib and test (data.splits.val=0.15 ...)
  overwrite=false       whether an existing manifest may be replaced

Then: python -m medcnn.train +task=xray_cls data=custom data.root=<input> data.manifest=<manifest below it>
exit codes: 0 done, 1 could not be done, 2 the config cannot be run, 3 no scan found
"""


def prepare(conf: PrepareConf) -> Path:
    """Write the manifest and return its path. Reads headers only.

    Raises DataError where no class folder or no scan is found, ConfigError for paths that cannot be.
    """
    root, output = _checked_paths(conf)
    from medcnn.data.manifest import Manifest
    from medcnn.data.privacy import Keyring, key_file
    from medcnn.data.split import with_splits
    from medcnn.errors import NothingToDoError
    from medcnn.run_folder import log_to_terminal, writing

    log_to_terminal()
    with writing(output.parent):
        output.parent.mkdir(parents=True, exist_ok=True)
        keyring = Keyring.at(key_file(conf.privacy.key_file, Path.cwd()))
        cases: list[Case] = list(_cases(root, keyring))
        if not cases:
            raise NothingToDoError(f"no scan was found in the folders below {root}. Each class needs a folder of scans")
        manifest = Manifest(root, tuple(cases))
        if conf.splits:
            manifest, _ = with_splits(manifest, conf.data.splits)
        _write(output, manifest)
    _say(manifest, output, root)
    return output


def _checked_paths(conf: PrepareConf) -> tuple[Path, Path]:
    root, output = Path(conf.input).expanduser().absolute(), Path(conf.output).expanduser().absolute()
    problems = []
    if not root.is_dir():
        problems.append(f"input: there is no folder {conf.input!r}")
    elif not any(path.is_dir() and not path.name.startswith(".") for path in root.iterdir()):
        problems.append(f"input: {conf.input!r} has no folder in it; it needs one per class")
    if output.exists() and not conf.overwrite:
        problems.append(f"output: {conf.output!r} exists. Give another name, or overwrite=true")
    if problems:
        raise ConfigError(problems)
    return root, output


def _cases(root: Path, keyring: Keyring) -> Iterator[Case]:
    from medcnn.data.manifest import Case
    from medcnn.io.discover import Found, discover

    skipped = 0
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        for found in discover(folder):
            if not isinstance(found, Found):
                skipped += 1
                continue
            reference = f"{folder.name}/{found.reference}"
            case_id = keyring.case_id(found.identity, reference)
            patient = keyring.patient_key(found.patient_id)
            yield Case(case_id, {"": reference}, {"": folder.name}, patient)
    if skipped:
        log.info("%d files are no scans and were left out", skipped)


def _write(output: Path, manifest: Manifest) -> None:
    """Patients under keyed names: the manifest may be shown to others."""
    with output.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case_id", "patient_id", "image", "label", "split"])
        writer.writerows(
            [case.case_id, case.patient_id, case.images[""], case.labels[""], case.split] for case in manifest.cases
        )


def _say(manifest: Manifest, output: Path, root: Path) -> None:
    from collections import Counter

    classes = Counter(case.labels[""] for case in manifest.cases)
    splits = Counter(case.split for case in manifest.cases if case.split)
    log.info("%d cases: %s", len(manifest), ", ".join(f"{count} {name}" for name, count in sorted(classes.items())))
    if splits:
        log.info("splits: %s", ", ".join(f"{splits[name]} {name}" for name in ("train", "val", "calib", "test")))
    if not all(case.patient_id for case in manifest.cases):
        log.warning("some scans name no patient: fill in patient_id where you know it, so that no one is in two splits")
    log.info("manifest   %s", output)
    if output.is_relative_to(root):
        named = output.relative_to(root)
        log.info(
            "train      python -m medcnn.train +task=xray_cls data=custom data.root=%s data.manifest=%s", root, named
        )
    else:
        log.info(
            "train      put the manifest into %s, then: python -m medcnn.train +task=xray_cls data=custom data.root=%s",
            root,
            root,
        )


def _run(conf: PrepareConf) -> int:
    prepare(conf)
    return 0


def main() -> None:
    """The command."""
    open_door("prepare", _run, usage=USAGE)


if __name__ == "__main__":
    main()
