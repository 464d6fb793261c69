"""Every check on a data set, the gravest findings first."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from medcnn.data.audit.class_findings import class_sizes, label_spellings, missing_labels
from medcnn.data.audit.copy_findings import identical_pixels, near_duplicates, shared_patients
from medcnn.data.audit.evidence import Evidence
from medcnn.data.audit.finding import Finding, Severity
from medcnn.data.audit.mask_findings import box_problems, mask_problems
from medcnn.data.audit.odd_findings import constant_images, odd_sizes, strangers, unknown_spacing
from medcnn.data.audit.rejection_findings import rejections
from medcnn.data.audit.shift_findings import shifts

CHECKS: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    shared_patients,
    identical_pixels,
    near_duplicates,
    missing_labels,
    label_spellings,
    class_sizes,
    mask_problems,
    box_problems,
    rejections,
    constant_images,
    strangers,
    odd_sizes,
    unknown_spacing,
    shifts,
)


def find(evidence: Evidence) -> list[Finding]:
    """All findings, stops before warnings before notes, in the order of the checks."""
    order = list(Severity)
    found = [finding for check in CHECKS for finding in check(evidence)]
    return sorted(found, key=lambda finding: order.index(finding.severity))
