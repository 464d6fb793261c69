"""Scans that cannot be read, by reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from medcnn.data.audit.evidence import Evidence
from medcnn.data.audit.finding import Finding, Severity, singles
from medcnn.reporting.words import how_many
from medcnn.scan import SKIPPED_IN_A_FOLDER, Rejection


def rejections(evidence: Evidence) -> Iterator[Finding]:
    """One finding for each reason; cases of the manifest are worth a warning, other files a note."""
    of_code: dict[str, list[tuple[str, Rejection]]] = defaultdict(list)
    for case, rejection in evidence.rejected:
        of_code[rejection.code.value].append((case.case_id, rejection))
    for skip in evidence.skipped:
        if skip.rejection.code not in SKIPPED_IN_A_FOLDER:
            of_code[skip.rejection.code.value].append(("", skip.rejection))
    total = len(evidence.measured) + sum(map(len, of_code.values()))
    for code, found in sorted(of_code.items(), key=lambda item: -len(item[1])):
        first = found[0][1]
        yield Finding(
            Severity.WARNING,
            f"rejected.{code}",
            f"Cannot be read: {code}",
            f"{len(found):,} of {total:,} cases cannot be used; the first: {first.found}",
            f"{first.remedy}. They are left out; the table of rejections names them",
            singles([case_id for case_id, _ in found if case_id]),
            len(found),
        )
    if not evidence.measured and evidence.rejected:
        yield Finding(
            Severity.STOP, "nothing_readable", "No case can be read", "Every case was rejected", "See the reasons above"
        )
    no_scans = [skip for skip in evidence.skipped if skip.rejection.code in SKIPPED_IN_A_FOLDER]
    if no_scans:
        codes = sorted({skip.rejection.code.value for skip in no_scans})
        yield Finding(
            Severity.NOTE,
            "skipped_files",
            "Files that are no cases",
            f"{how_many(len(no_scans), 'file')} or folders left out ({', '.join(codes)})",
            "Nothing, unless there are scans among them: the table of rejections names them",
            count=len(no_scans),
        )
