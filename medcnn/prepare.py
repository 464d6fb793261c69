"""Prepare: a folder of scans, as it came, becomes a manifest, and an audit that says what is in it and what is wrong.

python -m medcnn.prepare input=<folder> [labels=labels.csv] output=<folder>/manifest.csv
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from medcnn.config.compose import open_door
from medcnn.config.errors import ConfigError
from medcnn.config.verbs import PrepareConf
from medcnn.errors import DataError, NothingToDoError, UserError

if TYPE_CHECKING:
    from medcnn.data.audit.audit import Audit
    from medcnn.data.audit.evidence import Evidence
    from medcnn.data.audit.files import PreparedFiles
    from medcnn.data.layouts.listing import Listing
    from medcnn.data.manifest import Manifest
    from medcnn.data.privacy import Keyring

log = logging.getLogger("medcnn.prepare")

SOME_REJECTED = 8

USAGE = """usage: python -m medcnn.prepare input=<folder> [labels=<csv>] output=<manifest.csv>

A folder of scans becomes a manifest for training, and an audit beside it: a page with thumbnails that says what is
there, what cannot be read and why, and what is wrong with labels, splits and copies. The layout is recognised:
scans with a table of labels, a folder per class, MSD, nnU-Net, BIDS, COCO, YOLO, MedMNIST, DICOM SEG.

  input=<folder>        DICOM, NIfTI, PNG, JPEG, TIFF at any depth; it is only read
  output=<file.csv>     or a folder, for manifest.csv in it; image paths in the manifest are relative to the input
  labels=<file.csv>     rows name scans by path, file or folder name, series or patient
  layout=auto           scans, folders, msd, nnunet, bids, coco, yolo, medmnist, dicom_seg where it is not recognised
  split_by=[time]       make a case of each volume in a series that holds several (echo, b_value, image_type ...)
  splits=true           divide patients into train, val, calib and test (data.splits.val=0.15 ...); data.splits.folds=5
  overwrite=false       true makes an existing manifest anew; otherwise what is new is added and splits stay as they are
  data.voi=window ...   how scans are read (docs/reading.md); train takes the same settings

Run again after scans were added or changed: only those are read, and nobody moves to another split.
The last line says how to train on the result.
exit codes: 0 done, 1 could not be done, 2 the config cannot be run, 3 no scan found,
  8 done, but some scans cannot be read, patients cannot be divided, or the audit found what stops a training
"""


def prepare(conf: PrepareConf) -> tuple[Path, Audit]:
    """Write the manifest and its audit; return where, and what was found.

    Raises DataError where nothing can be made of the folder, ConfigError for paths that cannot be.
    """
    root, files = _checked_paths(conf)
    from medcnn.data.audit.audit import audited, show
    from medcnn.run_folder import log_to_terminal, writing

    log_to_terminal()
    _make_folder(files.manifest.parent)
    keyring = _keyring(conf)

    # Cases: what the folder holds, by headers and tables
    listing = _listed(conf, root, keyring)
    for remark in listing.remarks:
        log.info("%s", remark)

    # Measurements: every scan looked at, from what is known of it or afresh
    evidence = _measured(conf, root, listing, keyring, files)

    # Splits: whoever had a place keeps it
    earlier = _earlier(conf, files)
    manifest = _divided(conf, files, evidence, earlier)

    # Audit: everything that is wrong, before anybody trains on it
    audit = audited(evidence.divided(manifest))
    with writing(files.manifest.parent):
        files.write(manifest, listing, audit, earlier)
    show(audit)
    _say(conf, files, audit, listing)
    return files.manifest, audit


def _checked_paths(conf: PrepareConf) -> tuple[Path, PreparedFiles]:
    from medcnn.data.audit.files import PreparedFiles

    root, output = (Path(path).expanduser().resolve() for path in (conf.input, conf.output))
    manifest = output if output.suffix.lower() == ".csv" else output / "manifest.csv"
    tables = {Path(conf.labels).expanduser().resolve(), root / conf.labels} if conf.labels else set()
    problems = []
    if not root.is_dir():
        problems.append(f"input: there is no folder {conf.input!r}" + _if_a_file(root))
    if manifest.is_dir():
        problems.append(f"output: {conf.output!r} is a folder. Give a file name that ends in .csv, or another folder")
    elif manifest in tables:
        problems.append("output: this is the table of labels itself. Give another name: it would be written over")
    elif manifest.exists() and not conf.overwrite and not PreparedFiles(manifest).is_own():
        problems.append(
            f"output: {conf.output!r} holds a manifest that was not written by prepare, or was changed since. Give "
            f"another name (labels=<the changed one> takes over what is in it), or overwrite=true"
        )
    if problems:
        raise ConfigError(problems)
    return root, PreparedFiles(manifest)


def _if_a_file(path: Path) -> str:
    return ". It is a file: give the folder that holds the scans" if path.is_file() else ""


def _make_folder(folder: Path) -> None:
    """Before anything is read: hours of measuring shall not end at a folder that cannot be made."""
    from medcnn.run_folder import writing

    with writing(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError, FileNotFoundError):
            raise UserError(f"output: {folder} cannot be made, for a file is in the way. Give another output") from None


def _keyring(conf: PrepareConf) -> Keyring:
    from medcnn.data.privacy import Keyring, key_file

    file = key_file(conf.privacy.key_file, Path.cwd())
    try:
        return Keyring.at(file)
    except OSError as error:
        raise UserError(
            f"the key that makes names cannot be kept in {file} ({error.strerror}). Start in a folder that you may "
            f"write to, or give privacy.key_file=<file>"
        ) from None


def _listed(conf: PrepareConf, root: Path, keyring: Keyring) -> Listing:
    """What the layout says. Raises NothingToDoError where there is no scan at all, DataError for what is wrong."""
    from medcnn.data.layouts.read import read_layout
    from medcnn.io.options import Reading

    try:
        return read_layout(
            root,
            kind=conf.layout,
            labels=Path(conf.labels).expanduser() if conf.labels else None,
            keyring=keyring,
            split_by=conf.split_by,
            reading=Reading.of(conf.data),
            report=_every_ten_seconds(lambda number: f"{number:,} files looked at"),
        )
    except NothingToDoError:
        raise
    except DataError:
        if _holds_a_scan(root):
            raise
        raise NothingToDoError(
            f"no scan was found in {root}. DICOM, NIfTI, PNG, JPEG, TIFF and .npz are looked for, whatever their names"
        ) from None


def _holds_a_scan(root: Path) -> bool:
    from medcnn.data.layouts.listing import files_below
    from medcnn.io.content import content_of
    from medcnn.scan import ScanRejected

    for path in files_below(root):
        try:
            content_of(path)
        except (ScanRejected, OSError):
            continue
        return True
    return False


def _measured(conf: PrepareConf, root: Path, listing: Listing, keyring: Keyring, files: PreparedFiles) -> Evidence:
    """Raises NothingToDoError where no case can be read."""
    from medcnn.data.audit.audit import gather
    from medcnn.data.dataset import told_apart
    from medcnn.data.manifest import Manifest
    from medcnn.io.options import Reading

    total = len(listing.cases)
    log.info("%s cases found; measuring them", f"{total:,}")
    report = _every_ten_seconds(lambda done: f"{done:,} of {total:,} measured")
    evidence = gather(
        Manifest(root, told_apart(listing.cases, keyring)),
        files.others(root, listing.skipped),
        Reading.of(conf.data),
        files.records,
        report=lambda done, _: report(done),
        declared_labels=_declared(listing),
    )
    if not evidence.measured:
        reasons = Counter(rejection.code.value for _, rejection in evidence.rejected)
        raise NothingToDoError(
            f"none of {total:,} cases can be read: "
            + ", ".join(f"{count} {code}" for code, count in reasons.most_common())
            + f". The first: {evidence.rejected[0][1]}"
        )
    if evidence.known:
        log.info("%s of them were known already and not read again", f"{evidence.known:,}")
    return evidence


def _declared(listing: Listing) -> set[int] | None:
    """What masks may hold, where the layout says so: its classes and the background."""
    values = {value for codes in listing.codes.values() for value in codes}
    has_masks = any(case.masks for case in listing.cases)
    return {0, *values} if values and has_masks else None


def _earlier(conf: PrepareConf, files: PreparedFiles) -> Manifest | None:
    """The manifest whose places count, or None."""
    from medcnn.data.again import can_be_kept
    from medcnn.data.manifest import read_manifest

    if conf.overwrite or not files.manifest.exists():
        return None
    earlier = read_manifest(files.manifest.parent, files.manifest.name)
    return earlier if can_be_kept(earlier) else None


def _divided(conf: PrepareConf, files: PreparedFiles, evidence: Evidence, earlier: Manifest | None) -> Manifest:
    """The readable cases with their splits and folds."""
    from medcnn.data.again import divided_again, require_all_or_none
    from medcnn.data.split import with_splits

    readable = {one.case_id for one in evidence.measured}
    manifest = evidence.manifest.with_cases([case for case in evidence.manifest.cases if case.case_id in readable])
    require_all_or_none(manifest.cases)
    remarks: list[str] = []
    if earlier is not None:
        manifest, remarks = divided_again(manifest, earlier, files.returned(manifest.cases))
    elif conf.splits and not manifest.says_nothing:  # what is filled in decides who goes where
        try:
            manifest, remarks = with_splits(manifest, conf.data.splits)
        except DataError as error:  # the audit is worth having all the same
            remarks = [f"the patients were not divided: {error}"]
    for remark in remarks:
        log.info("%s", remark)
    return manifest


def _say(conf: PrepareConf, files: PreparedFiles, audit: Audit, listing: Listing) -> None:
    from medcnn.data.audit.next_command import next_step

    undivided = _is_undivided(conf, audit)
    step = next_step(audit, files.manifest, conf.data, undivided=undivided, codes=listing.codes)
    log.info("manifest   %s (%s cases)", files.manifest, f"{len(audit.evidence.manifest):,}")
    log.info("audit      %s", files.page)
    log.info("train      %s", step)


def _is_undivided(conf: PrepareConf, audit: Audit) -> bool:
    """Asked for splits, and could make none."""
    return conf.splits and not all(case.split for case in audit.evidence.manifest.cases)


def _every_ten_seconds(words: Callable[[int], str]) -> Callable[[int], None]:
    said = time.monotonic()

    def report(number: int) -> None:
        nonlocal said
        if time.monotonic() - said > 10:
            said = time.monotonic()
            log.info("%s", words(number))

    return report


def _run(conf: PrepareConf) -> int:
    from medcnn.scan import SKIPPED_IN_A_FOLDER

    _, audit = prepare(conf)
    unusable = audit.evidence.rejected or any(
        skip.rejection.code not in SKIPPED_IN_A_FOLDER for skip in audit.evidence.skipped
    )
    return SOME_REJECTED if unusable or audit.stops or _is_undivided(conf, audit) else 0


def main() -> None:
    """The command."""
    open_door("prepare", _run, usage=USAGE)


if __name__ == "__main__":
    main()
