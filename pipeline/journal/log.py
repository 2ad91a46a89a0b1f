"""`Log`: the few things the journal asks of one partition of a log. Kafka implements it; so does the simulation."""

from __future__ import annotations

from typing import NamedTuple, Protocol

# Of one record. Below what the topics of journals and deltas take, with room for what is added around it.
MOST_BYTES = 7 << 20


class Unknown(Exception):
    """No answer. The request may have happened, may never happen, may still happen later."""


class OutOfRange(Exception):
    """The offset asked for has been truncated away, or never existed."""


class Entry(NamedTuple):
    """One record of a log: where it stands and its value (None for a null), `time` in milliseconds since 1970."""

    offset: int
    value: bytes | None
    time: int


class Log(Protocol):
    """One partition, as seen by one worker. Every method may raise `Unknown`."""

    async def append(self, value: bytes) -> int:
        """Write one record; the offset that the acknowledgement names."""
        ...

    async def identity(self) -> str:
        """What no log has that is made anew under the same name; empty where nobody can tell."""
        ...

    async def bounds(self) -> tuple[int, int]:
        """The first offset that is kept, and the one after the last."""
        ...

    async def read(self, start: int, stop: int) -> tuple[list[Entry], int]:
        """Some entries from `start` on, none at or beyond `stop`, and the next position to read from.

        The position moves also over offsets that hold no record (transaction markers). Raises `OutOfRange`.
        """
        ...

    async def truncate(self, before: int) -> None:
        """Delete what stands before this offset (Kafka's DeleteRecords)."""
        ...
