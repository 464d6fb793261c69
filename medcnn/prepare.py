"""Prepare: a folder of scans, as it came, becomes a manifest, and an audit that says what is in it and what is wrong.

python -m medcnn.prepare input=<folder> [labels=labels.csv] output=<folder>/manifest.csv
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from medcnn.config.compose import open_door
from medcnn.config.errors import ConfigError
from medcnn.config.verbs import PrepareConf

if TYPE_CHECKING:
    from medcnn.data.audit.audit import Audit
    from medcnn.data.audit.evidence import Evidence
    from medcnn.data.layouts.listing import Listing
    from medcnn.data.manifest import Case, Manifest
    from medcnn.data.privacy import Keyring
    from medcnn.io.options import Reading

log = logging.getLogger("medcnn.prepare")

SOME_REJECTED = 8

USAGE = """usage: python -m medcnn.prepare input=<folder> [labels=<csv>] output=<manifest.csv>

A folder of scans becomes a manifest for training, and an audit beside it: a page with thumbnails that says what is
there, what cannot be read and why, and what is wrong with labels, splits and copies. The layout is recognised:
scans with a table of labels, a folder per class, MSD, nnU-Net, BIDS, COCO, YOLO, MedMNIST, DICOM SEG.

  input=<folder>        DICOM, NIfTI, PNG, JPEG, TIFF at any depth
  output=<file.csv>     or a folder, for manifest.csv in it; image paths in the manifest are relative to the input
  labels=<file.csv>     rows name scans by path, file or folder name, series or patient
  layout=auto           scans, folders, msd, nnunet, bids, coco, yolo, medmnist, dicom_seg where it is not recognised
  split_by=[time]       make a case of each volume in a series that holds several (echo, b_value, image_type ...)
  splits=true           divide patients into train, val, calib and test (data.splits.val=0.15 ...); data.splits.folds=5
  overwrite=false       true makes an existing manifest anew; otherwise what is new is added and splits stay as they are

Run again after scans were added or changed: only those are read, and nobody moves to another split.
Then: python -m medcnn.train +task=xray_cls data=custom data.root=<input> data.manifest=<manifest>
exit codes: 0 done, 1 could not be done, 2 the config cannot be run, 3 no scan found,
  8 done, but some scans cannot be read or the audit found what stops a training
"""


@dataclass(frozen=True)
class Paths:
    """What prepare writes. The records are private: measurements of scans, for the next time."""

    manifest: Path

    @property
    def page(self) -> Path:
        return self.manifest.with_name(f"{self.manifest.stem}_audit.html")

    @property
    def facts(self) -> Path:
        return self.manifest.with_name(f"{self.manifest.stem}_audit.json")

    @property
    def tables(self) -> Path:
        return self.manifest.with_name(f"{self.manifest.stem}_audit")

    @property
    def records(self) -> Path:
        return self.manifest.parent / ".medcnn" / "audit"


def prepare(conf: PrepareConf) -> tuple[Path, Audit]:
    """Write the manifest and its audit; return where, and what was found.

    Raises DataError where nothing can be made of the folder, ConfigError for paths that cannot be.
    """
    root, paths = _checked_paths(conf)
    from medcnn.data.audit.audit import audited, show
    from medcnn.data.layouts.read import read_layout
    from medcnn.data.privacy import Keyring, key_file
    from medcnn.io.options import Reading
    from medcnn.run_folder import log_to_terminal, writing

    log_to_terminal()
    with writing(paths.manifest.parent):
        paths.manifest.parent.mkdir(parents=True, exist_ok=True)

        # Cases: what the folder holds, by headers and tables
        keyring = Keyring.at(key_file(conf.privacy.key_file, Path.cwd()))
        listing = read_layout(
            root,
            kind=conf.layout,
            labels=Path(conf.labels).expanduser() if conf.labels else None,
            keyring=keyring,
            split_by=conf.split_by,
            reading=Reading.of(conf.data),
            report=_counting("files looked at"),
        )
        evidence = _measured(root, listing, keyring, paths, Reading.of(conf.data))

        # Splits: whoever had a place keeps it
        manifest = _divided(conf, paths, evidence)

        # Audit: everything that is wrong, before anybody trains on it
        audit = audited(evidence.divided(manifest))
        _write(paths, manifest, listing, audit)
    for remark in listing.remarks:
        log.info("%s", remark)
    show(audit)
    _say(paths, root, manifest, audit)
    return paths.manifest, audit


def _checked_paths(conf: PrepareConf) -> tuple[Path, Paths]:
    root, output = Path(conf.input).expanduser().absolute(), Path(conf.output).expanduser().absolute()
    if output.suffix.lower() != ".csv":
        output = output / "manifest.csv"
    problems = []
    if not root.is_dir():
        problems.append(f"input: there is no folder {conf.input!r}")
    if output.is_dir():
        problems.append(f"output: {conf.output!r} is a folder. Give a file name that ends in .csv")
    elif output.exists() and not conf.overwrite and not _is_own(Paths(output)):
        problems.append(
            f"output: {conf.output!r} was not written by prepare, or was changed since. Give another name, or "
            f"overwrite=true"
        )
    if problems:
        raise ConfigError(problems)
    return root, Paths(output)


def _is_own(paths: Paths) -> bool:
    """Whether the manifest is as prepare left it: work done in it by hand is not overwritten."""
    try:
        return _sha256(paths.manifest.read_bytes()) in json.loads(paths.facts.read_text())["manifest_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _sha256(content: bytes) -> str:
    return sha256(content).hexdigest()


def _measured(root: Path, listing: Listing, keyring: Keyring, paths: Paths, reading: Reading) -> Evidence:
    """Every scan looked at, from what is known of it or afresh. Raises NothingToDoError where none can be read."""
    from medcnn.data.audit.audit import gather
    from medcnn.data.manifest import Manifest
    from medcnn.errors import NothingToDoError

    log.info("%d cases found; measuring them", len(listing.cases))
    evidence = gather(
        Manifest(root, tuple(_told_apart(listing.cases, keyring))),
        listing.skipped,
        reading,
        paths.records,
        report=_progress("measured"),
        declared_labels=_declared(listing),
    )
    if not evidence.measured:
        reasons = Counter(rejection.code.value for _, rejection in evidence.rejected)
        raise NothingToDoError(
            f"none of {len(listing.cases)} cases can be read: "
            + ", ".join(f"{count} {code}" for code, count in reasons.most_common())
            + f". The first: {evidence.rejected[0][1]}"
        )
    return evidence


def _told_apart(cases: Sequence[Case], keyring: Keyring) -> list[Case]:
    """Files that claim one identity (copies, or an anonymiser that wrote the same UID) are told apart by their path."""
    times = Counter(case.case_id for case in cases)
    return [
        replace(case, case_id=keyring.case_id((case.case_id, *case.images.values()), ""))
        if times[case.case_id] > 1
        else case
        for case in cases
    ]


def _declared(listing: Listing) -> set[int] | None:
    """What masks may hold, where the layout says so: its classes and the background."""
    values = {value for codes in listing.codes.values() for value in codes}
    has_masks = any(case.masks for case in listing.cases)
    return {0, *values} if values and has_masks else None


def _divided(conf: PrepareConf, paths: Paths, evidence: Evidence) -> Manifest:
    """The readable cases with their splits and folds."""
    from medcnn.data.frozen import frozen_splits
    from medcnn.data.manifest import read_manifest
    from medcnn.data.split import with_splits

    readable = {one.case_id for one in evidence.measured}
    manifest = evidence.manifest.with_cases([case for case in evidence.manifest.cases if case.case_id in readable])
    if paths.manifest.exists() and not conf.overwrite:
        known = read_manifest(paths.manifest.parent, paths.manifest.name)
        if all(case.split for case in known.cases):
            return frozen_splits(manifest, known)
    if not conf.splits:
        return manifest
    manifest, remarks = with_splits(manifest, conf.data.splits)
    for remark in remarks:
        log.info("%s", remark)
    return manifest


def _write(paths: Paths, manifest: Manifest, listing: Listing, audit: Audit) -> None:
    """The manifest last, announced in the facts: wherever prepare is interrupted, the next one knows it as its own."""
    from medcnn import __version__
    from medcnn.data.audit.page import write_csv, write_page
    from medcnn.data.manifest import manifest_bytes
    from medcnn.data.split import split_digest
    from medcnn.whole_file import write_whole

    content = manifest_bytes(manifest)
    before = [_sha256(paths.manifest.read_bytes())] if paths.manifest.exists() else []
    facts = {
        "medcnn_version": __version__,
        "layout": listing.kind,
        "manifest_sha256": sorted({_sha256(content), *before}),
        "split_digest": split_digest(manifest.cases),
        "class_names": listing.class_names,
        "class_values": {name: list(values) for name, values in listing.codes.items()},
        **audit.as_json(),
    }
    write_page(paths.page, audit)
    paths.tables.mkdir(mode=0o700, exist_ok=True)
    write_csv(paths.tables, audit)
    write_whole(paths.facts, (json.dumps(facts, indent=1) + "\n").encode())
    write_whole(paths.manifest, content)


def _say(paths: Paths, root: Path, manifest: Manifest, audit: Audit) -> None:
    evidence = audit.evidence
    if evidence.known:
        log.info("%d cases were known already and not read again", evidence.known)
    log.info("manifest   %s (%d cases)", paths.manifest, len(manifest))
    log.info("audit      %s", paths.page)
    job = "data=custom" if manifest.label_names else ""
    if job:
        task = "mri_cls" if any(len(one.record.shape) == 4 for one in evidence.measured) else "xray_cls"
        log.info(
            "train      python -m medcnn.train +task=%s data=custom data.root=%s data.manifest=%s",
            task,
            root,
            paths.manifest.relative_to(root) if paths.manifest.is_relative_to(root) else paths.manifest,
        )


def _counting(what: str) -> Callable[[int], None]:
    """A line every ten seconds."""
    said = time.monotonic()

    def report(number: int) -> None:
        nonlocal said
        if time.monotonic() - said > 10:
            said = time.monotonic()
            log.info("%d %s", number, what)

    return report


def _progress(what: str) -> Callable[[int, int], None]:
    count = _counting(what)
    return lambda done, total: count(done)


def _run(conf: PrepareConf) -> int:
    from medcnn.scan import SKIPPED_IN_A_FOLDER

    _, audit = prepare(conf)
    unusable = audit.evidence.rejected or any(
        skip.rejection.code not in SKIPPED_IN_A_FOLDER for skip in audit.evidence.skipped
    )
    return SOME_REJECTED if unusable or audit.stops else 0


def main() -> None:
    """The command."""
    open_door("prepare", _run, usage=USAGE)


if __name__ == "__main__":
    main()
