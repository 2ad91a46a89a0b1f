"""`Pending`: what the archive has fetched and not stored yet, and `Pace`: when it is time to store it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from pipeline.events.records import Records

Fetched = Mapping[TopicPartition, Records]
_AGAIN = 0.02  # seconds after which to look whether the store is done


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is stored at once, and how patiently.

    Attributes:
        rows: a batch is stored when it has so many,
        bytes: or when its values have so many,
        seconds: or when its first record has waited so long and nothing else is being stored.
        fetch_bytes: of one partition in one response of the broker; the memory that an outage binds.
    """

    rows: int = 100_000
    bytes: int = 64 << 20
    seconds: float = 0.5
    fetch_bytes: int = 2 << 20


@dataclass(slots=True)
class Pending:
    """What was fetched and is not stored yet."""

    records: dict[TopicPartition, list[Records]] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0
    since: float = 0.0

    def add(self, fetched: Fetched, now: float) -> None:
        """Keep what came; `now` in seconds of any clock that only goes forward."""
        if not self.rows:
            self.since = now
        for tp, records in fetched.items():
            self.records.setdefault(tp, []).append(records)
            self.rows += len(records)
            self.bytes += records.nbytes

    def due(self, pace: Pace, now: float, *, busy: bool) -> bool:
        """Whether it is time to store; with nothing to store, it always is.

        Args:
            pace: how much at once.
            now: as in `add`.
            busy: something is being stored; who waits for it may as well wait for more records.
        """
        much = self.rows >= pace.rows or self.bytes >= pace.bytes
        return much or (not busy and (not self.rows or now - self.since >= pace.seconds))

    def left(self, pace: Pace, now: float, *, busy: bool) -> float:
        """Seconds until it may be time to store, if nothing more comes."""
        left = pace.seconds - (now - self.since) if self.rows else pace.seconds
        return max(left, _AGAIN) if busy else max(left, 0.0)
