"""Awkward survey responses: duplicates, edits, retractions, late ones, answers from the future, and garbage."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from aiokafka import AIOKafkaProducer

from pipeline.events import wire
from pipeline.events.partition import partition_of
from pipeline.events.schemas import schema

DAY_MS = 86_400_000
INSTRUMENTS = {"csat_1_5": (1, 5), "nps_0_10": (0, 10), "ces_1_7": (1, 7)}


class Traffic:
    """A seeded source of (key, value) pairs."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._recent: list[dict[str, Any]] = []

    def next(self) -> tuple[bytes, bytes | None]:
        """One record for the topic of responses."""
        rng, kind = self._rng, self._rng.random()
        if kind < 0.02:
            return rng.randbytes(8), self._garbage()
        if kind < 0.12 and self._recent:
            again = dict(rng.choice(self._recent))
            if kind > 0.05:
                again |= self._edit(again)
            return self._pair(again)
        return self._pair(self._fresh())

    def _fresh(self) -> dict[str, Any]:
        rng = self._rng
        instrument = rng.choice([*INSTRUMENTS, *["unknown_scale"] * (rng.random() < 0.02)])
        low, high = INSTRUMENTS.get(instrument, (0, 1))
        late = rng.random() < 0.01
        record = {
            "response_id": f"{rng.getrandbits(128):032x}",
            "occurred_at": self._time(late=late),
            "source": "test",
            "instrument": instrument,
            "score": rng.randint(low, high) + (99 if rng.random() < 0.005 else 0),
            "touchpoint": f"touchpoint {rng.randrange(12)}" if rng.random() > 0.005 else "",
            "channel": rng.choice(["web", "app", "phone"]),
            "segment": rng.choice([None, "", "new", "loyal"]),
            "revision": 0,
            "retracted": False,
        }
        self._recent = [*self._recent[-400:], record]
        return record

    def _edit(self, record: dict[str, Any]) -> dict[str, Any]:
        rng = self._rng
        return {
            "revision": rng.randint(0, 3),
            "retracted": rng.random() < 0.3,
            "score": rng.randint(1, 5),
            "occurred_at": rng.choice([record["occurred_at"], self._time(late=False)]),
        }

    def _time(self, *, late: bool) -> int:
        rng = self._rng
        now = int(time.time() * 1000)
        if late:
            return now - rng.randint(8, 12) * DAY_MS
        return now - rng.randint(0, 3_600_000) if rng.random() > 0.002 else now + 2 * 3_600_000

    def _garbage(self) -> bytes | None:
        rng = self._rng
        good = wire.encode(schema("SurveyResponse"), self._fresh())
        return rng.choice(
            [
                b"",
                None,
                rng.randbytes(20),
                good[:-3],
                good + b"x",
                good[:5] + rng.randbytes(30),
                b'{"json": 1}',
            ]
        )

    def _pair(self, record: dict[str, Any]) -> tuple[bytes, bytes]:
        return record["response_id"].encode(), wire.encode(schema("SurveyResponse"), record)


async def produce(
    bootstrap: str, topic: str, traffic: Traffic, n: int, rate: float, partitions: int = 4
) -> None:
    """Send n records at about `rate` a second; all are acknowledged when this returns."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=5)
    await producer.start()
    started, futures = time.monotonic(), []
    try:
        for k in range(n):
            key, value = traffic.next()
            futures.append(
                await producer.send(topic, value, key=key, partition=partition_of(key, partitions))
            )
            if k % 100 == 0:
                await asyncio.sleep(max(0.0, k / rate - (time.monotonic() - started)))
        await asyncio.gather(*futures)
    finally:
        await producer.stop()
