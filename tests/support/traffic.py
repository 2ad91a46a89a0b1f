"""Awkward records: duplicates, edits, retractions, late ones, ones from the future, cases in any order, garbage."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer

from pipeline.events import wire
from pipeline.events.partition import partition_of
from pipeline.events.schemas import schema

DAY_MS = 86_400_000
INSTRUMENTS = {"csat_1_5": (1, 5), "nps_0_10": (0, 10), "ces_1_7": (1, 7)}
ACTIONS = (
    *("case_opened", "case_replied", "case_contacted", "case_resolved", "case_reopened", "case_closed"),
    *("visited", "paid"),
)
Pair = tuple[bytes, bytes | None]


class Source(Protocol):
    """Gives records."""

    def next(self) -> Pair:
        """The key and the value of one more."""
        ...


def garbage(rng: random.Random, good: bytes) -> bytes | None:
    """What is no record, some of it made of a good one."""
    return rng.choice(
        [b"", None, rng.randbytes(20), good[:-3], good + b"x", good[:5] + rng.randbytes(30), b'{"json": 1}']
    )


class Traffic:
    """A seeded source of survey responses, as (key, value) pairs.

    Args:
        seed: the same seed gives the same records, times aside.
        spread: milliseconds back from now within which they happened, the late ones aside.
    """

    def __init__(self, seed: int, spread: int = 3_600_000) -> None:
        self._rng = random.Random(seed)
        self._spread = spread
        self._recent: list[dict[str, Any]] = []

    def next(self) -> Pair:
        """One record for the topic of responses."""
        rng, kind = self._rng, self._rng.random()
        if kind < 0.02:
            return rng.randbytes(8), garbage(rng, wire.encode(schema("SurveyResponse"), self._fresh()))
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
            "customer_id": rng.choice([None, "", *(f"customer {k}" for k in range(6))]),
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
        return _time(self._rng, self._spread, late=late)

    def _pair(self, record: dict[str, Any]) -> tuple[bytes, bytes]:
        return record["response_id"].encode(), wire.encode(schema("SurveyResponse"), record)


class Touchpoints:
    """The same for touchpoint events: a few hundred cases at a time, whose events come in any order."""

    def __init__(self, seed: int, spread: int = 3_600_000) -> None:
        self._rng = random.Random(seed)
        self._spread = spread
        self._recent: list[tuple[bytes, bytes]] = []
        self._cases: deque[str] = deque(maxlen=300)

    def next(self) -> Pair:
        """One record for the topic of touchpoints."""
        rng, kind = self._rng, self._rng.random()
        if kind < 0.02:
            return rng.randbytes(8), garbage(rng, self._fresh()[1])
        if kind < 0.06 and self._recent:
            return rng.choice(self._recent)
        pair = self._fresh()
        self._recent = [*self._recent[-400:], pair]
        return pair

    def _fresh(self) -> tuple[bytes, bytes]:
        rng = self._rng
        if not self._cases or rng.random() < 0.15:
            self._cases.append(f"case {rng.getrandbits(64):016x}")
        action = rng.choice(ACTIONS)
        case = rng.choice(self._cases) if action.startswith("case_") else None
        event = f"{rng.getrandbits(128):032x}"
        record = {
            "event_id": event,
            "occurred_at": _time(rng, self._spread, late=rng.random() < 0.01),
            "source": "test",
            "touchpoint": rng.choice(["support", "sales", "checkout"]) if rng.random() > 0.005 else "",
            "action": action,
            "channel": rng.choice(["web", "phone"]),
            "case_id": case,
            "customer_id": rng.choice([None, *(f"customer {k}" for k in range(6))]),
            "segment": rng.choice([None, "", "new", "loyal"]),
            "priority": rng.choice([None, "high"]),
            "attributes": {"build": "7"} if rng.random() < 0.1 else {},
        }
        return (case or event).encode(), wire.encode(schema("TouchpointEvent"), record)


def _time(rng: random.Random, spread: int, *, late: bool) -> int:
    now = int(time.time() * 1000)
    if late:
        return now - rng.randint(8, 12) * DAY_MS
    return now - rng.randint(0, spread) if rng.random() > 0.002 else now + 2 * 3_600_000


async def produce(
    bootstrap: str,
    topic: str,
    traffic: Source,
    n: int,
    rate: float,
    partitions: int = 4,
    until: asyncio.Event | None = None,
) -> int:
    """Send n records at about `rate` a second, or fewer if `until` is set before.

    All are acknowledged when this returns, each once, also where the broker was away for five minutes.

    Returns:
        How many were sent.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        request_timeout_ms=300_000,
    )
    await producer.start()
    started, sent, futures = time.monotonic(), 0, deque[asyncio.Future[Any]]()
    try:
        while sent < n and not (until and until.is_set()):
            key, value = traffic.next()
            futures.append(
                await producer.send(topic, value, key=key, partition=partition_of(key, partitions))
            )
            sent += 1
            if sent % 100 == 0:
                await asyncio.sleep(max(0.0, sent / rate - (time.monotonic() - started)))
            while futures and futures[0].done():
                futures.popleft().result()
        await asyncio.gather(*futures)
    finally:
        await producer.stop()
    return sent
