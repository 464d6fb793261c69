"""Keyed names: what may leave the private zone instead of a patient's id or a UID."""

from __future__ import annotations

import hmac
import os
import secrets
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from medcnn.errors import DataError

_DIGITS = 16  # 64 bits: no two of a hospital's patients meet
PRIVATE_FOLDER = ".medcnn"


class Keyring:
    """Makes case_id and patient_key. The same key gives the same names, another key unlinkable ones."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def at(cls, file: Path) -> Keyring:
        """The key in the file, made there on first use (mode 0600), whole or not at all."""
        if not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, aside = tempfile.mkstemp(dir=file.parent, prefix=".key-")  # mode 0600
            with os.fdopen(handle, "wb") as stream:
                stream.write(secrets.token_bytes(32))
            with suppress(FileExistsError):  # another process was first: its key counts
                os.link(aside, file)
            Path(aside).unlink()
        key = file.read_bytes()
        if len(key) < 32:
            raise DataError(f"the privacy key {file} is damaged. Restore it, or delete it to start anew")
        return cls(key)

    def _name(self, kind: str, text: str) -> str:
        return hmac.new(self._key, f"{kind}\0{text}".encode(), sha256).hexdigest()[:_DIGITS]

    def patient_key(self, patient_id: str) -> str:
        """'' for a patient who is not known."""
        return f"p-{self._name('patient', patient_id)}" if patient_id else ""

    def case_id(self, identity: Iterable[str], reference: str) -> str:
        """From the content's identifiers; from the reference below the root where there are none."""
        uids = sorted(identity)
        return f"c-{self._name('case', chr(0).join(uids) if uids else reference)}"


def key_file(configured: str, run_root: Path) -> Path:
    """privacy.key_file, by default .medcnn/key under the run root."""
    return Path(configured).expanduser() if configured else run_root / PRIVATE_FOLDER / "key"
