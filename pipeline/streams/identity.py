"""The name under which a worker comes back to its partitions (Kafka's static membership): no rebalance at a restart."""

from __future__ import annotations

import fcntl
import socket
from hashlib import sha256
from pathlib import Path
from typing import IO

_SLOTS = 64


class Identity:
    """A slot in the data folder, held as long as this object lives; a dead worker's slot is free at once."""

    def __init__(self, slot: int, held: IO[str], *, fresh: bool) -> None:
        self.slot = slot
        self._held = held
        self._fresh = fresh

    def instance(self, topics: str) -> str:
        """Unique among the workers of this folder and machine, and another one after a topic was made anew.

        Under its old name a worker would be given back what it had before, which is nothing of the new topic. Whoever
        used this slot before topics were noted keeps the plain name, so that an upgrade disturbs nobody.

        Args:
            topics: a short text that is another one after a topic was made anew.
        """
        folder = Path(self._held.name).parent
        note = folder / f"{self.slot}.topics"
        before, name = note.read_text().split("\n") if note.exists() else ("" if self._fresh else topics, "")
        if before != topics:
            name = f"-{topics}"
        note.write_text(f"{topics}\n{name}")
        return f"{socket.gethostname()}-{_digest(str(folder.resolve()))}-{self.slot}{name}"


def claim(data_dir: Path) -> Identity:
    """The first free slot; workers that share a folder get different ones.

    Raises:
        OSError: the folder cannot be written, or all slots are taken.
    """
    folder = data_dir / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    for slot in range(_SLOTS):
        lock = folder / f"{slot}.lock"
        fresh = not lock.exists()
        held = lock.open("w")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            continue
        return Identity(slot, held, fresh=fresh)
    msg = f"{_SLOTS} workers already share {folder}"
    raise OSError(msg)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:8]
