"""Sends the sample traffic to Kafka: the history as fast as the broker takes it, then second by second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from pipeline.events import wire
from pipeline.events.partition import partition_of
from pipeline.events.schemas import schema
from pipeline.sample.event import RESPONSES, Event
from pipeline.sample.progress import Progress, resumed, save

log = logging.getLogger(__name__)

HISTORY_RATE = 0.45  # events a second on average: a day is about 40,000
CHUNK_MS = 20 * 60_000  # of history at a time: the event loop stays free, and events arrive in time order
BEHIND_MS = 60_000  # further behind than this is history
TICK = 0.25  # seconds between two looks at the clock
PATIENCE = 2.0  # seconds before another try when the broker does not answer

Clock = Callable[[], int]  # milliseconds since 1970
Told = Callable[[float], None]  # share of the history that is done, 0..1


@dataclass(frozen=True, slots=True)
class Target:
    """Where the events go.

    Attributes:
        producer: a started producer.
        topics: full topic names by "responses" and "touchpoints".
        partitions: of each topic.
        heads: headers of a schema registry to send under, where there is one.
    """

    producer: AIOKafkaProducer
    topics: Mapping[str, str]
    partitions: int
    heads: wire.Heads = field(default_factory=dict)

    async def send(self, events: Iterable[Event]) -> None:
        """Send in order, in whole batches, and wait for every acknowledgement."""
        heaps: dict[tuple[str, int], list[tuple[bytes, bytes]]] = {}
        for event in events:
            key = event.key.encode()
            place = self.topics[event.topic], partition_of(key, self.partitions)
            heaps.setdefault(place, []).append((key, wire.under(encoded(event), self.heads)))
        await asyncio.gather(*(self._send(topic, at, pairs) for (topic, at), pairs in heaps.items()))

    async def _send(self, topic: str, partition: int, pairs: list[tuple[bytes, bytes]]) -> None:
        batch = self.producer.create_batch()
        for key, value in pairs:
            if batch.append(key=key, value=value, timestamp=None) is None:
                await (await self.producer.send_batch(batch, topic, partition=partition))
                batch = self.producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        await (await self.producer.send_batch(batch, topic, partition=partition))


def encoded(event: Event) -> bytes:
    """The value of the Kafka record."""
    name = "SurveyResponse" if event.topic == RESPONSES else "TouchpointEvent"
    return wire.encode(schema(name), event.record)


class Feed:
    """One run of the sample traffic; `path` keeps how far it came. A broker that is away is waited for."""

    def __init__(self, target: Target, path: Path, rate: float, clock: Clock) -> None:
        self._target, self._path, self._rate, self._clock = target, path, rate, clock
        self.progress: Progress = resumed(path, clock())
        self.sent = 0

    async def catch_up(self, told: Told = lambda share: None) -> None:
        """Everything between the last run and now, with the rhythm of the day."""
        start = self.progress.done
        while (now := self._clock()) - self.progress.done > 0:
            end = min(now, self.progress.done + CHUNK_MS)
            await self._step(end, HISTORY_RATE, daily=True)
            told((end - start) / (now - start))
            if end == now:
                return

    async def live(self, stop: asyncio.Event) -> None:
        """Events as they happen, until `stop`."""
        while not stop.is_set():
            if self._clock() - self.progress.done > BEHIND_MS:
                await self.catch_up()
            await self._step(self._clock(), self._rate, daily=False)
            await pause(stop, TICK)

    async def _step(self, end: int, rate: float, *, daily: bool) -> None:
        if end <= self.progress.done:
            return  # the clock went back
        events = self.progress.traffic.between(self.progress.done, end, rate, daily=daily)
        while not await self._taken(events):  # noqa: ASYNC110 - what is awaited is a broker
            await asyncio.sleep(PATIENCE)
        self.sent += len(events)
        self.progress = self.progress.upto(end)
        save(self._path, self.progress)

    async def _taken(self, events: list[Event]) -> bool:
        """Whether the broker has them; sent again they are duplicates."""
        try:
            await self._target.send(events)
        except KafkaError as fault:
            log.warning("the broker does not take the sample traffic", extra={"fault": str(fault)})
            return False
        return True


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but not beyond `stop`."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
