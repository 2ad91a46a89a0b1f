"""`Continuity`: whether what the archive reads goes on where it ended.

Rows are keyed by partition and offset. Were a topic made anew, its records would be stored over those of the old one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition

from pipeline.events.records import Records
from pipeline.journal.journal import JournalBroken
from pipeline.streams.patience import persist

log = logging.getLogger(__name__)
Fetched = Mapping[TopicPartition, Sequence[Records]]


class Continuity:
    """Where each partition ended for us, as far as it is stored or being stored.

    Args:
        times: what the store holds of a partition in [first, last]: offset -> kafka_time in milliseconds, nothing for
            a topic whose rows have no place of their own. Waits for a store that is away.
    """

    def __init__(self, times: Callable[[TopicPartition, int, int], Awaitable[Mapping[int, int]]]) -> None:
        self._times = times
        self._next: dict[TopicPartition, int] = {}

    async def check(self, consumer: Any, fetched: Fetched) -> None:
        """Look at records before they are stored, and say what expired before them.

        Raises:
            JournalBroken: others are stored at their offsets: their topic was made anew.
        """
        for tp, parts in fetched.items():
            expected = self._next.get(tp)
            if expected is None:
                expected = await persist(consumer.committed, f"offsets of {tp.topic}", tp)
            for part in parts:
                # the group forgets where it was when a topic is deleted, or after a week away: the store knows
                if expected is None or part.first < expected:
                    await self._refuse_others(tp, part)
                elif part.start > expected:
                    await _tell_expired(consumer, tp, expected)
                expected = part.last + 1

    async def _refuse_others(self, tp: TopicPartition, records: Records) -> None:
        stored = await self._times(tp, records.first, records.last)
        for offset, time in zip(records.offsets.tolist(), records.times.tolist(), strict=True):
            if stored.get(offset, time) != time:
                msg = (
                    f"the topic {tp.topic} was made anew: in partition {tp.partition} offset {offset} is stored "
                    "already, as another record, which would be lost. If that is meant, run `feedback reset`"
                )
                raise JournalBroken(msg)

    def taken(self, fetched: Fetched) -> None:
        """All of these are being stored, and nobody reads on before they are."""
        self._next |= {tp: parts[-1].last + 1 for tp, parts in fetched.items()}

    def forget(self) -> None:
        """Partitions come and go: what is committed says where to go on."""
        self._next.clear()


async def _tell_expired(consumer: Any, tp: TopicPartition, expected: int) -> None:
    begin = (await persist(consumer.beginning_offsets, f"offsets of {tp.topic}", [tp]))[tp]
    if begin > expected:
        log.error(
            "records expired before they were stored: give the topic a longer retention.ms",
            extra={"topic": tp.topic, "partition": tp.partition, "offsets": begin - expected},
        )
