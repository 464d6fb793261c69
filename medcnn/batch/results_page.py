"""index.html of a results folder: every case with its answer or its reason, to be searched, sorted and looked through.

One file that opens from a disk, asks nothing of a network and can be sent alone: thumbnails are within. Volumes to
scroll (medcnn/batch/case_view.py), large pictures and masks lie beside it and are linked. It belongs to the private
zone: it names files of the input. Imports nothing heavy, since the command that calls it may not.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from medcnn import __version__
from medcnn.batch.colours import structure_colour
from medcnn.batch.ledger import OK, Row
from medcnn.whole_file import whole

if TYPE_CHECKING:
    from medcnn.batch.about import About
    from medcnn.io.discover import Skipped

PAGE, THUMBNAILS = "index.html", "thumbnails"
WITHHELD, ANSWERED = "withheld", "answered"
_LISTED = 500  # skipped files on the page; all of them are in skipped.csv
_MARKS = {name: f"\0{name}\0" for name in ("about", "rows", "skipped", "thumbnails")}  # no text holds a NUL: see _text

_NO_FACTS: Mapping[str, str] = MappingProxyType({})

ThumbnailOf = Callable[[str], bytes | None]


def write_page(
    results_folder: Path,
    rows: Sequence[Row],
    about: About,
    skipped: Sequence[Skipped] = (),
    *,
    total: int | None = None,
    facts: Mapping[str, str] = _NO_FACTS,
) -> None:
    """Put index.html in its place, whole, with the thumbnails that lie there. One thumbnail is held at a time.

    total  cases of the input, where the run may not be finished
    facts  further lines about the model and the run; nothing of a patient
    Raises OSError where it cannot be written.
    """

    def thumbnail_of(case_id: str) -> bytes | None:
        try:
            return (results_folder / THUMBNAILS / f"{case_id}.webp").read_bytes()
        except OSError:  # none was made: a rejected case, or no pictures were asked for
            return None

    with whole(results_folder / PAGE) as stream:
        for part in page_parts(rows, about, skipped, thumbnail_of, total=total, facts=facts):
            stream.write(part.encode("utf-8", "backslashreplace"))


def page_parts(
    rows: Sequence[Row],
    about: About,
    skipped: Sequence[Skipped],
    thumbnail_of: ThumbnailOf,
    *,
    total: int | None = None,
    facts: Mapping[str, str] = _NO_FACTS,
) -> Iterator[str]:
    """The page piece by piece, so that thousands of thumbnails need not be held together.

    Equal inputs give equal text.
    """
    pictures = ((row.case_id, thumbnail_of(row.case_id)) for row in rows)
    contents: dict[str, Iterable[str]] = {
        "about": [_json(_about(about))],
        "rows": _array(_row(row, about) for row in rows),
        "skipped": [_json(_passed_over(skipped))],
        "thumbnails": _object((case_id, b64encode(found).decode()) for case_id, found in pictures if found),
    }
    rest = _skeleton(about, len(rows), total, facts)
    for name, mark in _MARKS.items():
        before, rest = rest.split(mark)
        yield before
        yield from contents[name]
    yield rest


def _skeleton(about: About, count: int, total: int | None, facts: Mapping[str, str]) -> str:
    """The template with marks where the data belong."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def own(name: str) -> Markup:
        """A part of the page that comes with the package, as it is."""
        return Markup((files("medcnn.batch") / name).read_text(encoding="utf-8"))

    environment = Environment(
        loader=PackageLoader("medcnn", "batch"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    cases = _many(count, "case")
    facts = {"Task": about.task, "Model": about.model, "Settings": about.settings, "medcnn": __version__, **facts}
    return environment.get_template("results_page.html").render(
        title=_text(f"Predictions: {about.task}"),
        intended_use=_text(about.intended_use),
        subtitle=_text(f"{cases} · model {about.model[:12]} · medcnn {__version__}"),
        remaining=f"{cases} of {total:,} so far." if total is not None and count < total else "",
        facts={_text(key): _text(value) for key, value in facts.items()},
        marks=_MARKS,
        style=own("results_page.css"),
        script=own("results_page.js") + own("case_view.js"),
    )


def _text(text: str) -> str:
    """Without control characters, which HTML does not take."""
    return "".join("\ufffd" if letter < " " and letter not in "\t\n" else letter for letter in text)


def _about(about: About) -> dict[str, Any]:
    return {
        "kind": about.kind,
        "names": list(about.names),
        "unit": about.unit,
        "digits": about.digits,
        "range": about.range,
        "colours": [structure_colour(number) for number in range(len(about.names))],
    }


def _row(row: Row, about: About) -> dict[str, Any]:
    """What the page shows of a case; what is empty is left out."""
    told = {
        "id": row.case_id,
        "ref": row.reference,
        "state": _state(row),
        "code": row.reason_code,
        "found": row.found,
        "remedy": row.remedy,
        "reason": row.reason,
        "decision": row.decision,
        "confidence": _short(row.confidence),
        "value": _short(row.value),
        "low": _short(row.low),
        "high": _short(row.high),
        "probability": _in_order(row.probability, about.names),
        "volume": _in_order(row.volume_ml, about.names),
        "dice": _in_order(row.expected_dice, about.names),
        "disagreement": _short(row.disagreement),
        "flags": list(row.flags),
        "seconds": round(row.seconds, 3),
        "parts": {part: round(took, 3) for part, took in row.seconds_of.items()},
        "files": sorted(row.files),
    }
    return {key: value for key, value in told.items() if value not in ("", None, [], {})}


def _state(row: Row) -> str:
    """Of the ledger's "ok" also whether there is an answer."""
    if row.status != OK:
        return row.status
    return ANSWERED if row.decision or row.masks or row.value is not None else WITHHELD


def _in_order(values: Mapping[str, float], names: Sequence[str]) -> list[float | None]:
    """One number a name, None where there is none; [] where there are none at all."""
    return [_short(values.get(name)) for name in names] if values else []


def _short(value: float | None) -> float | None:
    """As many digits as anybody reads; a row holds hundreds where a model has hundreds of structures."""
    return None if value is None else float(f"{value:.6g}")


def _passed_over(skipped: Sequence[Skipped]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for item in skipped:
        counts[item.rejection.code.value] = counts.get(item.rejection.code.value, 0) + 1
    listed = [[item.reference, item.rejection.code.value, item.rejection.found] for item in skipped[:_LISTED]]
    return {"counts": counts, "files": listed}


def _array(items: Iterable[Any]) -> Iterator[str]:
    yield "["
    for number, item in enumerate(items):
        yield ",\n" if number else ""
        yield _json(item)
    yield "]"


def _object(items: Iterable[tuple[str, Any]]) -> Iterator[str]:
    yield "{"
    for number, (key, item) in enumerate(items):
        yield ",\n" if number else ""
        yield f"{_json(key)}:{_json(item)}"
    yield "}"


def _json(value: Any) -> str:
    """As it may stand in a script element: nothing in it ends the element or opens a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
