"""The bytes of a NIfTI file, plain or gzip, read to their very end: gzip's CRC and length stand there."""

from __future__ import annotations

import zlib
from pathlib import Path
from types import TracebackType
from typing import Self

from medcnn.scan import Reason, ScanRejected

PIECE_BYTES = 2**20
SLACK_BYTES = 16 * 2**20  # tolerated behind the voxels; more is no NIfTI any longer
_GZIP = b"\x1f\x8b"


class Source:
    """A stream of content bytes. Members of a multi-member gzip follow each other; each one's checksum is checked."""

    def __init__(self, path: Path) -> None:
        self.file_bytes = path.stat().st_size
        self.position = 0  # content bytes handed out
        self.trailing_bytes = 0  # behind the last gzip member
        self._file = path.open("rb")
        self.packed = self._file.read(2) == _GZIP
        self._file.seek(0)
        self._inflater = zlib.decompressobj(wbits=31) if self.packed else None
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, most: int) -> bytes:
        """Up to most content bytes; b"" only at the end, and then everything was intact."""
        if self._inflater is None:
            piece = self._file.read(min(most, PIECE_BYTES))
        else:
            piece = self._inflated(min(most, PIECE_BYTES))
        self.position += len(piece)
        return piece

    def _inflated(self, most: int) -> bytes:
        while self._inflater is not None:
            if self._inflater.eof and not self._next_member():
                return b""
            packed = self._rest or self._file.read(2**16)
            if not packed:
                raise truncated("the gzip stream ends early")
            try:
                piece = self._inflater.decompress(packed, most)
            except zlib.error as error:
                raise _damaged(error) from None
            self._rest = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            if piece:
                return piece
        return b""

    def _next_member(self) -> bool:
        behind = self._rest + self._file.read(2 if len(self._rest) < 2 else 0)
        if behind[:2] == _GZIP:
            self._inflater, self._rest = zlib.decompressobj(wbits=31), behind
            return True
        self.trailing_bytes = len(behind) + self.file_bytes - self._file.tell()
        self._inflater, self._rest = None, b""
        self._file.seek(0, 2)
        return False

    def drain(self) -> int:
        """Read on to the end; how many content bytes came behind what was read. They are counted, not kept."""
        start = self.position
        while self.read(PIECE_BYTES):
            if self.position - start > max(SLACK_BYTES, start):
                raise ScanRejected(
                    Reason.BOMB, "far more data follows than the header announces", "Export the file again"
                )
        return self.position - start


def skip(source: Source, count: int) -> None:
    """Pass over some bytes."""
    while count > 0:
        piece = source.read(count)
        if not piece:
            raise truncated("the file ends before its voxels")
        count -= len(piece)


def read_exactly(source: Source, count: int) -> bytearray:
    """Some bytes, into memory that is taken once."""
    data, filled = bytearray(count), 0
    while filled < count:
        piece = source.read(count - filled)
        if not piece:
            raise truncated(f"{filled} of {count} voxel bytes are there")
        data[filled : filled + len(piece)] = piece
        filled += len(piece)
    return data


def truncated(found: str) -> ScanRejected:
    return ScanRejected(Reason.TRUNCATED, found, "Copy or export the file again")


def _damaged(error: zlib.error) -> ScanRejected:
    checksum = "incorrect data check" in str(error) or "incorrect length check" in str(error)
    return ScanRejected(
        Reason.CHECKSUM if checksum else Reason.DECODE_FAILED,
        "the gzip checksum does not fit the content" if checksum else "the gzip stream is damaged",
        "Copy or export the file again; some of its bytes have changed",
    )
