"""One of several jobs that go over one folder together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from medcnn.errors import UserError


@dataclass(frozen=True)
class Shard:
    """The number-th of count, from 1."""

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> Shard | None:
        """3/16, as the config has it; None for ""."""
        if not text:
            return None
        number, _, count = text.partition("/")
        return cls(int(number), int(count))

    def has(self, case_id: str) -> bool:
        """Whether a case is its own: by the case's name, so that no job needs to know what others do."""
        return int(sha256(case_id.encode()).hexdigest()[:12], 16) % self.count == self.number - 1

    @property
    def ledger(self) -> str:
        """Its own file: many jobs cannot append to one, least of all over a network."""
        return f"ledger.{self.number}-of-{self.count}.jsonl"


@contextmanager
def sole(folder: Path, shard: Shard | None) -> Iterator[None]:
    """Whoever goes over the whole folder is alone in it; each shard's job is the only one of its number."""
    from filelock import FileLock, Timeout

    def lock(name: str) -> FileLock:
        return FileLock(folder / name, timeout=0, mode=0o600)

    whole = ".lock"
    try:
        with ExitStack() as held:
            if shard is None:
                held.enter_context(lock(whole))
                for path in sorted(folder.glob(".lock-*")):
                    held.enter_context(lock(path.name))
            else:
                held.enter_context(lock(f".lock-{shard.number}-of-{shard.count}"))
                with lock(whole):  # whoever has it would have to see ours first
                    pass
            yield
    except Timeout:
        raise UserError(f"another process is working in {folder}. Wait for it, or stop it first") from None
