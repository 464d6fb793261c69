"""What processes that go over cases say to each other: JSON objects, each after its length. No pickle."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping
from typing import Any

_HEAD = struct.Struct("<Q")
_MOST_BYTES = 2**28


class Gone(Exception):  # noqa: N818  an event
    """The other end is closed, or says nonsense."""


class Link:
    """One end of a socket. Any thread may send; one receives."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """To wait for."""
        return self.end.fileno()

    def send(self, **message: Any) -> None:
        """Raises Gone."""
        text = json.dumps(message).encode()
        try:
            with self._sending:
                self.end.sendall(_HEAD.pack(len(text)) + text)
        except OSError:
            raise Gone from None

    def receive(self) -> Mapping[str, Any]:
        """The next message. Raises Gone."""
        (size,) = _HEAD.unpack(self._bytes(_HEAD.size))
        if size > _MOST_BYTES:
            raise Gone
        try:
            found = json.loads(self._bytes(size))
        except ValueError:
            raise Gone from None
        if not isinstance(found, dict):
            raise Gone
        return found

    def close(self) -> None:
        """Our end."""
        self.end.close()

    def _bytes(self, size: int) -> bytearray:
        buffer = bytearray(size)
        view = memoryview(buffer)
        while view:
            try:
                count = self.end.recv_into(view)
            except OSError:
                raise Gone from None
            if not count:
                raise Gone
            view = view[count:]
        return buffer
