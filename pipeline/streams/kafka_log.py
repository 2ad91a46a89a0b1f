"""`KafkaLog`: a topic partition as the `Log` of the journal and the roll. `Broker`: the connections it uses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from pipeline.journal.log import Entry, OutOfRange, Unknown
from pipeline.streams.connection import COMMITTED
from pipeline.streams.membership import begin
from pipeline.streams.topic_id import topic_ids

log = logging.getLogger(__name__)
MAX_RECORD_BYTES = 8 << 20
_FETCH_BYTES = 4 << 20
_BATCH_BYTES = 256 << 10  # a partition waits for the answer to one batch before it sends the next one
_REQUEST_MS = 15_000


class Broker:
    """Connections of one worker for everything that Faust does not do: three producers, one admin, readers on demand.

    A producer has one request to a broker under way: the journal, which each batch waits for, has one of its own, and
    so have the deltas, which the scores wait for. Neither stands in line behind megabytes of cells.

    Args:
        options: what every client of this cluster needs: bootstrap_servers, security.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._producers: list[AIOKafkaProducer] = []
        self._admin: AIOKafkaAdminClient | None = None
        self._probe: AIOKafkaConsumer | None = None
        self._readers: set[AIOKafkaConsumer] = set()
        self._connecting = asyncio.Lock()  # partitions recover together, and one connection is enough for all

    async def start(self) -> None:
        """Connect the producers; raises KafkaError while the broker is away."""
        made: list[AIOKafkaProducer] = []
        try:
            for _ in range(3):
                made.append(await self._connected())
        except BaseException:
            await asyncio.gather(*map(stopped, made), return_exceptions=True)
            raise
        self._producers = made

    async def stop(self) -> None:
        """Close everything that was opened."""
        closing = [stopped(c) for c in (*self._producers, self._probe, *self._readers) if c is not None]
        closing += [self._admin.close()] if self._admin is not None else []
        await asyncio.gather(*closing, return_exceptions=True)
        self._probe = self._admin = None
        self._producers.clear()
        self._readers.clear()

    @property
    def producer(self) -> AIOKafkaProducer:
        """For what a batch waits for."""
        return self._connected_ones()[0]

    @property
    def outputs(self) -> AIOKafkaProducer:
        """For what the tally sends downstream."""
        return self._connected_ones()[1]

    @property
    def results(self) -> AIOKafkaProducer:
        """For what the roll publishes."""
        return self._connected_ones()[2]

    async def reader(self, tp: TopicPartition) -> AIOKafkaConsumer:
        """A consumer without a group, assigned to one partition."""
        consumer = AIOKafkaConsumer(
            **self._options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level=COMMITTED,
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=50,
            request_timeout_ms=_REQUEST_MS,
        )
        await started(consumer)
        consumer.assign([tp])
        self._readers.add(consumer)
        return consumer

    async def let_go(self, reader: AIOKafkaConsumer) -> None:
        """Close a reader that is no longer wanted."""
        self._readers.discard(reader)
        await stopped(reader)

    async def offsets(self, places: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset kept and end offset of partitions: what an open transaction holds back lies beyond it."""
        async with self._connecting:
            if self._probe is None:
                probe = AIOKafkaConsumer(
                    **self._options, group_id=None, isolation_level=COMMITTED, request_timeout_ms=_REQUEST_MS
                )
                await started(probe)
                self._probe = probe
            for topic in {tp.topic for tp in places}:
                # or it notices one topic at a time that it does not know, and rests a tenth of a second after each
                await self._probe._client.add_topic(topic)
        begin = await self._probe.beginning_offsets(places)
        end = await self._probe.end_offsets(places)
        return {tp: (begin[tp], end[tp]) for tp in places}

    async def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        """See there. Raises `Unknown`."""
        try:
            return await topic_ids(self.producer.client, topics)
        except (KafkaError, TimeoutError) as error:
            raise Unknown(str(error)) from error

    def _connected_ones(self) -> list[AIOKafkaProducer]:
        if not self._producers:
            msg = "Broker.start comes first"
            raise RuntimeError(msg)
        return self._producers

    async def _connected(self) -> AIOKafkaProducer:
        # no idempotence: the rules of the journal bear a record that is written twice, and a producer that has lost
        # its sequence numbers would have to be replaced in the middle of a batch
        producer = AIOKafkaProducer(
            **self._options,
            acks="all",
            max_batch_size=_BATCH_BYTES,
            max_request_size=MAX_RECORD_BYTES,
            request_timeout_ms=_REQUEST_MS,
        )
        await started(producer)
        return producer

    async def delete_records(self, tp: TopicPartition, before: int) -> None:
        """Truncate a partition."""
        async with self._connecting:
            if self._admin is None:
                admin = AIOKafkaAdminClient(**self._options)
                await admin.start()
                self._admin = admin
        await self._admin.delete_records({tp: RecordsToDelete(before_offset=before)})


class KafkaLog:
    """See `journal.log.Log`. Reading keeps one consumer open until it has come to the end it was asked for."""

    def __init__(self, broker: Broker, topic: str, partition: int) -> None:
        self._broker = broker
        self._tp = TopicPartition(topic, partition)
        self._reader: AIOKafkaConsumer | None = None
        self._position = -1

    async def append(self, value: bytes) -> int:
        """One record; its offset."""
        try:
            future = await self._broker.producer.send(self._tp.topic, value, partition=self._tp.partition)
            return int((await future).offset)
        except KafkaError as error:
            raise Unknown(str(error)) from error

    async def identity(self) -> str:
        """The id of the topic."""
        found = await self._broker.topic_ids([self._tp.topic])
        if self._tp.topic not in found:
            msg = f"there is no topic {self._tp.topic}"
            raise Unknown(msg)
        return found[self._tp.topic]

    async def bounds(self) -> tuple[int, int]:
        """First offset kept and end offset."""
        try:
            return (await self._broker.offsets([self._tp]))[self._tp]
        except (KafkaError, TimeoutError) as error:
            raise Unknown(str(error)) from error

    async def read(self, start: int, stop: int) -> tuple[list[Entry], int]:
        """Some entries of [start, stop) and the next position."""
        try:
            entries, position = await self._read(start, stop)
        except OffsetOutOfRangeError as error:
            await self.close()
            raise OutOfRange(str(error)) from error
        except (KafkaError, TimeoutError) as error:
            await self.close()
            raise Unknown(str(error)) from error
        if position >= stop:
            await self.close()
        return entries, position

    async def truncate(self, before: int) -> None:
        """Delete what stands before this offset."""
        try:
            await self._broker.delete_records(self._tp, before)
        except (KafkaError, TimeoutError) as error:
            raise Unknown(str(error)) from error

    async def close(self) -> None:
        """Let go of the reader, if there is one."""
        reader, self._reader, self._position = self._reader, None, -1
        if reader is not None:
            await self._broker.let_go(reader)

    async def _read(self, start: int, stop: int) -> tuple[list[Entry], int]:
        if self._reader is None:
            self._reader = await self._broker.reader(self._tp)
        if start != self._position:
            self._reader.seek(self._tp, start)
        rows = (await self._reader.getmany(self._tp, timeout_ms=1000)).get(self._tp, [])
        self._position = await self._reader.position(self._tp)
        entries = [Entry(r.offset, r.value, r.timestamp) for r in rows if r.offset < stop]
        return entries, min(self._position, stop)


async def started(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Start a client; one that cannot reach the broker is closed again."""
    try:
        await begin(client)
        await asyncio.sleep(0)  # its tasks must have run once: `stop` before that fails half way
    except BaseException:
        await stopped(client)
        raise


async def stopped(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Stop a client, whatever state it is in.

    aiokafka cancels its own tasks and lets their CancelledError out, for instance where a consumer ends before its
    coordinator ran once. Taken for a cancellation of ours, it would end a partition's work without a word.
    """
    try:
        await client.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
    except KafkaError as error:
        log.debug("a client did not stop cleanly", extra={"error": str(error)})
