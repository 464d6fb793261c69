"""Checkpoints that survive a kill at any instant: written aside, synced, verified, renamed; two are kept.

A file is a magic line, the SHA-256 of what follows, and a torch.save that loads with weights_only: no code runs.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from medcnn.errors import CheckpointError, NoSpaceError

_MAGIC = b"medcnn-checkpoint-1\n"
_KEPT = 2

log = logging.getLogger(__name__)


class Checkpoints:
    """A folder of training states, the newest valid one counting."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: dict[str, Any], name: int) -> Path:
        """Durable when this returns. Raises NoSpaceError; earlier checkpoints stay as they were."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        body = buffer.getvalue()
        path = self.folder / f"step-{name:09d}.ckpt"
        try:
            write_durably(path, _MAGIC + sha256(body).digest() + body)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            why = "the disk is full" if full else f"{error.strerror}"
            raise NoSpaceError(
                f"a checkpoint could not be written: {why}. The previous one is intact; free space and go on with "
                f"resume=auto"
            ) from error
        for old in self.paths()[_KEPT:]:
            old.unlink(missing_ok=True)
        return path

    def paths(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("step-*.ckpt"), reverse=True)

    def newest(self) -> dict[str, Any] | None:
        """The newest state that is whole; damaged ones are named and passed over. None where there is no file.

        Raises CheckpointError where files exist and none can be used.
        """
        found = self.paths()
        for path in found:
            try:
                return read_checkpoint(path)
            except CheckpointError as error:
                log.warning("%s; trying the one before", error)
        if found:
            raise CheckpointError("CKPT_CORRUPT: every checkpoint of this run is damaged. Start the training anew")
        return None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Verified, then loaded without running code. Raises CheckpointError."""
    content = path.read_bytes()
    digest, body = content[len(_MAGIC) : len(_MAGIC) + 32], content[len(_MAGIC) + 32 :]
    if not content.startswith(_MAGIC) or sha256(body).digest() != digest:
        raise CheckpointError(f"CKPT_CORRUPT: {path.name} is damaged")
    try:
        state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"CKPT_UNSAFE: {path.name} does not load without running code") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"CKPT_CORRUPT: {path.name} holds no training state")
    return state


def write_durably(path: Path, content: bytes) -> None:
    """All or nothing, on the disk when this returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if Path(aside).read_bytes() != content:
            raise OSError(errno.EIO, "what was written reads back differently")
        Path(aside).replace(path)
        _sync_folder(path.parent)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # Windows has no such call; its rename is journalled
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
