"""Answers as they are given now: sent at a steady rate, each with its own id and the time at which it is sent."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from aiokafka import AIOKafkaProducer

from pipeline.config import Settings
from pipeline.events import wire
from pipeline.events.placement import partitions_of
from pipeline.events.schemas import schema
from pipeline.streams.topics import Topics

_ID = 32  # hex digits
_SLICE = 0.02  # seconds
_BATCH_BYTES = 128 << 10
_SCHEMA = schema("SurveyResponse")
_HEAD = wire.header(_SCHEMA.schema_id) + bytes([2 * _ID])
_TIME = 6  # bytes; of these decades
_PLAIN = {"source": "shop", "revision": 0, "retracted": False, "response_id": "0" * _ID}


def tails(rows: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Survey responses (instrument, score, touchpoint, ...), encoded but for their ids and times."""
    now = int(time.time() * 1000)
    return cut(wire.encode(_SCHEMA, {**_PLAIN, "occurred_at": now, **row}) for row in rows)


def cut(values: Iterable[bytes]) -> list[bytes]:
    """The same of encoded responses whose ids are 32 characters."""
    start = len(_HEAD) + _ID + _TIME
    return [value[start:] for value in values]


class Load:
    """Sends answers at a rate until it is told to stop. They go in batches of a slice of time, as from many apps.

    Args:
        settings: where to.
        tails: of the answers; drawn at random.
        shares: how often each is drawn.
        rate: answers a second.

    Attributes:
        sent: how many so far.
        behind: seconds that it was late at most.
    """

    def __init__(
        self, settings: Settings, tails: Sequence[bytes], shares: Sequence[float], rate: float
    ) -> None:
        self._settings = settings
        self._tails = tails
        self._shares = np.array(shares) / np.sum(shares)
        self._rate = rate
        self._rng = np.random.default_rng(7)
        self.sent = 0
        self.behind = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; everything is acknowledged when this returns."""
        kafka = self._settings.kafka
        producer = AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap, acks="all", max_batch_size=_BATCH_BYTES
        )
        await producer.start()
        try:
            begin, futures = time.monotonic(), []
            while not stop.is_set():
                due = round((time.monotonic() - begin) * self._rate) - self.sent
                futures += await self._send(producer, due)
                futures = [future for future in futures if not future.done()]
                self.sent += due
                self.behind = max(self.behind, time.monotonic() - begin - self.sent / self._rate)
                await asyncio.sleep(_SLICE)
            await asyncio.gather(*futures)
        finally:
            await producer.stop()

    async def _send(self, producer: AIOKafkaProducer, n: int) -> list[asyncio.Future[Any]]:
        topic, sent = Topics(self._settings.kafka.prefix).responses, []
        ids = os.urandom(n * _ID // 2).hex().encode()
        size = np.full(n, _ID, np.int64)
        places = partitions_of(
            np.frombuffer(ids, np.uint8), np.cumsum(size) - size, size, self._settings.kafka.partitions
        )
        chosen, now = (
            self._rng.choice(len(self._tails), n, p=self._shares).tolist(),
            _long(int(time.time() * 1000)),
        )
        for partition in np.unique(places).tolist():
            batch = producer.create_batch()
            for k in np.flatnonzero(places == partition).tolist():
                key = ids[k * _ID : (k + 1) * _ID]
                value = b"".join((_HEAD, key, now, self._tails[chosen[k]]))
                if batch.append(key=key, value=value, timestamp=None) is None:
                    sent.append(await producer.send_batch(batch, topic, partition=partition))
                    batch = producer.create_batch()
                    batch.append(key=key, value=value, timestamp=None)
            sent.append(await producer.send_batch(batch, topic, partition=partition))
        return sent


def _long(number: int) -> bytes:
    """An Avro long that is not negative."""
    left, out = number * 2, bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])
