"""The bytes of a DICOM file: read as far as they are needed, unpacked where the data set is deflated."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from types import TracebackType
from typing import BinaryIO, Self

from medcnn.scan import Reason, ScanRejected

MAX_INFLATED_BYTES = 512 * 2**20


class Content:
    """The start of a file, as far as it was needed; never more than the file holds. Opened where its head is short."""

    def __init__(self, head: bytes, size: int, opened: Callable[[], BinaryIO] | None = None) -> None:
        self.bytes, self.size = head, size
        self._open = opened
        self._file: BinaryIO | None = None if opened else io.BytesIO(head)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _from(self, start: int) -> BinaryIO:
        if self._file is None:
            assert self._open is not None
            self._file = self._open()
        self._file.seek(start)
        return self._file

    def reach(self, end: int) -> bytes:
        """The bytes from the start up to end at least; PIXEL_DATA_TRUNCATED where the file has fewer."""
        if end > self.size:
            raise cut_short()
        if end > (held := len(self.bytes)):
            self.bytes += self._from(held).read(
                max(end - held, held)
            )  # doubling, or long headers would be copied often
            if end > len(self.bytes):
                raise cut_short()
        return self.bytes

    def piece(self, start: int, length: int) -> bytes:
        """Bytes anywhere, not kept."""
        if start + length <= len(self.bytes):
            return self.bytes[start : start + length]
        return self._from(start).read(length)


def inflate(packed: bytes) -> bytes:
    """Twice: once in pieces that are thrown away, so that a bomb never reaches memory."""
    inflater, rest, total = zlib.decompressobj(-zlib.MAX_WBITS), packed, 0
    while rest and not inflater.eof:
        try:
            total += len(inflater.decompress(rest, 2**20))
        except zlib.error:
            raise ScanRejected(
                Reason.DECODE_FAILED, "the deflated data set is damaged", "Export the file again"
            ) from None
        rest = inflater.unconsumed_tail
        if total > MAX_INFLATED_BYTES:
            raise ScanRejected(
                Reason.BOMB,
                f"the deflated data set grows past {MAX_INFLATED_BYTES // 2**20} MiB",
                "Export the file without compression, if its source can be trusted",
            )
    if not inflater.eof:
        raise cut_short()
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed)


def cut_short() -> ScanRejected:
    return ScanRejected(
        Reason.PIXEL_DATA_TRUNCATED,
        "the file ends inside an element, or an element claims more bytes than follow",
        "Copy or export the file again",
    )
