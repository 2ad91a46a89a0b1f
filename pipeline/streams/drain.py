"""`--drain`: the worker ends once everything that was in the topics at its start is processed, published and stored."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from pipeline.streams.patience import persist

if TYPE_CHECKING:
    from pipeline.streams.archive import Archive
    from pipeline.streams.roll import Roll
    from pipeline.streams.worker import Worker

log = logging.getLogger(__name__)
_LOOK = 0.02
Ends = dict[TopicPartition, int]


class Drain:
    """Follows the records from the input topics through deltas to the store, stage by stage.

    A worker drains alone: it waits until the group has given it every partition.
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
        worker = self._worker
        for tp, end in self._inputs.items():
            if tally := worker.tallies.get(tp.topic):
                await _until(partial(persist, tally.drained, "drain", tp.partition, end))
        log.info("drained: processed")
        if worker.roll:
            for tp, end in (await self._ends((worker.topics.deltas,))).items():
                await _until(partial(_rolled, worker.roll, tp.partition, end))
            log.info("drained: published")
        if worker.archive:
            worker.archive.hurry()
            await _until(partial(_stored, worker.archive, await self._ends(worker.archive.topics)))
            log.info("drained: stored")
        worker.stop.set()

    async def _ends(self, topics: Iterable[str]) -> Ends:
        count, broker = self._worker.settings.kafka.partitions, self._worker.broker
        places = [TopicPartition(topic, p) for topic in topics for p in range(count)]
        offsets = [await persist(broker.offsets, "end offsets", tp) for tp in places]
        return {tp: end for tp, (_, end) in zip(places, offsets, strict=True)}


async def _rolled(roll: Roll, partition: int, end: int) -> bool:
    await roll.recover(partition)  # offsets without records at the end are never delivered
    await roll.tick(int(time.time() * 1000))  # what is there now need not wait for the next one
    return roll.drained(partition, end)


async def _stored(archive: Archive, ends: Ends) -> bool:
    stored = archive.stored()
    return all(stored.get(tp, 0) >= end for tp, end in ends.items() if end)


async def _until(done: Callable[[], Awaitable[bool]]) -> None:
    while not await done():  # noqa: ASYNC110  what it waits for lies with the brokers, there is no event
        await asyncio.sleep(_LOOK)
