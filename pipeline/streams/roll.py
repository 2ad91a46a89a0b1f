"""`Roll`: the deltas partitions that this worker owns. It folds them, rolls their windows and publishes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from pipeline.config import Settings
from pipeline.events.records import Records
from pipeline.journal.celltable import Cells
from pipeline.journal.deltas import Delta
from pipeline.journal.deltas_partition import DeltasPartition
from pipeline.journal.log import Log, Unknown
from pipeline.measures.cells import Series
from pipeline.measures.rolling import WindowSums
from pipeline.measures.scoreboard import News, Scoreboard
from pipeline.streams.outgoing import CELLS, OUTCOMES, SCORES, Pair, cell_pairs, progress_value, score_pairs
from pipeline.streams.patience import persist
from pipeline.streams.topics import Topics

log = logging.getLogger(__name__)


class Sender(Protocol):
    """Sends to one partition of a topic of ours (named without prefix)."""

    async def send_many(self, topic: str, partition: int, pairs: Sequence[Pair]) -> None:
        """Return when all are acknowledged; raise `Unknown` if that is not known of one of them."""
        ...


class RollMetrics(Protocol):
    """What the roll tells Prometheus."""

    def delta_gap(self, source: str) -> None:
        """A delta came before its predecessor."""

    def recovery(self, topic: str, seconds: float) -> None:
        """A partition was recovered."""


class Owned:
    """One deltas partition of ours."""

    def __init__(self, number: int, partition: DeltasPartition) -> None:
        self.number = number
        self.partition = partition
        self.board = partition.board
        self.lock = asyncio.Lock()  # who reads on
        self.sending = asyncio.Lock()  # who publishes
        self.ready = False
        self.told: dict[tuple[str, int], int] = {}  # the deltas whose cells were said to be published


class Alarms:
    """What should not be in a deltas partition, in the log and in the metrics."""

    def __init__(self, topic: str, partition: int, metrics: RollMetrics) -> None:
        self._where = {"topic": topic, "partition": partition}
        self._metrics = metrics

    def gap(self, offset: int, delta: Delta) -> None:
        """See `journal.deltas_partition.Alarms`."""
        self._metrics.delta_gap(delta.source)
        source = {"source": delta.source, "source_partition": delta.partition, "number": delta.number}
        extra = {**self._where, "offset": offset, **source}
        log.warning("a delta came before its predecessor, it waits to be sent again", extra=extra)

    def stranger(self, offset: int, error: Exception) -> None:
        """See `journal.deltas_partition.Alarms`."""
        extra = {**self._where, "offset": offset, "error": type(error).__name__}
        log.error("not a delta, ignored", extra=extra)


class Roll:
    """Every deltas partition that this worker owns.

    Args:
        settings: which windows and instruments there are, and the prefix of the topics.
        log_of: the log of one partition of the deltas topic.
        sender: where cells and scores go.
        metrics: Prometheus.
        clock: seconds since 1970; what is asked for between two ticks is true at that moment.
    """

    def __init__(
        self,
        settings: Settings,
        log_of: Callable[[int], Log],
        sender: Sender,
        metrics: RollMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.topic = Topics(settings.kafka.prefix).deltas
        self._prefix = settings.kafka.prefix
        self._windows = settings.windows
        self._instruments = settings.catalogue()
        self._log_of = log_of
        self._sender = sender
        self._metrics = metrics
        self._clock = clock
        self._owned: dict[int, Owned] = {}

    @property
    def ready(self) -> bool:
        """Every owned partition has been recovered."""
        return all(owned.ready for owned in self._owned.values())

    @property
    def partitions(self) -> Collection[int]:
        """Numbers of the owned partitions."""
        return sorted(self._owned)

    def own(self, partitions: Collection[int]) -> None:
        """These are ours now."""
        for p in partitions:
            self._own(p)

    def forget(self, partitions: Collection[int]) -> None:
        """Others own these now. What is under way goes on and does no harm: what is published is absolute."""
        for p in partitions:
            self._owned.pop(p, None)

    async def recover(self, partition: int) -> None:
        """Own a partition: fold its log up to its end as of now, however long the broker is away.

        Also when it was ours before: what another owner took in between may never be delivered to us.
        """
        owned = self._own(partition)
        async with owned.lock:
            if owned.ready:
                await self._caught_up(owned)
            await self._recovered(owned)

    async def on_batch(self, partition: int, records: Records) -> None:
        """Fold a batch. It may have been delivered before, and may begin too far ahead."""
        owned = self._own(partition)
        async with owned.lock:
            await self._recovered(owned)
            await persist(owned.partition.apply, self._name(partition), records)

    async def tick(self, now_ms: int) -> int:
        """Roll the windows on and publish what changed; how many records were sent."""
        owned = self._rolled(now_ms)
        return sum(await asyncio.gather(*(self._publish(one) for one in owned)))

    def drained(self, partition: int, end: int) -> bool:
        """Everything before `end` is folded, its cells are published, and it is said that they are."""
        owned = self._owned.get(partition)
        if owned is None or not owned.ready or owned.partition.position < end:
            return False
        return not owned.partition.rollup.waiting and owned.told == owned.partition.rollup.numbers

    def owned(self) -> list[WindowSums]:
        """What stands in the windows now: leaves, touchpoints and overall, those that have answers there."""
        return [sums for one in self._rolled(self._now_ms()) for sums in one.board.sums()]

    def scores(self) -> list[dict[str, Any]]:
        """The scores of touchpoints and overall now; nothing where nobody answered."""
        return [
            {**standing.series._asdict(), "metric": name, "window": standing.window, **score._asdict()}
            for one in self._rolled(self._now_ms())
            for standing in one.board.standings()
            for name, score in standing.scores.items()
        ]

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _own(self, partition: int) -> Owned:
        owned = self._owned.get(partition)
        if owned is None:
            owned = self._owned[partition] = Owned(partition, self._made(partition))
        return owned

    def _made(self, partition: int) -> DeltasPartition:
        board = Scoreboard(self._windows, self._instruments)
        board.advance(self._now_ms())  # so that cells of long ago are not kept while they are read

        async def send(leaves: Sequence[Series], cells: Cells) -> None:
            await self._sender.send_many(CELLS, partition, cell_pairs(leaves, cells))

        return DeltasPartition(
            self._name(partition),
            deltas=self._log_of(partition),
            board=board,
            send=send,
            alarms=Alarms(self.topic, partition, self._metrics),
            pause=_others_run,
        )

    def _name(self, partition: int) -> str:
        return f"{self.topic}/{partition}"

    def _rolled(self, now_ms: int) -> list[Owned]:
        """The recovered partitions, their windows brought to `now_ms`. Needs neither broker nor store."""
        ready = [owned for owned in self._owned.values() if owned.ready]
        for owned in ready:
            owned.board.advance(now_ms)
        return ready

    async def _recovered(self, owned: Owned) -> None:
        if owned.ready:
            return
        started = time.monotonic()
        await self._caught_up(owned)
        owned.board.forget_what_was_published()
        owned.ready = True
        seconds = time.monotonic() - started
        self._metrics.recovery(self.topic, seconds)
        log.info(
            "recovered a partition",
            extra={
                "topic": self.topic,
                "partition": owned.number,
                "position": owned.partition.position,
                "cells": len(owned.partition.rollup),
                "seconds": round(seconds, 3),
            },
        )

    async def _caught_up(self, owned: Owned) -> None:
        await persist(owned.partition.recover, self._name(owned.number))

    async def _publish(self, owned: Owned) -> int:
        """Cells first, so that whoever reads a score finds the cells that it is made of."""
        async with owned.sending:
            news, taken = owned.board.news(), owned.partition.rollup.numbers
            try:
                sent = await owned.partition.publish() + await self._publish_scores(owned, news)
                await self._tell(owned, taken)
            except Unknown as error:
                owned.board.not_published(news)
                extra = {"topic": self.topic, "partition": owned.number, "error": str(error)}
                log.warning("could not publish, trying again", extra=extra)
                return 0
            return sent

    async def _tell(self, owned: Owned, taken: dict[tuple[str, int], int]) -> None:
        """Say how far the cells are: `taken` are the numbers from before they were published."""
        if taken == owned.told:
            return
        done = {
            (f"{self._prefix}.{source}", partition): number for (source, partition), number in taken.items()
        }
        key = f"roll-{owned.number}".encode()
        pair = (key, progress_value(f"roll/{owned.number}", done))
        await self._sender.send_many(OUTCOMES, owned.number, [pair])
        owned.told = taken

    async def _publish_scores(self, owned: Owned, news: News) -> int:
        pairs = score_pairs(news)
        if pairs:
            await self._sender.send_many(SCORES, owned.number, pairs)
            owned.board.published(news)
        return len(pairs)


async def _others_run() -> None:
    """One delta may be thousands of cells: others want to run, too."""
    await asyncio.sleep(0)
