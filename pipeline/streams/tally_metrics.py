"""What the tally tells Prometheus: `TallyMetrics` as it is told, and `Told`, what was told of one partition so far."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Collection
from typing import Protocol

import numpy.typing as npt

from pipeline.journal.partition import SourcePartition

log = logging.getLogger(__name__)


class TallyMetrics(Protocol):
    """What the tally tells Prometheus."""

    def records(self, topic: str, outcome: str, n: int) -> None:
        """Records that came to an outcome."""
        ...

    def misplaced(self, topic: str, n: int) -> None:
        """Records in a partition that their key does not choose."""
        ...

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Offsets of a partition that are not settled yet."""
        ...

    def latency(self, stage: str, seconds: npt.ArrayLike) -> None:
        """Time from the broker to here, a number a record."""
        ...

    def forget(self, topic: str, partitions: Collection[int]) -> None:
        """These are shown by others now."""
        ...

    def dead_letter(self, reason: str, stage: str, n: int) -> None:
        """Records that cannot be counted."""
        ...

    def watermark(self, topic: str, partition: int, seconds: float) -> None:
        """Highest `occurred_at` of a partition, seconds since 1970."""
        ...

    def journal_conflict(self, topic: str, n: int) -> None:
        """Times that somebody else had written to a journal of ours."""
        ...

    def gap_filled(self, topic: str, n: int) -> None:
        """Records that the delivery had skipped."""
        ...

    def journal_tail(self, topic: str, partition: int, records: int, size: int) -> None:
        """What stands in the journal behind its last snapshot."""
        ...

    def snapshot(self, topic: str, partition: int, seconds: float) -> None:
        """When that snapshot was written, seconds since 1970."""
        ...

    def outbox(self, topic: str, partition: int, effects: int) -> None:
        """Effects that still have something to send."""
        ...

    def ids(self, topic: str, partition: int, n: int, size: int) -> None:
        """Ids remembered, and their memory in bytes."""
        ...

    def open_cases(self, topic: str, partition: int, touchpoint: str, n: int, age: float) -> None:
        """Open cases of a touchpoint, and their ages in seconds, added up."""
        ...

    def expired(self, topic: str, offsets: int) -> None:
        """Offsets that were deleted before they were read."""
        ...

    def recovery(self, topic: str, seconds: float) -> None:
        """A partition was recovered in so many seconds."""
        ...


class Told:
    """What was told of one partition. The journal counts from its beginning, a counter by what came on top.

    Attributes:
        snapshot: when the last snapshot was written, seconds since 1970; 0 if there is none.
    """

    def __init__(self) -> None:
        self.snapshot = 0.0
        self._conflicts = 0
        self._filled = 0
        self._touchpoints: set[str] = set()  # that had open cases

    def tell(self, metrics: TallyMetrics, topic: str, partition: SourcePartition) -> None:
        """How the journal and the state of a recovered partition are."""
        p, journal, state = partition.partition, partition.journal, partition.state
        self._tell_of_corrections(metrics, topic, partition)
        metrics.journal_tail(topic, p, journal.tail.records, journal.tail.size)
        if self.snapshot:
            metrics.snapshot(topic, p, self.snapshot)
        metrics.outbox(topic, p, len(state.outbox))
        metrics.ids(topic, p, len(state.index), state.index.nbytes)
        self._tell_of_cases(metrics, topic, partition)

    def _tell_of_cases(self, metrics: TallyMetrics, topic: str, partition: SourcePartition) -> None:
        n: Counter[str] = Counter()
        age: Counter[str] = Counter()
        now, state = time.time(), partition.state
        for leaf, (cases, opened) in state.cases.open_cases().items():
            touchpoint = state.leaves[leaf].touchpoint
            n[touchpoint] += cases
            age[touchpoint] += round(cases * now - opened / 1000)
        for touchpoint in self._touchpoints | n.keys():
            metrics.open_cases(topic, partition.partition, touchpoint, n[touchpoint], age[touchpoint])
        self._touchpoints = set(n)

    def _tell_of_corrections(self, metrics: TallyMetrics, topic: str, partition: SourcePartition) -> None:
        where = {"topic": topic, "partition": partition.partition}
        conflicts = partition.journal.counts.conflicts - self._conflicts
        filled = partition.filled - self._filled
        self._conflicts, self._filled = self._conflicts + conflicts, self._filled + filled
        metrics.journal_conflict(topic, conflicts)
        metrics.gap_filled(topic, filled)
        if conflicts:
            log.warning("somebody else wrote to our journal: read it, decided again", extra=where)
        if filled:
            log.info("read what the delivery had skipped", extra={**where, "records": filled})
