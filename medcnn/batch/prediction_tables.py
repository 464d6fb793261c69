"""predictions.csv, for people and spreadsheets, and predictions.parquet, for programs: a row per case.

Both say the same. What is empty in the one is null in the other; several flags of a case are one text, joined by ' | ',
in both, so that `table["flags"].str.contains("CUT_OFF")` works on either and one can be read in the other's place. In
Parquet numbers are as they were computed, in CSV rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

from medcnn import __version__
from medcnn.batch.about import About
from medcnn.batch.columns import Column, Value, columns, values
from medcnn.batch.ledger import Row
from medcnn.batch.valid_text import valid
from medcnn.whole_file import whole

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_QUOTED = frozenset(',"\r\n')
_AT_ONCE = 2048  # rows that are held as Python values

Values = Mapping[str, Value]


def write_tables(folder: Path, about: About, rows: Sequence[Row], *, parquet: bool = True) -> None:
    """Both, a row for each in their order. parquet=False: the CSV alone, without the library that the other needs.

    Raises OSError.
    """
    wanted = columns(about.kind, about.names)
    write_csv(folder / "predictions.csv", wanted, (values(row, about.kind, about.names) for row in rows))
    if not parquet:
        return
    said = {"medcnn_version": __version__, "model": about.model, "task": about.task, "intended_use": about.intended_use}
    lines = (values(row, about.kind, about.names) for row in rows)
    write_parquet(folder / "predictions.parquet", wanted, lines, said)


def write_csv(path: Path, wanted: Sequence[Column], lines: Iterable[Values]) -> None:
    """RFC 4180 with LF; what a spreadsheet would run as a formula is quoted. Raises OSError.

    A name that is no UTF-8 keeps its bytes, so that the file it names can be found.
    """
    with whole(path) as stream:
        stream.write(_line(_plain(column.name) for column in wanted))
        for line in lines:
            stream.write(_line(_cell(line[column.name], column) for column in wanted))


def write_parquet(path: Path, wanted: Sequence[Column], lines: Iterable[Values], about: Mapping[str, str]) -> None:
    """Texts and 64-bit floats, with nulls; `about` is the schema's metadata. Raises OSError.

    Equal lines give equal bytes, by one version of pyarrow: no time and no name of a file is in it.
    """
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    kinds = {True: pyarrow.float64(), False: pyarrow.string()}
    told = {key: valid(text) for key, text in about.items()}
    schema = pyarrow.schema([(valid(column.name), kinds[column.is_number]) for column in wanted], metadata=told)
    with whole(path) as stream, parquet.ParquetWriter(_Kept(stream), schema, compression="zstd") as writer:
        for part in _parts(lines):
            arrays = [
                pyarrow.array([_parquet_value(line[column.name]) for line in part], kinds[column.is_number])
                for column in wanted
            ]
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))


class _Kept:
    """A stream that pyarrow may write to and not close: it has to reach the disk first."""

    closed = False

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, content: Any) -> int:
        return self._stream.write(content)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self.closed = True


def _parts(lines: Iterable[Values]) -> Iterator[list[Values]]:
    rest = iter(lines)
    while part := list(islice(rest, _AT_ONCE)):
        yield part


def _parquet_value(value: Value) -> Value:
    return valid(value) if isinstance(value, str) else value


def _line(cells: Iterable[str]) -> bytes:
    text = ",".join(cells) + "\n"
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return valid(text).encode()


def _cell(value: Value, column: Column) -> str:
    if value is None:
        return ""
    return _plain(value) if isinstance(value, str) else f"{value:.{column.decimals}f}"


def _plain(text: str) -> str:
    """Python's csv before 3.13 leaves a carriage return unquoted, and then reads two lines."""
    harmless = f"'{text}" if text.startswith(_FORMULA) else text
    return '"' + harmless.replace('"', '""') + '"' if _QUOTED.intersection(harmless) else harmless
