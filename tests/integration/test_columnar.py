"""The columnar fetch brings exactly what stock aiokafka brings: codecs, transactions, seeks, small polls."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError

from pipeline.errors import FeedbackError
from pipeline.streams import columnar

Row = tuple[int, int, bytes | None]
READ_COMMITTED = "read_committed"


@asynccontextmanager
async def topic_of(bootstrap: str, name: str, **configs: str) -> AsyncIterator[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs=configs)])
        yield TopicPartition(name, 0)
    finally:
        await admin.close()


@asynccontextmanager
async def consumer(bootstrap: str, tp: TopicPartition, *, columns: bool, **more: Any) -> AsyncIterator[Any]:
    one = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", **more)
    await one.start()
    try:
        if columns:
            columnar.install(one, {tp.topic})
        one.assign([tp])
        yield one
    finally:
        await one.stop()


async def read(one: Any, tp: TopicPartition, start: int, stop: int, most: int | None = None) -> list[Row]:
    one.seek(tp, start)
    rows: list[Row] = []
    end = start
    while await one.position(tp) < stop:
        for got in (await one.getmany(tp, timeout_ms=2000, max_records=most)).values():
            if isinstance(got, list):
                rows += [(r.offset, r.timestamp, r.value) for r in got]
            else:
                assert got.goes_on(end), "a hole that a marker left, or an aborted transaction, is no gap"
                end = got.last + 1
                rows += zip(got.offsets.tolist(), got.times.tolist(), got.values, strict=True)
    return rows


async def both(bootstrap: str, tp: TopicPartition, isolation: str = "read_uncommitted") -> list[Row]:
    """What both ways bring, from several places and in small polls, compared; all of it is returned."""
    rng = random.Random(7)
    async with (
        consumer(bootstrap, tp, columns=False, isolation_level=isolation) as stock,
        consumer(bootstrap, tp, columns=True, isolation_level=isolation) as ours,
    ):
        end = (await stock.end_offsets([tp]))[tp]
        everything = await read(stock, tp, 0, end)
        assert await read(ours, tp, 0, end) == everything
        assert await read(ours, tp, 0, end, most=7) == everything
        for start in sorted(rng.randrange(end) for _ in range(5)):
            assert await read(ours, tp, start, end, most=50) == [row for row in everything if row[0] >= start]
        return everything


async def send(bootstrap: str, tp: TopicPartition, count: int, **options: Any) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, **options)
    await producer.start()
    try:
        values = [None if k % 50 == 7 else b"%d" % k * (k % 20) for k in range(count)]
        futures = [await producer.send(tp.topic, v, key=b"key", partition=0) for v in values]
        for future in futures:
            await future
    finally:
        await producer.stop()


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("kind", ["CreateTime", "LogAppendTime"])
async def test_codecs_and_times(apache_kafka: str, kafka_prefix: str, codec: str | None, kind: str) -> None:
    name = f"{kafka_prefix}.{kind}"
    async with topic_of(apache_kafka, name, **{"message.timestamp.type": kind}) as tp:
        await send(apache_kafka, tp, 300, compression_type=codec)
        assert len(await both(apache_kafka, tp)) == 300


async def test_aborted_and_committed_transactions(apache_kafka: str, kafka_prefix: str) -> None:
    async with topic_of(apache_kafka, kafka_prefix, **{"message.timestamp.type": "LogAppendTime"}) as tp:
        producer = AIOKafkaProducer(bootstrap_servers=apache_kafka, transactional_id=kafka_prefix)
        await producer.start()
        for k in range(6):
            await producer.begin_transaction()
            for j in range(20):
                await producer.send(tp.topic, b"%d.%d" % (k, j), partition=0)
            await (producer.abort_transaction() if k % 2 else producer.commit_transaction())
        await producer.stop()
        committed = await both(apache_kafka, tp, READ_COMMITTED)
        assert {value[:1] for _, _, value in committed if value} == {b"0", b"2", b"4"}
        assert len(await both(apache_kafka, tp)) == 120


async def test_what_unpacks_to_much_comes_in_pieces(
    apache_kafka: str, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar, "_MOST_BYTES", 10_000)
    async with (
        topic_of(apache_kafka, kafka_prefix, **{"message.timestamp.type": "LogAppendTime"}) as tp,
        consumer(apache_kafka, tp, columns=True) as ours,
    ):
        producer = AIOKafkaProducer(
            bootstrap_servers=apache_kafka, compression_type="gzip", max_batch_size=4000, linger_ms=20
        )
        await producer.start()
        sent = [await producer.send(tp.topic, bytes(1000), partition=0) for _ in range(100)]
        await asyncio.gather(*sent)
        await producer.stop()
        end = 0
        while end < 100:
            (got,) = (await ours.getmany(tp, timeout_ms=10_000)).values()
            assert got.goes_on(end)
            assert got.nbytes < 15_000
            end = got.last + 1


async def test_fetches_of_one_transaction_each_go_on_over_its_marker(
    apache_kafka: str, kafka_prefix: str
) -> None:
    async with (
        topic_of(apache_kafka, kafka_prefix, **{"message.timestamp.type": "LogAppendTime"}) as tp,
        consumer(apache_kafka, tp, columns=True, isolation_level=READ_COMMITTED) as ours,
    ):
        producer = AIOKafkaProducer(bootstrap_servers=apache_kafka, transactional_id=kafka_prefix)
        await producer.start()
        end = 0
        for k in range(6):
            await producer.begin_transaction()
            await producer.send_and_wait(tp.topic, b"%d" % k, partition=0)
            await (producer.abort_transaction() if k % 3 == 1 else producer.commit_transaction())
            if k % 3 != 1:
                (got,) = (await ours.getmany(tp, timeout_ms=10_000)).values()
                assert got.goes_on(end)
                end = got.last + 1
        await producer.stop()
        ours.seek(tp, 5)  # between the second and the third
        (got,) = (await ours.getmany(tp, timeout_ms=10_000)).values()
        assert (got.start, got.first) == (5, 6)


def test_gaps_of_compaction() -> None:
    """A compacted batch keeps its last offset and loses records in between: offsets are no range any more."""
    rows = [(3, 1000, b"a"), (7, 1000, b"b")]

    class Batch:
        base_offset, last_offset_delta, next_offset, max_timestamp = 0, 9, 10, 1000
        timestamp_type = columnar.LOG_APPEND_TIME

        def __iter__(self) -> Any:
            fields = ("offset", "timestamp", "value")
            return iter([type("Record", (), dict(zip(fields, row, strict=True))) for row in rows])

    place = columnar._Place()
    assert columnar._columns(Batch(), place) is None, "first it notices, and asks for the batch again"
    again = columnar._columns(Batch(), place)
    assert again is not None
    assert (again.offsets.tolist(), again.values) == ([3, 7], [b"a", b"b"])


async def test_another_aiokafka_is_refused(apache_kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = AIOKafkaConsumer(bootstrap_servers=apache_kafka)
    await one.start()
    await asyncio.sleep(0)  # its tasks must have run once: `stop` before that fails half way
    try:
        monkeypatch.setattr(columnar, "_FIELDS", ("self._a_name_that_another_version_lacks",))
        with pytest.raises(FeedbackError, match=r"install aiokafka 0\.14"):
            columnar.install(one, {"responses"})
    finally:
        await one.stop()


async def test_a_consumer_ends_well_in_the_pause_after_a_fetch_that_failed(
    apache_kafka: str, kafka_prefix: str
) -> None:
    async with topic_of(apache_kafka, kafka_prefix) as tp:
        async with consumer(apache_kafka, tp, columns=True, retry_backoff_ms=60_000) as one:
            failed = asyncio.Event()
            one.seek(tp, 0)  # so that the next request is a fetch

            async def fail(*_: Any) -> None:
                failed.set()
                raise KafkaConnectionError

            one._fetcher._client.send = fail
            await asyncio.wait_for(failed.wait(), 10)
        assert one._closed


async def test_other_topics_of_the_same_consumer_stay_as_they_are(
    apache_kafka: str, kafka_prefix: str
) -> None:
    async with topic_of(apache_kafka, kafka_prefix) as tp:
        await send(apache_kafka, tp, 20)
        one = AIOKafkaConsumer(bootstrap_servers=apache_kafka, auto_offset_reset="earliest")
        await one.start()
        try:
            columnar.install(one, {"another"})
            one.assign([tp])
            got = (await one.getmany(tp, timeout_ms=5000))[tp]
            assert isinstance(got, list)
        finally:
            await one.stop()
