"""The archive: every public topic into its ClickHouse table, in a consumer group of its own.

Stored first, committed afterwards: a crash in between stores the same rows again, which changes nothing. While one
batch is being stored the next one is fetched and decoded, no more than that. A store that is away delays storing and
nothing else: these two are kept, nothing more is fetched, and the same batch is tried again for as long as it takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from pipeline.config import Settings
from pipeline.events.schemas import by_ids
from pipeline.journal.partition import learn_nothing
from pipeline.measures.instruments import bounds
from pipeline.streams import columnar
from pipeline.streams.along import Along, known_positions, read_along
from pipeline.streams.connection import COMMITTED, client_options
from pipeline.streams.continuity import Continuity
from pipeline.streams.delivery import Delivery, DeliveryMetrics, pause
from pipeline.streams.kafka_log import stopped
from pipeline.streams.membership import begin, lost, refusal
from pipeline.streams.patience import Stopped, until
from pipeline.streams.pending import Fetched, Pace, Pending
from pipeline.streams.readable import Frames, Readable
from pipeline.streams.registry import Registry
from pipeline.streams.rows import sources
from pipeline.streams.tables import Tables
from pipeline.streams.topics import Topics

log = logging.getLogger(__name__)
Ours = Callable[[], bool]
_DAY_MS = 86_400_000
_HURRIED = 0.05
_LOOK = 0.05  # seconds after which to look whether the tallies have something for us
_FETCH_BYTES, _FETCH_WAIT_MS = 256 << 10, 100  # or the broker answers for every few records that come in


class Archive:
    """Stores what arrives in the public topics.

    Attributes:
        assigned: the partitions that the group has given it.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: DeliveryMetrics,
        *,
        pace: Pace | None = None,
        on_away: Callable[[], None] | None = None,
        registry: Registry | None = None,
        along: Along | None = None,
    ) -> None:
        """An archive that stands still until `run`.

        Args:
            settings: the whole configuration.
            metrics: is told what happens.
            pace: how much at once.
            on_away: called on the event loop after each attempt to reach the store that failed.
            registry: the one that the tally asks, so that both judge alike.
            along: where the tallies of this process offer what they have read.
        """
        topics = Topics(settings.kafka.prefix)
        self._sources = {one.topic: one for one in sources(topics, bounds(settings.catalogue()))}
        self._settings = settings
        learn = registry.learn if registry else learn_nothing
        tables = Tables(self._sources.values(), registry.lookup if registry else by_ids)
        self._readable = Readable(tables, lambda ids: until(self._stop, learn(ids)))
        self._delivery = Delivery(settings, metrics, on_away)
        self._pace = pace or Pace()
        self._stored: dict[TopicPartition, int] = {}
        self.assigned: Collection[TopicPartition] = ()
        self._along = along or Along()
        self._pending = Pending()
        self._continuity = Continuity(self._times)
        self._generation = 0
        self._writing: asyncio.Task[bool] | None = None
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
            consumer.subscribe(list(self.topics), listener=_Listener(self, consumer))
            while not self._stop.is_set() and not lost(consumer):
                await self._turn(consumer)
            if lost(consumer):
                log.error("the archive has fallen out of its group, joining again")
                await self._given_up(list(self._stored))
            while self._pending.rows:
                await self._store(consumer)
            await self._written()
        finally:
            if self._writing is not None:
                self._writing.cancel()
            await stopped(consumer)

    def _consumer(self) -> Any:
        settings, pace = self._settings, self._pace
        session = round(settings.kafka.session_timeout * 1000)
        return AIOKafkaConsumer(
            group_id=f"{settings.kafka.prefix}.archive",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=COMMITTED,
            session_timeout_ms=session,
            heartbeat_interval_ms=session // 3,
            max_poll_interval_ms=_DAY_MS,  # an outage of the store is no reason to give the partitions away
            max_partition_fetch_bytes=pace.fetch_bytes,
            fetch_min_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
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
        await self._read_along(consumer, now)
        left = self._pending.left(self._pace, now, busy=self._busy)
        if consumer.paused():
            left = min(left, _LOOK)
        try:
            fetched = await self._unless_stopped(
                consumer.getmany(timeout_ms=max(1, round(left * 1000)), max_records=self._pace.rows)
            )
        except KafkaError as fault:
            if refused := refusal(fault):
                raise refused from fault
            log.warning("the archive cannot fetch", extra={"error": str(fault)})
            await pause(0, self._stop)
            return
        self._pending.add(fetched, now)
        if self._pending.due(self._pace, asyncio.get_running_loop().time(), busy=self._busy):
            await self._store(consumer)

    async def _read_along(self, consumer: Any, now: float) -> None:
        most = self._pace.rows - self._pending.rows
        taken = await read_along(consumer, self._along, most, self._while_ours(), self._readable)
        for tp, several in taken.items():
            for records in several:
                self._pending.add({tp: records}, now)

    async def _unless_stopped(self, fetching: Coroutine[Any, Any, Fetched]) -> Fetched:
        """What is fetched; nothing once we stop. Within a rebalance a fetch waits for its end, however late."""
        with suppress(Stopped):
            return await until(self._stop, fetching)
        return {}

    async def _store(self, consumer: Any) -> None:
        """Make rows of what is pending, and begin to store them as soon as those before them are stored."""
        ours = self._while_ours()
        pending, self._pending = self._pending.split(self._pace, asyncio.get_running_loop().time())
        tables = await self._decoded(consumer, pending, ours)
        positions = await known_positions(consumer, consumer.assignment()) | self._pending.begins
        if tables is None or not await self._written() or not ours():
            return  # what we read behind a batch that is not stored is for whoever reads it again
        self._continuity.taken(pending.records)
        of = tuple(pending.records)
        self._writing = asyncio.create_task(self._write(consumer, ours, tables, of, positions))

    async def _write(
        self,
        consumer: Any,
        ours: Ours,
        tables: Frames,
        of: Collection[TopicPartition],
        positions: dict[TopicPartition, int],
    ) -> bool:
        """Store rows, then commit the partitions that they are `of`; False if we are to stop before that."""
        done = await self._delivery.write(tables, self._stop, ours)
        if not ours():
            return True  # the partitions are somebody else's now
        if done:
            await _commit(consumer, {tp: positions[tp] for tp in of if tp in positions})
            self._stored = positions
        return done

    @property
    def _busy(self) -> bool:
        """Something is being stored."""
        return self._writing is not None and not self._writing.done()

    async def _written(self) -> bool:
        """Wait until what is being stored is stored; False if it never will be. What goes wrong is raised here."""
        return self._writing is None or await self._writing

    async def _decoded(self, consumer: Any, pending: Pending, ours: Ours) -> Frames | None:
        """The rows of what can be read; the rest is pending no more. None if we are to stop before that."""
        with suppress(Stopped):
            check = self._continuity.check(consumer, dict(pending.records))
            return (await asyncio.gather(self._readable.rows(consumer, pending.records, ours), check))[0]
        return None

    def _while_ours(self) -> Ours:
        """Whether the partitions of now are still ours, whenever it is asked."""
        generation = self._generation
        return lambda: generation == self._generation

    async def _times(self, tp: TopicPartition, first: int, last: int) -> Mapping[int, int]:
        """See `Continuity`."""
        one, place = self._sources[tp.topic], (tp.partition, first, last)
        return await self._delivery.times(one.table, *place, self._stop) if one.positioned else {}

    async def _given_up(self, revoked: Collection[TopicPartition]) -> None:
        """Before partitions go: let a batch that is being written finish, then forget what is not."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=self._settings.kafka.session_timeout / 3)
        self._generation += 1
        self._along.want(())
        self._pending = Pending()
        self._continuity.forget()
        self._readable.forget()
        for tp in revoked:
            self._stored.pop(tp, None)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Hands rebalances to the archive."""

    def __init__(self, archive: Archive, consumer: Any) -> None:
        self._archive = archive
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """They may be somebody else's soon."""
        await self._archive._given_up(revoked)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Reading begins at what is committed, or at the beginning."""
        self._archive.assigned = assigned
        along = self._archive._along
        along.want(assigned)
        self._consumer.pause(*along.among(()))  # before anything is fetched
        log.info("the archive reads", extra={"partitions": len(assigned)})


async def _commit(consumer: Any, positions: Mapping[TopicPartition, int]) -> None:
    """A commit that fails means that the rows are stored again later, which changes nothing."""
    if not positions:
        return
    try:
        await consumer.commit(dict(positions))
    except (CommitFailedError, IllegalStateError) as fault:
        log.info("partitions went away before their commit", extra={"error": str(fault)})
    except KafkaError as fault:
        log.warning("the archive cannot commit", extra={"error": str(fault)})
