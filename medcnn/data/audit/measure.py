"""One case read and measured, and many of them in threads; what is known already is not read again."""

from __future__ import annotations

import base64
import os
import re
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from medcnn.data.audit.appearance import appearance_of, orientation_code
from medcnn.data.audit.mask_facts import box_record, mask_record
from medcnn.data.audit.record import PERCENTILES, Record
from medcnn.data.audit.records import Records
from medcnn.data.manifest import Case
from medcnn.data.pixels import pixel_digest
from medcnn.io.options import Reading
from medcnn.io.read import read_scan
from medcnn.scan import Reason, Rejection, Scan, ScanRejected

Outcome = Record | Rejection
Report = Callable[[int, int], None]

READERS = min(4, os.cpu_count() or 1)
_MOST_SAMPLED = 2_000_000  # quantiles of more values would cost more than reading them
_UID = re.compile(r"\d+(\.\d+){3,}")
_MOST_FACT = 64  # characters


def measure(case: Case, root: Path, reading: Reading) -> Outcome:
    """Never raises but for what stops everything (Ctrl-C): what goes wrong with one case is its rejection."""
    try:
        scans = [read_scan(root, reference, reading) for reference in case.images.values() if reference]
        return _record(case, _joined(scans), root, reading)
    except ScanRejected as rejected:
        return rejected.rejection
    except MemoryError:
        return Rejection(Reason.MEMORY, "there is not enough memory for this scan", "Give the process more memory")
    except Exception as error:
        return Rejection(Reason.INTERNAL, f"unforeseen {type(error).__name__}", "Report this as a bug in medcnn")


def measure_all(
    cases: Sequence[Case], root: Path, reading: Reading, records: Records, *, report: Report
) -> Generator[tuple[Case, Outcome]]:
    """In the order of the cases; each is kept as soon as it is measured, so that a stopped run loses nothing.

    report  called with (done, all of them). Closing the generator waits for the cases in hand only.
    """
    waiting: deque[Future[tuple[Case, Outcome]]] = deque()
    done = 0

    def one(case: Case) -> tuple[Case, Outcome]:
        key = records.key(case, root, reading)
        if (known := records.known(key)) is not None:
            return case, known
        found = measure(case, root, reading)
        if key and key == records.key(case, root, reading):  # else it changed while it was read
            records.keep(key, found)
        return case, found

    pool = ThreadPoolExecutor(READERS, thread_name_prefix="medcnn-audit")
    try:
        for case in cases:
            waiting.append(pool.submit(one, case))
            if len(waiting) > 4 * READERS:
                yield waiting.popleft().result()
                done += 1
                report(done, len(cases))
        while waiting:
            yield waiting.popleft().result()
            done += 1
            report(done, len(cases))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _joined(scans: Sequence[Scan]) -> Scan:
    """Several channels as one scan, exactly as training joins them."""
    from medcnn.data.prepared import joined

    if not scans:
        raise ScanRejected(Reason.READ_ERROR, "the case names no image", "Fill in the image column")
    return joined(list(scans))


def _record(case: Case, scan: Scan, root: Path, reading: Reading) -> Record:
    voxels = scan.voxels
    step = max(1, voxels.size // _MOST_SAMPLED)
    quantiles = np.percentile(voxels.ravel()[::step], PERCENTILES)
    look = appearance_of(scan)
    return Record(
        shape=tuple(voxels.shape),
        spacing_mm=tuple(round(float(edge), 5) for edge in scan.spacing_mm or ()),
        spacing_source=scan.facts.get("spacing_source", "unknown"),
        modality=scan.modality,
        body_part=scan.body_part,
        value_range=tuple(float(end) for end in scan.value_range or ()),
        quantiles=tuple(float(f"{value:.6g}") for value in quantiles),
        least=float(voxels.min()),
        greatest=float(voxels.max()),
        mean=float(voxels.mean(dtype=np.float64)),
        std=float(voxels.std(dtype=np.float64)),
        nonzero=float(np.count_nonzero(voxels) / voxels.size),
        pixels=pixel_digest(voxels),
        orientation=orientation_code(scan.geometry) if scan.geometry is not None else "",
        facts={key: value for key, value in scan.facts.items() if _may_be_kept(value)},
        signature=base64.b64encode(look.signature.tobytes()).decode("ascii"),
        thumbnail=look.thumbnail,
        masks={name: mask_record(scan, root, ref, reading) for name, ref in case.masks.items() if ref},
        boxes=box_record(scan, case.boxes),
    )


def _may_be_kept(value: str) -> bool:
    """Codes and numbers; no UID and nothing long."""
    return len(value) <= _MOST_FACT and not _UID.fullmatch(value)
