"""`--drain`: the worker ends once everything that was in the topics at its start is processed, published and stored."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from pipeline.journal.log import Entry
from pipeline.streams.kafka_log import KafkaLog
from pipeline.streams.patience import TROUBLE, persist
from pipeline.streams.setup import admin_client

if TYPE_CHECKING:
    from pipeline.streams.archive import Archive
    from pipeline.streams.roll import Roll
    from pipeline.streams.tally import Tally
    from pipeline.streams.worker import Worker

log = logging.getLogger(__name__)
_LOOK = 0.02
_LOOK_ELSEWHERE = 0.5  # seconds; it is a connection to the brokers each time
Ends = dict[TopicPartition, int]
Has = Callable[[TopicPartition], bool]
Done = Callable[[TopicPartition, int], Awaitable[bool]]


class Drain:
    """Follows the records from the input topics through deltas to the store, stage by stage.

    What another worker has, it goes by what that one has committed, which nobody does before what was derived is
    acknowledged. So several may drain at once: each ends when nothing is left that it knows of, and whoever is the
    last has all partitions itself.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._inputs: Ends = {}

    async def note_the_end(self) -> None:
        """Remember where the input topics end now."""
        topics = self._worker.topics
        self._inputs = await self._ends((topics.responses, topics.touchpoints))

    async def run(self) -> None:
        """Returns when everything is done."""
        worker, archive = self._worker, self._worker.archive
        for topic, tally in worker.tallies.items():
            ends = {tp: end for tp, end in self._inputs.items() if tp.topic == topic}
            await self._until(ends, "worker", _has(tally), _processed(tally))
        log.info("drained: processed")
        if worker.roll:
            ends = await self._ends((worker.topics.deltas,))
            await self._until(ends, "worker", _has(worker.roll), _rolled(worker.roll))
            log.info("drained: published")
        if archive:
            archive.hurry()
            ends = await self._ends(archive.topics)
            await self._until(ends, "archive", lambda tp: tp in archive.assigned, _stored(archive))
            log.info("drained: stored")
        worker.stop.set()

    async def _ends(self, topics: Iterable[str]) -> Ends:
        count, broker = self._worker.settings.kafka.partitions, self._worker.broker
        places = [TopicPartition(topic, p) for topic in topics for p in range(count)]
        offsets = await persist(broker.offsets, "end offsets", places)
        return {tp: end for tp, (_, end) in offsets.items()}

    async def _until(self, ends: Ends, group: str, has: Has, done: Done) -> None:
        """Wait until everything before the ends is done: here, or by whoever else in the group has the partition."""
        left, committed = ends, Ends()
        while left:  # what it waits for lies with the brokers, there is no event
            here = [tp for tp in left if has(tp)]
            gone = {tp for tp in here if await done(tp, left[tp])}
            if elsewhere := [tp for tp in left if tp not in here and self._worker.ready]:
                before = committed
                committed = await persist(self._committed, "what is committed", group, elsewhere)
                gone |= {tp for tp in elsewhere if committed[tp] >= left[tp]}
                still = [tp for tp in elsewhere if tp not in gone and committed[tp] == before.get(tp)]
                gone |= {tp for tp in still if await self._is_empty(tp, committed[tp], left[tp])}
            left = {tp: end for tp, end in left.items() if tp not in gone}
            await asyncio.sleep(_LOOK_ELSEWHERE if elsewhere else _LOOK)

    async def _is_empty(self, tp: TopicPartition, first: int, end: int) -> bool:
        """Whether no record is in [first, end): nobody commits the markers of transactions at the end of a topic."""
        source, entries = KafkaLog(self._worker.broker, tp.topic, tp.partition), list[Entry]()
        try:
            while first < end and not entries:
                entries, first = await source.read(first, end)
        except TROUBLE:
            return False  # the next look may tell
        finally:
            await source.close()
        return not entries

    async def _committed(self, group: str, places: Collection[TopicPartition]) -> Ends:
        settings, broker = self._worker.settings, self._worker.broker
        async with admin_client(settings) as admin:
            found = await admin.list_consumer_group_offsets(
                f"{settings.kafka.prefix}.{group}", partitions=list(places)
            )
        offsets = await broker.offsets(places)
        # nobody commits what is deleted
        return {tp: max(first, found[tp].offset) for tp, (first, _) in offsets.items()}


def _has(handler: Tally | Roll) -> Has:
    return lambda tp: tp.partition in handler.partitions


def _processed(tally: Tally) -> Done:
    return lambda tp, end: persist(tally.drained, "drain", tp.partition, end)


def _rolled(roll: Roll) -> Done:
    async def done(tp: TopicPartition, end: int) -> bool:
        await roll.recover(tp.partition)  # offsets without records at the end are never delivered
        await roll.tick(int(time.time() * 1000))  # what is there now need not wait for the next one
        return roll.drained(tp.partition, end)

    return done


def _stored(archive: Archive) -> Done:
    async def done(tp: TopicPartition, end: int) -> bool:
        return archive.stored().get(tp, 0) >= end

    return done
