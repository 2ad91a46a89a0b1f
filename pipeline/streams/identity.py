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

    def __init__(self, slot: int, held: IO[str]) -> None:
        self.slot = slot
        self._held = held

    @property
    def instance(self) -> str:
        """Unique among the workers of this folder and machine."""
        folder = Path(self._held.name).parent
        return f"{socket.gethostname()}-{_digest(str(folder.resolve()))}-{self.slot}"


def claim(data_dir: Path) -> Identity:
    """The first free slot; workers that share a folder get different ones.

    Raises:
        OSError: the folder cannot be written, or all slots are taken.
    """
    folder = data_dir / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    for slot in range(_SLOTS):
        held = (folder / f"{slot}.lock").open("w")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            continue
        return Identity(slot, held)
    msg = f"{_SLOTS} workers already share {folder}"
    raise OSError(msg)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:8]
