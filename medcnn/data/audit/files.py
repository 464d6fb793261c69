"""What prepare leaves behind: the manifest, and beside it the page, the tables, the facts and the measurements."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from medcnn.data.audit.audit import Audit
from medcnn.data.audit.page import write_csv, write_page
from medcnn.data.layouts.listing import Listing
from medcnn.data.manifest import Case, Manifest, manifest_bytes
from medcnn.data.split import split_digest
from medcnn.io.discover import Skipped
from medcnn.whole_file import write_whole


@dataclass(frozen=True)
class PreparedFiles:
    """All named after the manifest. The records are private: measurements of scans, for the next time."""

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

    def is_own(self) -> bool:
        """Whether the manifest is as prepare left it: work done in it by hand is not overwritten."""
        try:
            return _sha256(self.manifest.read_bytes()) in self._facts().get("manifest_sha256", ())
        except OSError:
            return False

    def others(self, root: Path, skipped: Iterable[Skipped]) -> list[Skipped]:
        """What is not prepare's own, of files that are no cases: the output may lie in the input."""
        own = (self.manifest, self.page, self.facts, self.tables)
        return [item for item in skipped if not {root / item.reference, (root / item.reference).parent} & {*own}]

    def returned(self, cases: Iterable[Case]) -> list[Case]:
        """Those of the cases that once had a place here and were gone for a while, at that place."""
        lost = self._facts().get("lost", {})
        places = {case.case_id: (case, *lost[case.case_id]) for case in cases if case.case_id in lost}
        return [replace(case, split=split, fold=fold) for case, split, fold in places.values()]

    def write(self, manifest: Manifest, listing: Listing, audit: Audit, earlier: Manifest | None) -> None:
        """The manifest last, announced in the facts: wherever this is interrupted, the next one knows it as its own.

        earlier: the manifest that is replaced and whose places count. Cases that are gone from it keep their places in
        the facts, so that a folder which was away for a while comes back to the same split.
        """
        from medcnn import __version__

        content = manifest_bytes(manifest)
        before = [_sha256(self.manifest.read_bytes())] if self.manifest.exists() else []
        facts = {
            "medcnn_version": __version__,
            "layout": listing.kind,
            "manifest_sha256": sorted({_sha256(content), *before}),
            "split_digest": split_digest(manifest.cases),
            "class_names": listing.class_names,
            "class_values": {name: list(values) for name, values in listing.codes.items()},
            "lost": self._lost(manifest, earlier),
            **audit.as_json(),
        }
        write_page(self.page, audit)
        self.tables.mkdir(mode=0o700, exist_ok=True)
        write_csv(self.tables, audit)
        write_whole(self.facts, (json.dumps(facts, indent=1) + "\n").encode())
        write_whole(self.manifest, content)

    def _lost(self, manifest: Manifest, earlier: Manifest | None) -> dict[str, list[str]]:
        """case_id -> [split, fold] of what was here and is not now."""
        if earlier is None:
            return {}
        there = {case.case_id for case in manifest.cases}
        known = dict(self._facts().get("lost", {})) | {case.case_id: [case.split, case.fold] for case in earlier.cases}
        return {case_id: place for case_id, place in known.items() if case_id not in there}

    def _facts(self) -> dict[str, Any]:
        """What was written the last time; {} where there is nothing to be understood."""
        try:
            found = json.loads(self.facts.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _sha256(content: bytes) -> str:
    return sha256(content).hexdigest()
