"""The report: one HTML file that opens anywhere, asks nothing of the network, and prints.

It belongs to the shared zone: it knows cases by `case_id` and `patient_key` only. What looks like a path or a DICOM UID
is refused where an id is expected, and withheld from the settings it lists.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medcnn.evaluation.classification import ClassificationResult
from medcnn.evaluation.intervals import Estimate
from medcnn.evaluation.regression import RegressionResult
from medcnn.evaluation.segmentation.result import SegmentationResult
from medcnn.reporting.figures import SavedFigure
from medcnn.reporting.image_figures import Image, display_range
from medcnn.reporting.segmentation_words import STATE_WORDS, Counts, is_segmentation, states_seen
from medcnn.reporting.tables import by_class
from medcnn.reporting.words import (
    IN_UNITS,
    LOWER_IS_BETTER,
    METRIC_WORDS,
    class_noun,
    how_many,
    in_words,
    interval,
    number,
)

TEMPLATE = "report.html.j2"
WITHHELD = "(path withheld)"
_HEADLINES = ("auroc", "balanced_accuracy", "sensitivity", "specificity")
_FEW_STRUCTURES = 4  # each gets a headline of its own
_UID = re.compile(r"\d+(\.\d+){4,}")
_LARGEST_THUMBNAIL = 320  # pixels along the longer side


@dataclass(frozen=True)
class SplitSummary:
    """What was measured on one split, without the curves (those come as figures).

    counts  of a segmentation: structure -> state -> cases, for what was missed and what was invented
    """

    name: str
    estimates: Mapping[str, Estimate]
    num_cases: int
    num_patients: int
    unit: str
    notes: Sequence[str] = ()
    counts: Counts = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, result: ClassificationResult | SegmentationResult | RegressionResult) -> SplitSummary:
        counts = result.counts if isinstance(result, SegmentationResult) else {}
        return cls(name, result.estimates, result.num_cases, result.num_patients, result.unit, result.notes, counts)

    @property
    def states(self) -> list[str]:
        """Kinds of empty masks that there were."""
        return states_seen(self.counts)

    @property
    def noun(self) -> str:
        """What its metrics are of."""
        return "Structure" if is_segmentation(self.estimates) else class_noun(self.estimates)


@dataclass(frozen=True, eq=False)
class CaseCard:
    """One case in the gallery. case_id and patient_key are the keyed ones; image (H, W) or None; heat (H, W) 0 to 1.

    confidence  None where an answer has none: a number, whose truth is right where it lies within its range
    """

    case_id: str
    truth: str
    decision: str
    confidence: float | None
    patient_key: str = ""
    split: str = ""
    image: Image | None = None
    heat: Image | None = None
    is_within: bool | None = None

    @property
    def right(self) -> bool:
        return self.truth == self.decision if self.is_within is None else self.is_within


@dataclass(frozen=True)
class Table:
    """Rows of text, as long as the header; the first column names the row."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """Tables and figures under a heading, with a sentence on how to read them."""

    title: str
    figures: Sequence[SavedFigure]
    text: str = ""
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Audit:
    """What the data are. counts: split -> class -> cases; patients: split -> patients; warnings: what is wrong."""

    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    patients: Mapping[str, int] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()

    def classes(self) -> list[str]:
        return list(dict.fromkeys(c for of_split in self.counts.values() for c in of_split))


@dataclass(frozen=True)
class ModelCard:
    """Who may use the model for what. facts: further lines, as `Network: resnet18, 11.2 million weights`."""

    intended_use: str
    limits: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """All that the page shows; every part but the title may be missing.

    summaries in the order to be read; the first one gives the headline, so put the test split first
    worst     cases, the worst first
    config    setting -> value; values that look like paths are withheld
    card_title  of the section that says what the page is for
    """

    title: str
    subtitle: str = ""
    summaries: Sequence[SplitSummary] = ()
    notes: Sequence[str] = ()
    sections: Sequence[Section] = ()
    worst: Sequence[CaseCard] = ()
    worst_text: str = ""
    audit: Audit | None = None
    model_card: ModelCard | None = None
    config: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    card_title: str = "Model card"


def write_report(path: Path, report: Report) -> Path:
    """Write the page; ValueError where an id looks like a path or a UID."""
    for card in report.worst:
        for shown in (card.case_id, card.patient_key):
            if looks_private(shown):
                raise ValueError("a case_id or patient_key in the report looks like a path or UID: give the keyed ids")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(report), encoding="utf-8")
    return path


def render(report: Report) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("medcnn", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "interval": interval,
        "words": in_words,
        "png": _png_uri,
        "case": _case_uri,
    }
    environment.tests["wide"] = _is_wide
    environment.filters |= {"percent": lambda share: f"{100 * min(1.0, max(0.0, share)):.2f}"}
    return environment.get_template(TEMPLATE).render(
        report=report,
        headlines=_headlines(report),
        metrics=_shared_metrics(report.summaries),
        by_class=by_class,
        how_many=how_many,
        metric_words=METRIC_WORDS,
        lower_is_better=LOWER_IS_BETTER,
        without_bar=LOWER_IS_BETTER | IN_UNITS,
        state_words=STATE_WORDS,
        config={key: withheld(value) for key, value in report.config.items()},
    )


def looks_private(text: str) -> bool:
    """Whether a text looks like a path or a DICOM UID."""
    return "/" in text or "\\" in text or _UID.fullmatch(text.strip()) is not None


def withheld(value: object) -> str:
    """A setting as text; a path, a URL (it may carry a password) or a UID is not shown."""
    if isinstance(value, list | tuple):
        return ", ".join(withheld(one) for one in value)
    if isinstance(value, Path) or looks_private(str(value)):
        return WITHHELD
    return "" if value is None else str(value)


def _headlines(report: Report) -> list[tuple[str, Estimate]]:
    if not report.summaries:
        return []
    estimates = report.summaries[0].estimates
    if is_segmentation(estimates):
        wanted = _segmentation_headlines(estimates)
    else:
        wanted = [m for m in _HEADLINES if m in estimates] or list(estimates)[:4]
    return [(m, estimates[m]) for m in wanted]


def _segmentation_headlines(estimates: Mapping[str, Estimate]) -> list[str]:
    """Dice of each structure where these are few, else of all; then what there is room for."""
    each = [name for name in estimates if name.startswith("dice.")]
    dice = each if 2 <= len(each) <= _FEW_STRUCTURES else ["dice"]
    rest = [name for name in estimates if "." not in name and name != "dice"]
    return [*dice, *rest][:4]


def _shared_metrics(summaries: Sequence[SplitSummary]) -> list[str]:
    """Metrics over all classes, of any split, in order."""
    return list(dict.fromkeys(name for one in summaries for name in one.estimates if "." not in name))


def _png_uri(figure: SavedFigure) -> str:
    return _uri(figure.png.read_bytes())


def _is_wide(figure: SavedFigure) -> bool:
    """Whether a figure needs a line of its own."""
    from PIL import Image as Pillow

    with Pillow.open(figure.png) as picture:
        return picture.width > 1.5 * picture.height


def _case_uri(card: CaseCard) -> str:
    """The case's picture, heat on top, small enough for a page of many."""
    from PIL import Image as Pillow

    if card.image is None:
        return ""
    low, high = display_range(card.image)
    grey = np.nan_to_num(np.clip((card.image - low) / (high - low), 0, 1))
    pixels = np.repeat(grey[..., None], 3, axis=2)
    if card.heat is not None:
        from matplotlib import colormaps

        heat = np.nan_to_num(np.clip(card.heat, 0, 1))
        share = 0.65 * heat[..., None]
        pixels = (1 - share) * pixels + share * colormaps["inferno"](heat)[..., :3]
    picture = Pillow.fromarray((pixels * 255).round().astype(np.uint8))
    picture.thumbnail((_LARGEST_THUMBNAIL, _LARGEST_THUMBNAIL))
    buffer = io.BytesIO()
    (picture if card.heat is not None else picture.convert("L")).save(buffer, format="PNG", optimize=True)
    return _uri(buffer.getvalue())


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
