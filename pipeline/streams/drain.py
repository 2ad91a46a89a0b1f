"""`--drain`: the worker ends once everything that was in the topics at its start is processed, published and stored."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from pipeline.streams.patience import persist

if TYPE_CHECKING:
    from pipeline.streams.worker import Worker

log = logging.getLogger(__name__)
_LOOK = 0.1
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
                while not await persist(lambda t=tally, p=tp.partition, e=end: t.drained(p, e), "drain"):  # type: ignore[misc]
                    await asyncio.sleep(_LOOK)
        log.info("drained: processed")
        if worker.roll:
            for tp, end in (await self._ends((worker.topics.deltas,))).items():
                while not await persist(lambda r=worker.roll, p=tp.partition, e=end: r.drained(p, e), "drain"):  # type: ignore[misc]
                    await asyncio.sleep(_LOOK)
            log.info("drained: published")
        if worker.archive:
            ends = await self._ends(worker.archive.topics)
            while any(worker.archive.stored().get(tp, 0) < end for tp, end in ends.items() if end):
                await asyncio.sleep(_LOOK)
            log.info("drained: stored")
        worker.stop.set()

    async def _ends(self, topics: Iterable[str]) -> Ends:
        places = [
            TopicPartition(topic, p) for topic in topics for p in range(self._worker.settings.kafka.partitions)
        ]
        offsets = [await persist(lambda tp=tp: self._worker.broker.offsets(tp), "end offsets") for tp in places]  # type: ignore[misc]
        return {tp: end for tp, (_, end) in zip(places, offsets, strict=True)}
