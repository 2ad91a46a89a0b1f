"""`Readable`: rows of what the archive can read. What is in a schema that nobody knows yet waits by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import polars as pl
from aiokafka import TopicPartition

from pipeline.events.records import Records
from pipeline.events.schemas import Unseen
from pipeline.journal.partition import Learn
from pipeline.streams.patience import Stopped
from pipeline.streams.tables import Tables

log = logging.getLogger(__name__)
_PATIENCE = 1.0
Frames = Mapping[str, pl.DataFrame]  # by table
Fetched = dict[TopicPartition, list[Records]]


class Readable:
    """Makes rows, and puts partitions aside whose schemas take long to learn: they are read again later.

    Args:
        tables: makes rows.
        learn: asks which schemas have these ids, however long that takes.
        patience: seconds for which the others wait.
    """

    def __init__(self, tables: Tables, learn: Learn, patience: float = _PATIENCE) -> None:
        self._tables = tables
        self._learn = learn
        self._patience = patience
        self._aside: dict[TopicPartition, asyncio.Task[None]] = {}

    def __contains__(self, tp: object) -> bool:
        """Whether this partition is not put aside."""
        return tp not in self._aside

    def forget(self) -> None:
        """Partitions come and go: whoever is given one reads it from what is committed."""
        for waiting in self._aside.values():
            waiting.cancel()
        self._aside.clear()

    async def rows(self, consumer: Any, fetched: Fetched, wanted: Callable[[], bool]) -> Frames:
        """The rows. Partitions that are put aside are taken out of `fetched`.

        Args:
            consumer: goes back to where these begin, and fetches no more of them for now.
            fetched: what to make rows of.
            wanted: whether the partitions are still ours, asked after a wait.
        """
        end = asyncio.get_running_loop().time() + self._patience
        while True:
            try:
                return await asyncio.to_thread(self._tables.of, fetched)
            except Unseen as unseen:
                if not await self._known(unseen.ids, end):
                    await self._put_aside(consumer, fetched, wanted)

    async def _known(self, ids: Sequence[int], end: float) -> bool:
        try:
            async with asyncio.timeout_at(end):
                await self._learn(ids)
        except TimeoutError:
            return False
        return True

    async def _put_aside(self, consumer: Any, fetched: Fetched, wanted: Callable[[], bool]) -> None:
        for tp, records in list(fetched.items()):
            ids = await asyncio.to_thread(self._unseen, tp, records)
            if not ids:
                continue
            del fetched[tp]
            if wanted():
                consumer.seek(tp, records[0].start)
                consumer.pause(tp)
                self._aside[tp] = asyncio.create_task(self._take_back(consumer, tp, ids))
                log.warning(
                    "rows wait for a schema",
                    extra={"topic": tp.topic, "partition": tp.partition, "ids": ids[:5]},
                )

    def _unseen(self, tp: TopicPartition, records: list[Records]) -> Sequence[int]:
        try:
            self._tables.of({tp: records})
        except Unseen as unseen:
            return unseen.ids
        return ()

    async def _take_back(self, consumer: Any, tp: TopicPartition, ids: Sequence[int]) -> None:
        with suppress(Stopped):
            await self._learn(ids)
            del self._aside[tp]
            consumer.resume(tp)
