"""`Roll`: the deltas partitions that this worker owns. It folds them, rolls their windows and publishes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from pipeline.config import Settings
from pipeline.events.records import Records
from pipeline.journal.deltas import Delta, unpack_delta
from pipeline.journal.journal import JournalBroken
from pipeline.journal.log import Log, OutOfRange, Unknown
from pipeline.journal.rollup import Folded, Rollup
from pipeline.measures.rolling import WindowSums
from pipeline.measures.scoreboard import News, Scoreboard
from pipeline.streams.outgoing import CELLS, OUTCOMES, SCORES, Pair, cell_pairs, progress_value, score_pairs
from pipeline.streams.patience import persist
from pipeline.streams.topics import Topics

log = logging.getLogger(__name__)
CELLS_AT_ONCE = 10_000


class Sender(Protocol):
    """Sends to one partition of a topic of ours (named without prefix)."""

    async def send_many(self, topic: str, partition: int, pairs: Sequence[Pair]) -> None:
        """Return when all are acknowledged; raise `Unknown` if that is not known of one of them."""
        ...


class RollMetrics(Protocol):
    """What the roll tells Prometheus."""

    def delta_gap(self, source: str) -> None:
        """A delta came whose predecessor never did."""

    def recovery(self, topic: str, seconds: float) -> None:
        """A partition was recovered."""


class Owned:
    """One deltas partition of ours: the fold, its windows, and how far it has come."""

    def __init__(self, partition: int, deltas: Log, board: Scoreboard) -> None:
        self.partition = partition
        self.deltas = deltas
        self.rollup = Rollup()
        self.board = board
        self.position = 0  # the deltas offset to read next
        self.lock = asyncio.Lock()  # who reads on
        self.sending = asyncio.Lock()  # who publishes
        self.ready = False
        self.told: dict[tuple[str, int], int] = {}  # the deltas whose cells were said to be published


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
                await self._read_to_the_end(owned)
            await self._recovered(owned)

    async def on_batch(self, partition: int, records: Records) -> None:
        """Fold a batch. It may have been delivered before, and may begin too far ahead."""
        owned = self._own(partition)
        async with owned.lock:
            await self._recovered(owned)
            records = records.after(owned.position - 1)
            if len(records) and records.first > owned.position:
                await self._read_on(owned, records.first)
            for value, offset in zip(records.values, records.offsets.tolist(), strict=True):
                self._fold(owned, offset, value)
                await asyncio.sleep(0)  # one delta may be thousands of cells: others want to run, too

    async def tick(self, now_ms: int) -> int:
        """Roll the windows on and publish what changed; how many records were sent."""
        owned = self._rolled(now_ms)
        return sum(await asyncio.gather(*(self._publish(one) for one in owned)))

    def drained(self, partition: int, end: int) -> bool:
        """Everything before `end` is folded, its cells are published, and it is said that they are."""
        owned = self._owned.get(partition)
        if owned is None or not owned.ready or owned.position < end:
            return False
        return not owned.rollup.waiting and owned.told == owned.rollup.numbers

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
            board = Scoreboard(self._windows, self._instruments)
            board.advance(self._now_ms())  # so that cells of long ago are not kept while they are read
            owned = self._owned[partition] = Owned(partition, self._log_of(partition), board)
        return owned

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
        await self._read_to_the_end(owned)
        owned.board.forget_what_was_published()
        owned.ready = True
        seconds = time.monotonic() - started
        self._metrics.recovery(self.topic, seconds)
        log.info(
            "recovered a partition",
            extra={
                "topic": self.topic,
                "partition": owned.partition,
                "position": owned.position,
                "cells": len(owned.rollup),
                "seconds": round(seconds, 3),
            },
        )

    async def _read_to_the_end(self, owned: Owned) -> None:
        _, end = await persist(owned.deltas.bounds, f"{self.topic}/{owned.partition}")
        await self._read_on(owned, end)

    async def _read_on(self, owned: Owned, stop: int) -> None:
        await persist(lambda: self._read(owned, stop), f"{self.topic}/{owned.partition}")

    async def _read(self, owned: Owned, stop: int) -> None:
        """Fold the log up to `stop`. What was folded stays folded if the log stops answering: call again."""
        while owned.position < stop:
            try:
                entries, position = await owned.deltas.read(owned.position, stop)
            except OutOfRange:
                await self._refuse_a_cut_log(owned)
                raise
            for entry in entries:
                self._fold(owned, entry.offset, entry.value)
                await asyncio.sleep(0)
            owned.position = position

    async def _refuse_a_cut_log(self, owned: Owned) -> None:
        begin, end = await owned.deltas.bounds()
        if not begin <= owned.position <= end:
            msg = (
                f"{self.topic}/{owned.partition} holds the offsets {begin} to {end}, but {owned.position} is "
                "needed: its records were deleted or the topic was made anew; it must have "
                "cleanup.policy=delete and retention.ms=-1 (`feedback setup` sets both); the way out is "
                "`feedback reset`"
            )
            raise JournalBroken(msg)

    def _fold(self, owned: Owned, offset: int, value: bytes | None) -> None:
        delta = self._unpacked(owned, offset, value)
        if delta is not None:
            self._take(owned, offset, delta)
        owned.position = offset + 1

    def _take(self, owned: Owned, offset: int, delta: Delta) -> None:
        folded = owned.rollup.fold(offset, delta)
        if folded is Folded.TAKEN:
            c = delta.cells
            owned.board.add(c.series, c.at, c.minute, c.bin, c.n, c.total)
        elif folded is Folded.GAP:
            self._metrics.delta_gap(delta.source)
            where = {"topic": self.topic, "partition": owned.partition, "offset": offset}
            source = {"source": delta.source, "source_partition": delta.partition, "number": delta.number}
            log.error("a delta is missing before this one, which is not counted", extra={**where, **source})

    def _unpacked(self, owned: Owned, offset: int, value: bytes | None) -> Delta | None:
        """None if somebody else wrote this: were it a delta of ours, its number would be missed at once.

        Raises:
            NewerFormat: a newer version wrote it.
        """
        try:
            return unpack_delta(value or b"")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            where = {"topic": self.topic, "partition": owned.partition, "offset": offset}
            log.error("not a delta, ignored", extra={**where, "error": type(error).__name__})  # noqa: TRY400 - no trace
            return None

    async def _publish(self, owned: Owned) -> int:
        """Cells first, so that whoever reads a score finds the cells that it is made of."""
        async with owned.sending:
            news, taken = owned.board.news(), owned.rollup.numbers
            try:
                sent = await self._publish_cells(owned) + await self._publish_scores(owned, news)
                await self._tell(owned, taken)
            except Unknown as error:
                owned.board.not_published(news)
                extra = {"topic": self.topic, "partition": owned.partition, "error": str(error)}
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
        key = f"roll-{owned.partition}".encode()
        pair = (key, progress_value(f"roll/{owned.partition}", done))
        await self._sender.send_many(OUTCOMES, owned.partition, [pair])
        owned.told = taken

    async def _publish_cells(self, owned: Owned) -> int:
        """What waits now, oldest change first; what changes meanwhile waits for the next tick."""
        sent, waiting = 0, owned.rollup.waiting
        while sent < waiting:
            batch = owned.rollup.changed(min(CELLS_AT_ONCE, waiting - sent))
            await self._sender.send_many(CELLS, owned.partition, cell_pairs(owned.rollup.leaves, batch.cells))
            owned.rollup.published(batch)
            sent += len(batch)
        return sent

    async def _publish_scores(self, owned: Owned, news: News) -> int:
        pairs = score_pairs(news)
        if pairs:
            await self._sender.send_many(SCORES, owned.partition, pairs)
            owned.board.published(news)
        return len(pairs)
