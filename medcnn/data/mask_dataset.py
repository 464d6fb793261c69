"""Cases that are learnt from by their masks: who has one, and what the masks outline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medcnn.config.data import DataConf
from medcnn.data.manifest import Manifest
from medcnn.data.masks import has_mask, mask_values
from medcnn.data.structures import Structures, named_after_values
from medcnn.errors import DataError
from medcnn.io.options import Reading


@dataclass(frozen=True)
class MaskDataset:
    """Cases with a split each and masks, and what the masks outline. The other fields as in data.dataset.Dataset."""

    manifest: Manifest
    structures: Structures
    digest: str
    split_digest: str
    remarks: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """split -> cases."""
        return dict(Counter(case.split for case in self.manifest.cases))


def with_masks(manifest: Manifest) -> tuple[Manifest, list[str]]:
    """The cases that can be learnt from, and a remark on the others."""
    if not manifest.mask_names:
        raise DataError(
            "the manifest has no 'mask' column, and a segmenter learns from masks. Add a column mask (one label map "
            "per case) or mask.<name> columns (one mask for each structure)"
        )
    kept = [case for case in manifest.cases if has_mask(case)]
    if not kept:
        raise DataError("no case has a mask, and a segmenter learns from masks. Fill in the mask column")
    without = len(manifest) - len(kept)
    return manifest.with_cases(kept), [f"{without} cases have no mask and were left out"] if without else []


def structures_of(
    conf: DataConf, manifest: Manifest, codes: Mapping[str, Sequence[int]], order: Sequence[str]
) -> tuple[Structures, list[str]]:
    """As data.structures says, else the layout, else the columns; where nobody does, by the values of the masks."""
    if conf.structures or order or manifest.mask_names != [""]:
        return Structures.of(conf, codes, order, manifest.mask_names), []
    cases = [case for case in manifest.cases if case.split in ("", "train")]
    values = mask_values(manifest.root, cases, Reading.of(conf)) - {0, *conf.ignore_labels}
    if not values:
        raise DataError("the masks hold no value but 0: nothing is outlined. Name the structures with data.structures")
    found = named_after_values(sorted(values))
    example = ", ".join(f"<name>: {own}" for own in found.values())
    remark = (
        f"nobody says what the masks hold: the structures are called {', '.join(found)}, after the values found. "
        f"Name them with data.structures={{{example}}}"
    )
    return Structures.of(conf, found, list(found), [""]), [remark]
