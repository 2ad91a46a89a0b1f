"""The archive: every public topic into its ClickHouse table, in a consumer group of its own.

Stored first, committed afterwards: a crash in between stores the same rows again, which changes nothing. A store that
is away delays storing and nothing else: what was fetched is kept, nothing more is fetched, and the same batch is
tried again for as long as it takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import polars as pl
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from pipeline.config import Settings
from pipeline.events.records import Records
from pipeline.events.schemas import Unseen, by_ids
from pipeline.journal.partition import learn_nothing
from pipeline.measures.instruments import bounds
from pipeline.streams import columnar
from pipeline.streams.connection import client_options
from pipeline.streams.continuity import Continuity
from pipeline.streams.delivery import Delivery, DeliveryMetrics, pause
from pipeline.streams.kafka_log import stopped
from pipeline.streams.membership import begin, lost
from pipeline.streams.patience import Stopped, until
from pipeline.streams.pending import Fetched, Pace, Pending
from pipeline.streams.registry import Registry
from pipeline.streams.rows import (
    OUTCOMES,
    PROGRESS,
    Rows,
    Source,
    joined,
    progress_of,
    rows_of,
    sources,
    tallied,
    told_progress,
)
from pipeline.streams.topics import Topics

log = logging.getLogger(__name__)
_DAY_MS = 86_400_000
_HURRIED = 0.05


class Archive:
    """Stores what arrives in the public topics."""

    def __init__(
        self,
        settings: Settings,
        metrics: DeliveryMetrics,
        *,
        pace: Pace | None = None,
        on_away: Callable[[], None] | None = None,
        registry: Registry | None = None,
    ) -> None:
        """An archive that stands still until `run`.

        Args:
            settings: the whole configuration.
            metrics: is told what happens.
            pace: how much at once.
            on_away: called on the event loop after each attempt to reach the store that failed.
            registry: the one that the tally asks, so that both judge alike.
        """
        topics = Topics(settings.kafka.prefix)
        self._sources = {one.topic: one for one in sources(topics, bounds(settings.catalogue()))}
        self._settings = settings
        self._lookup, self._learn = (registry.lookup, registry.learn) if registry else (by_ids, learn_nothing)
        self._delivery = Delivery(settings, metrics, on_away)
        self._pace = pace or Pace()
        self._stored: dict[TopicPartition, int] = {}
        self._pending = Pending()
        self._continuity = Continuity(self._times)
        self._generation = 0
        self._storing = asyncio.Lock()
        self._stop = asyncio.Event()

    @property
    def topics(self) -> Collection[str]:
        """Full names of the topics that it reads."""
        return self._sources.keys()

    def hurry(self) -> None:
        """Nothing more is to come: what is there need not wait for more."""
        self._pace = replace(self._pace, seconds=_HURRIED)

    def stored(self) -> dict[TopicPartition, int]:
        """For each partition of ours the offset below which everything is stored."""
        return dict(self._stored)

    async def run(self, stop: asyncio.Event) -> None:
        """Store until `stop`; what was fetched by then is stored, unless the store is away."""
        self._stop = stop
        try:
            while not stop.is_set():
                await self._take_part()
        finally:
            self._delivery.close()

    async def _take_part(self) -> None:
        """Read as a member of the group until we stop, or until a bug has thrown us out of it for good."""
        consumer = await self._started()
        if consumer is None:
            return
        try:
            columnar.install(consumer, self.topics)
            consumer.subscribe(list(self.topics), listener=_Listener(self))
            while not self._stop.is_set() and not lost(consumer):
                await self._turn(consumer)
            if lost(consumer):
                log.error("the archive has fallen out of its group, joining again")
                await self._given_up(list(self._stored))
            else:
                await self._store(consumer)
        finally:
            await stopped(consumer)

    def _consumer(self) -> Any:
        settings, pace = self._settings, self._pace
        session = round(settings.kafka.session_timeout * 1000)
        return AIOKafkaConsumer(
            group_id=f"{settings.kafka.prefix}.archive",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=session,
            heartbeat_interval_ms=session // 3,
            max_poll_interval_ms=_DAY_MS,  # an outage of the store is no reason to give the partitions away
            max_partition_fetch_bytes=pace.fetch_bytes,
            fetch_max_wait_ms=200,
            **client_options(settings),
        )

    async def _started(self) -> Any:
        """A connected consumer, however long the broker is away; None once we stop."""
        attempt = 0
        while not self._stop.is_set():
            consumer = self._consumer()
            try:
                await begin(consumer)
            except (KafkaError, OSError) as fault:
                await stopped(consumer)
                log.warning(
                    "the archive waits for the broker", extra={"error": str(fault), "attempt": attempt}
                )
                await pause(attempt, self._stop)
                attempt += 1
            else:
                return consumer
        return None

    async def _turn(self, consumer: Any) -> None:
        """Fetch once, and store if there is enough or it has waited long enough."""
        now = asyncio.get_running_loop().time()
        left = self._pace.seconds - (now - self._pending.since) if self._pending.rows else self._pace.seconds
        try:
            fetched = await self._unless_stopped(
                consumer.getmany(timeout_ms=max(1, round(left * 1000)), max_records=self._pace.rows)
            )
        except KafkaError as fault:
            log.warning("the archive cannot fetch", extra={"error": str(fault)})
            await pause(0, self._stop)
            return
        self._pending.add(fetched, now)
        if self._pending.due(self._pace, asyncio.get_running_loop().time()):
            await self._store(consumer)

    async def _unless_stopped(self, fetching: Coroutine[Any, Any, Fetched]) -> Fetched:
        """What is fetched; nothing once we stop. Within a rebalance a fetch waits for its end, however late."""
        with suppress(Stopped):
            return await until(self._stop, fetching)
        return {}

    async def _store(self, consumer: Any) -> None:
        """Store what is pending, then commit it."""
        async with self._storing:
            generation, pending = self._generation, self._pending
            positions = await _positions(consumer)
            self._pending = Pending()
            if pending.rows:
                tables = await self._decoded(consumer, pending)
                if tables is None or not await self._delivery.write(
                    tables, self._stop, lambda: generation == self._generation
                ):
                    return
            if generation != self._generation:
                return  # the partitions are somebody else's now, who reads these records again
            if pending.rows:
                await _commit(consumer, {tp: positions[tp] for tp in pending.records if tp in positions})
                self._continuity.stored(pending.records)
            self._stored = positions

    async def _decoded(self, consumer: Any, pending: Pending) -> dict[str, pl.DataFrame] | None:
        """The rows, once the schemas of all records are known; None if we are to stop before that."""
        with suppress(Stopped):
            await self._continuity.check(consumer, pending.records)
            while True:
                try:
                    return await asyncio.to_thread(self._tables, pending)
                except Unseen as unseen:
                    await until(self._stop, self._learn(unseen.ids))
        return None

    async def _times(self, tp: TopicPartition, first: int, last: int) -> Mapping[int, int]:
        """See `Continuity`."""
        one, place = self._sources[tp.topic], (tp.partition, first, last)
        return await self._delivery.times(one.table, *place, self._stop) if one.positioned else {}

    def _tables(self, pending: Pending) -> dict[str, pl.DataFrame]:
        """All rows that `pending` makes, by table; those that say how far we have come are last."""
        parts: list[Rows] = []
        anywhere: dict[Source, list[Records]] = {}
        for tp, records in pending.records.items():
            whole, source = Records.concat(records), self._sources[tp.topic]
            parts.append(Rows(PROGRESS, progress_of(tp.topic, tp.partition, whole), 0))
            if source.by_partition:
                parts += self._rows(source, tp.partition, whole)
            else:
                anywhere.setdefault(source, []).append(whole)
        for source, wholes in anywhere.items():
            parts += self._rows(source, 0, Records.concat(wholes))
        tables = dict(joined(parts))
        return {**{name: tables[name] for name in tables if name != PROGRESS}, PROGRESS: tables[PROGRESS]}

    def _rows(self, source: Source, partition: int, records: Records) -> list[Rows]:
        """The rows of these records, and what they say about progress."""
        rows = rows_of(source, partition, records, self._lookup)
        if rows.table != OUTCOMES:
            self._note_skipped(source, rows.skipped)
            return [rows]
        told, words = told_progress(records, self._lookup)
        self._note_skipped(source, rows.skipped - words)
        return [
            rows,
            Rows(PROGRESS, told, 0),
            Rows(PROGRESS, tallied(rows.frame, int(records.times[-1])), 0),
        ]

    def _note_skipped(self, source: Source, skipped: int) -> None:
        if skipped and source.check is None:
            log.error("records of our own topics cannot be read", extra={"topic": source.topic, "n": skipped})

    async def _given_up(self, revoked: Collection[TopicPartition]) -> None:
        """Before partitions go: let a batch that is being written finish, then forget what is not."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._storing.acquire(), self._settings.kafka.session_timeout / 3)
            self._storing.release()
        self._generation += 1
        self._pending = Pending()
        self._continuity.forget()
        for tp in revoked:
            self._stored.pop(tp, None)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Hands rebalances to the archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """They may be somebody else's soon."""
        await self._archive._given_up(revoked)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Reading begins at what is committed, or at the beginning."""
        log.info("the archive reads", extra={"partitions": len(assigned)})


async def _positions(consumer: Any) -> dict[TopicPartition, int]:
    """The next offset of each partition that is ours; without those whose beginning is not known yet."""
    waits = {tp: asyncio.create_task(consumer.position(tp)) for tp in consumer.assignment()}
    if waits:
        await asyncio.wait(waits.values(), timeout=0.5)
    for wait in waits.values():
        wait.cancel()
    return {tp: wait.result() for tp, wait in waits.items() if wait.done() and not _failed(wait)}


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None


async def _commit(consumer: Any, positions: Mapping[TopicPartition, int]) -> None:
    """A commit that fails means that the rows are stored again later, which changes nothing."""
    try:
        await consumer.commit(dict(positions))
    except (CommitFailedError, IllegalStateError) as fault:
        log.info("partitions went away before their commit", extra={"error": str(fault)})
    except KafkaError as fault:
        log.warning("the archive cannot commit", extra={"error": str(fault)})
