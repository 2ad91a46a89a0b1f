"""The archive: every public topic into its ClickHouse table, in a consumer group of its own.

Stored first, committed afterwards: a crash in between stores the same rows again, which changes nothing. A store that
is away delays storing and nothing else: what was fetched is kept, nothing more is fetched, and the same batch is
tried again for as long as it takes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from pipeline.config import Settings
from pipeline.errors import FeedbackError
from pipeline.events.records import Records
from pipeline.measures.instruments import bounds
from pipeline.stores.client import connect
from pipeline.stores.sink import AwayError, PoisonError, Sink
from pipeline.streams import columnar
from pipeline.streams.connection import client_options
from pipeline.streams.rows import PROGRESS, Rows, Source, joined, progress_of, rows_of, sources, tallied
from pipeline.streams.topics import Topics

log = logging.getLogger(__name__)
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is stored at once, and how patiently.

    Attributes:
        rows: a batch is stored when it has so many,
        bytes: or when its values have so many,
        seconds: or when its first record has waited so long.
        fetch_bytes: of one partition in one response of the broker; the memory that an outage binds.
        first_pause: seconds before the first retry, at most.
        longest_pause: seconds between retries, at most.
    """

    rows: int = 150_000
    bytes: int = 64 << 20
    seconds: float = 0.5
    fetch_bytes: int = 2 << 20
    first_pause: float = 0.2
    longest_pause: float = 10.0


class ArchiveMetrics(Protocol):
    """What the archive tells Prometheus."""

    def sink_flush(self, table: str, rows: int, seconds: float) -> None:
        """So many rows were stored in so many seconds."""
        ...

    def sink_retry(self, code: int) -> None:
        """A batch has to be tried again: ClickHouse's error code, 0 without an answer."""
        ...

    def store_up(self, *, up: bool) -> None:
        """Whether the store takes rows."""
        ...

    def latency(self, stage: str, seconds: float) -> None:
        """From the broker's time of a record to the end of the stage."""
        ...


@dataclass(slots=True)
class _Pending:
    """What was fetched and is not stored yet."""

    records: dict[TopicPartition, list[Records]] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0
    since: float = 0.0

    def add(self, fetched: Mapping[TopicPartition, Records], now: float) -> None:
        if not self.rows:
            self.since = now
        for tp, records in fetched.items():
            self.records.setdefault(tp, []).append(records)
            self.rows += len(records)
            self.bytes += sum(map(len, filter(None, records.values)))

    def due(self, pace: Pace, now: float) -> bool:
        """Whether it is time to store; with nothing to store, it always is."""
        much = self.rows >= pace.rows or self.bytes >= pace.bytes
        return much or not self.rows or now - self.since >= pace.seconds


class Archive:
    """Stores what arrives in the public topics."""

    def __init__(
        self,
        settings: Settings,
        metrics: ArchiveMetrics,
        *,
        pace: Pace | None = None,
        on_away: Callable[[], None] | None = None,
    ) -> None:
        """An archive that stands still until `run`.

        Args:
            settings: the whole configuration.
            metrics: is told what happens.
            pace: how much at once.
            on_away: called on the event loop after each attempt to reach the store that failed.
        """
        topics = Topics(settings.kafka.prefix)
        self._sources = {one.topic: one for one in sources(topics, bounds(settings.catalogue()))}
        self._settings = settings
        self._metrics = metrics
        self._pace = pace or Pace()
        self._on_away = on_away
        self._sink: Sink | None = None
        self._stored: dict[TopicPartition, int] = {}
        self._pending = _Pending()
        self._generation = 0
        self._storing = asyncio.Lock()
        self._stop = asyncio.Event()

    @property
    def topics(self) -> Collection[str]:
        """Full names of the topics that it reads."""
        return self._sources.keys()

    def stored(self) -> dict[TopicPartition, int]:
        """For each partition of ours the offset below which everything is stored."""
        return dict(self._stored)

    async def run(self, stop: asyncio.Event) -> None:
        """Store until `stop`; what was fetched by then is stored, unless the store is away."""
        self._stop = stop
        consumer = self._consumer()
        if not await self._started(consumer):
            return
        try:
            columnar.install(consumer, self.topics)
            consumer.subscribe(list(self.topics), listener=_Listener(self))
            while not stop.is_set():
                await self._turn(consumer)
            await self._store(consumer)
        finally:
            with suppress(KafkaError):
                await consumer.stop()
            if self._sink is not None:
                self._sink.close()

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

    async def _started(self, consumer: Any) -> bool:
        attempt = 0
        while not self._stop.is_set():
            try:
                await consumer.start()
            except (KafkaError, OSError) as fault:
                log.warning(
                    "the archive waits for the broker", extra={"error": str(fault), "attempt": attempt}
                )
                await self._pause(attempt)
                attempt += 1
            else:
                return True
        await consumer.stop()
        return False

    async def _turn(self, consumer: Any) -> None:
        """Fetch once, and store if there is enough or it has waited long enough."""
        now = asyncio.get_running_loop().time()
        left = self._pace.seconds - (now - self._pending.since) if self._pending.rows else self._pace.seconds
        generation = self._generation
        try:
            fetched = await consumer.getmany(
                timeout_ms=max(1, round(left * 1000)), max_records=self._pace.rows
            )
        except KafkaError as fault:
            log.warning("the archive cannot fetch", extra={"error": str(fault)})
            await self._pause(0)
            return
        if generation == self._generation:
            self._pending.add(fetched, now)
        if self._pending.due(self._pace, asyncio.get_running_loop().time()):
            await self._store(consumer)

    async def _store(self, consumer: Any) -> None:
        """Store what is pending, then commit it."""
        async with self._storing:
            generation, pending = self._generation, self._pending
            positions = await _positions(consumer)
            self._pending = _Pending()
            if pending.rows and not await self._written(pending, generation):
                return
            if generation != self._generation:
                return  # the partitions are somebody else's now, who reads these records again
            if pending.rows:
                await _commit(consumer, {tp: positions[tp] for tp in pending.records if tp in positions})
            self._stored = positions

    async def _written(self, pending: _Pending, generation: int) -> bool:
        """Write until it is written; False if it is not to be written any more."""
        tables = await asyncio.to_thread(self._tables, pending)
        attempt = 0
        while tables:
            table = next(iter(tables))
            try:
                await asyncio.to_thread(self._insert, table, tables[table])
            except (AwayError, PoisonError, FeedbackError) as fault:
                self._complain(fault, attempt)
                await self._pause(attempt)
                attempt += 1
            else:
                if attempt:
                    log.info("the store is back", extra={"attempts": attempt})
                attempt = 0
                del tables[table]
            if self._stop.is_set() and attempt:
                return False
            if generation != self._generation:
                return False
        self._metrics.store_up(up=True)
        return True

    def _tables(self, pending: _Pending) -> dict[str, Any]:
        """All rows that `pending` makes, by table; those that say how far we have come are last."""
        parts: list[Rows] = []
        for tp, records in pending.records.items():
            whole = Records.concat(records)
            rows = rows_of(self._sources[tp.topic], tp.partition, whole)
            self._note_skipped(self._sources[tp.topic], rows)
            parts += [rows, Rows(PROGRESS, progress_of(tp.topic, tp.partition, whole), 0)]
            if rows.table == "outcome_counts" and len(rows.frame):
                parts.append(Rows(PROGRESS, tallied(rows.frame, int(whole.times[-1])), 0))
        tables = dict(joined(parts))
        return {**{name: tables[name] for name in tables if name != PROGRESS}, PROGRESS: tables[PROGRESS]}

    def _note_skipped(self, source: Source, rows: Rows) -> None:
        if rows.skipped and source.check is None:
            log.error(
                "records of our own topics cannot be read", extra={"topic": source.topic, "n": rows.skipped}
            )

    def _insert(self, table: str, frame: Any) -> None:
        started = time.monotonic()
        if self._sink is None:
            self._sink = Sink(connect(self._settings, write=True))
        self._sink.insert(table, frame)
        self._metrics.sink_flush(table, len(frame), time.monotonic() - started)
        if "kafka_time" in frame.columns:
            oldest = frame["kafka_time"].min()
            self._metrics.latency("stored", max(0.0, time.time() - oldest / 1000))

    def _complain(self, fault: Exception, attempt: int) -> None:
        code = fault.code if isinstance(fault, AwayError) else 0
        self._metrics.store_up(up=False)
        self._metrics.sink_retry(code)
        say = log.error if isinstance(fault, PoisonError) else log.warning
        if attempt in (0, 3) or attempt % 20 == 19:
            say("the store does not take rows", extra={"error": str(fault)[:500], "attempt": attempt})
        if self._on_away is not None and not isinstance(fault, PoisonError):
            self._on_away()

    async def _pause(self, attempt: int) -> None:
        """Full jitter, so that many workers do not come back at the same instant."""
        most = min(self._pace.longest_pause, self._pace.first_pause * 2 ** min(attempt, 20))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), random.uniform(0.0, most))  # noqa: S311 - jitter

    async def _given_up(self, revoked: Collection[TopicPartition]) -> None:
        """Before partitions go: let a batch that is being written finish, then forget what is not."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._storing.acquire(), self._settings.kafka.session_timeout / 3)
            self._storing.release()
        self._generation += 1
        self._pending = _Pending()
        for tp in revoked:
            self._stored.pop(tp, None)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
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
