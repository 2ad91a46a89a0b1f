"""`Pending`: what the archive has fetched and not stored yet, and `Pace`: when it is time to store it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from pipeline.events.records import Records

Fetched = Mapping[TopicPartition, Records]
_AGAIN = 0.02  # seconds after which to look whether the store is done
_WAITS = 3  # times the seconds of the pace: for so long


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
    bytes: int = 32 << 20
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

    def split(self, pace: Pace, now: float) -> tuple[Pending, Pending]:
        """What to store now, and what may wait for more of its kind.

        Each table costs a statement, however few its rows are. So of a full batch, which the next one follows at once,
        topics with less than an equal share of the records wait; not for long.
        """
        if self.rows < pace.rows or self.bytes >= pace.bytes or now - self.since >= _WAITS * pace.seconds:
            return self, Pending()
        rows = Counter[str]()
        for tp, parts in self.records.items():
            rows[tp.topic] += sum(map(len, parts))
        much, little = Pending(), Pending()
        for tp, parts in self.records.items():
            into = much if rows[tp.topic] * len(rows) >= self.rows else little
            for records in parts:
                into.add({tp: records}, self.since)
        return much, little

    @property
    def begins(self) -> dict[TopicPartition, int]:
        """The first offset of each partition."""
        return {tp: parts[0].first for tp, parts in self.records.items()}

    def left(self, pace: Pace, now: float, *, busy: bool) -> float:
        """Seconds until it may be time to store, if nothing more comes."""
        left = pace.seconds - (now - self.since) if self.rows else pace.seconds
        return max(left, _AGAIN) if busy else max(left, 0.0)
