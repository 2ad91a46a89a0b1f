"""`Roll`: the deltas partitions that this worker owns. It folds them, rolls their windows and publishes."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol
from uuid import uuid4

from pipeline.config import Settings
from pipeline.events.records import Records
from pipeline.journal.celltable import Cells
from pipeline.journal.deltas_partition import DeltasPartition
from pipeline.journal.journal import Run, run_here
from pipeline.journal.log import Log, Unknown
from pipeline.journal.roll_snapshot import RollSnapshots
from pipeline.journal.rollup import Source
from pipeline.measures.cells import Series
from pipeline.measures.news import LATER, News
from pipeline.measures.scoreboard import Scoreboard
from pipeline.measures.sums import WindowSums
from pipeline.streams.outgoing import CELLS, OUTCOMES, SCORES, Pair, cell_pairs, progress_value, score_pairs
from pipeline.streams.owned_deltas import Owned
from pipeline.streams.ownership import Ownership
from pipeline.streams.patience import TROUBLE, persist
from pipeline.streams.roll_metrics import RollMetrics
from pipeline.streams.topics import Topics
from pipeline.streams.unknown_touchpoints import UnknownTouchpoints

log = logging.getLogger(__name__)
# Of all partitions together: what is left is for the next tick, so that none holds the loop for long.
_SCORES_A_TICK = 600  # each costs some 25 us, and with each minute all of them may be told again
_CELLS_A_TICK = 6_000  # to publish, 7 us each
_MOVED_A_TICK = 200_000  # cells into windows and out of them, 0.2 us each: with each hour a million
_STUCK = 15.0  # seconds without a delivery after which the worker reads for itself
_PATIENCE = 5.0  # seconds; a delta that comes before its predecessor is soon sent again, with it


class Sender(Protocol):
    """Sends to one partition of a topic of ours (named without prefix)."""

    async def send_many(self, topic: str, partition: int, pairs: Sequence[Pair]) -> None:
        """Return when all are acknowledged; raise `Unknown` if that is not known of one of them."""
        ...


class Roll(Ownership[Owned]):
    """Every deltas partition that this worker owns.

    Args:
        settings: which windows and instruments there are, and the prefix of the topics.
        logs_of: the logs of one partition of the topics deltas and roll.
        sender: where cells and scores go.
        metrics: Prometheus.
        clock: seconds since 1970; what is asked for between two ticks is true at that moment.
        run: calls what takes long, perhaps in a thread.
    """

    def __init__(
        self,
        settings: Settings,
        logs_of: Callable[[int], tuple[Log, Log]],
        sender: Sender,
        metrics: RollMetrics,
        clock: Callable[[], float] = time.time,
        run: Run = run_here,
    ) -> None:
        super().__init__(
            Topics(settings.kafka.prefix).deltas, lambda p: Owned(p, self._made(p)), metrics.forget
        )
        self._prefix = settings.kafka.prefix
        self._settings = settings
        self._instruments = settings.catalogue()
        self._logs_of = logs_of
        self._sender = sender
        self._metrics = metrics
        self._clock = clock
        self._run = run
        self._names = UnknownTouchpoints(settings.touchpoints)

    async def recover(self, partition: int) -> None:
        """Fold the log of a partition that is ours up to its end as of now, however long the broker is away.

        Also when it was ours before: what another owner took in between may never be delivered to us.
        """
        owned = self._owned.get(partition)
        if owned is None:
            return
        async with owned.lock:
            if owned.ready:
                await persist(owned.partition.recover, self._name(owned.number))
            await self._recovered(owned)

    async def on_batch(self, partition: int, records: Records) -> bool:
        """Fold a batch, if its partition is ours. It may have been delivered before, and may begin too far ahead."""
        owned = self._owned.get(partition)
        if owned is None:
            return False
        async with owned.lock:
            await self._recovered(owned)
            await self._tidy(owned)  # before: most of what the last batch changed is published by now
            await persist(owned.partition.apply, self._name(partition), records)
        return True

    async def observe(self) -> None:
        """Read on where nothing was delivered for long.

        What an owner of before, who does not know better, has cut off before we read it is never delivered to us: its
        snapshot holds it, and without more input nobody else would notice.
        """
        for owned in self._ready():
            if owned.still_for(_STUCK) and not owned.lock.locked():
                await self._catch(owned)

    async def tick(self, now_ms: int) -> int:
        """Roll the windows on and publish what changed; how many records were sent."""
        for owned in self._ready():
            self._alarm(owned)
            self._show(owned)
        return sum(await asyncio.gather(*(self._publish(owned, now_ms) for owned in self._ready())))

    @property
    def behind(self) -> bool:
        """Whether the last tick left something that the next one should do soon."""
        return any(owned.behind for owned in self._ready())

    def drained(self, partition: int, end: int) -> bool:
        """Everything before `end` is folded, its cells are published, and it is said that they are."""
        owned = self._owned.get(partition)
        if owned is None or not owned.ready or owned.partition.position < end:
            return False
        rollup = owned.partition.rollup
        return not (rollup.waiting or owned.more) and owned.told == rollup.numbers

    async def owned(self) -> list[WindowSums]:
        """What stands in the windows now: leaves and every marginal that has answers there."""
        found: list[WindowSums] = []
        for _, _, board in self.boards():
            found += board.sums()
            await _others_run()
        return found

    def boards(self) -> list[tuple[int, int, Scoreboard]]:
        """The recovered partitions: number, position, and windows now. Needs neither broker nor store."""
        now_ms = self._now_ms()
        moved = self._share(_MOVED_A_TICK)
        return [(one.number, one.partition.position, one.board(now_ms, moved)) for one in self._ready()]

    async def _catch(self, owned: Owned) -> None:
        async with owned.lock:
            before = owned.partition.position
            await owned.partition.recover()
            owned.looked()
            if missed := owned.partition.position - before:
                log.warning(
                    "nothing was delivered, reading on",
                    extra={**self._where(owned.number), "offsets": missed},
                )

    def _share(self, of_all: int) -> int:
        return of_all // max(1, len(self._owned))

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _made(self, partition: int) -> DeltasPartition[Scoreboard]:
        settings, (deltas, snapshots) = self._settings, self._logs_of(partition)
        keep = math.ceil(max(settings.retention, settings.longest_window().seconds) / 3600)

        async def send(leaves: Sequence[Series], cells: Cells) -> None:
            await self._sender.send_many(CELLS, partition, cell_pairs(leaves, cells))

        def stranger(offset: int, error: Exception) -> None:
            extra = {**self._where(partition), "offset": offset, "error": type(error).__name__}
            log.error("not a delta, ignored", extra=extra)

        return DeltasPartition(
            self._name(partition),
            deltas=deltas,
            snapshots=RollSnapshots(snapshots, uuid4().hex),
            new_board=partial(Scoreboard, settings.windows, self._instruments, keep),
            send=send,
            stranger=stranger,
            pause=_others_run,
            run=self._run,
            snapshot_floor=round(settings.worker.snapshot_mb * 1e6),
        )

    def _name(self, partition: int) -> str:
        return f"{self.topic}/{partition}"

    def _where(self, partition: int) -> dict[str, Any]:
        return {"topic": self.topic, "partition": partition}

    async def _recovered(self, owned: Owned) -> None:
        if owned.ready:
            return
        started = time.monotonic()
        await persist(owned.partition.recover, self._name(owned.number))
        owned.ready = True
        seconds = time.monotonic() - started
        self._metrics.recovery(self.topic, seconds)
        log.info(
            "recovered a partition",
            extra={
                **self._where(owned.number),
                "position": owned.partition.position,
                "cells": len(owned.partition.rollup),
                "to_publish": owned.partition.rollup.waiting,
                "seconds": round(seconds, 3),
            },
        )

    async def _tidy(self, owned: Owned) -> None:
        started = time.monotonic()
        try:
            done = await owned.partition.tidy()
        except TROUBLE as error:
            log.warning("no snapshot this time", extra={**self._where(owned.number), "error": str(error)})
            return
        if done:
            seconds = round(time.monotonic() - started, 3)
            extra = {**self._where(owned.number), "position": owned.partition.position, "seconds": seconds}
            log.info("wrote a snapshot", extra=extra)

    def _alarm(self, owned: Owned) -> None:
        for (source, partition), number in owned.gaps(_PATIENCE):
            extra = {"source": source, "source_partition": partition, "number": number}
            log.error("a delta is missing", extra={**self._where(owned.number), **extra})

    def _show(self, owned: Owned) -> None:
        p, partition, metrics = owned.number, owned.partition, self._metrics
        metrics.deltas_missing(self.topic, p, owned.lacking)
        metrics.cells(self.topic, p, len(partition.rollup), partition.rollup.waiting)
        metrics.journal_tail(self.topic, p, partition.position - partition.base, partition.grown)

    async def _publish(self, owned: Owned, now_ms: int) -> int:
        """Cells first, so that whoever reads a score finds the cells that it is made of."""
        async with owned.sending:
            most = self._share(_CELLS_A_TICK)
            board, rollup = owned.board(now_ms, self._share(_MOVED_A_TICK)), owned.partition.rollup
            owned.let_go()
            left = rollup.waiting > most
            news = board.news(self._share(_SCORES_A_TICK)) if owned.scores_due(hurry=left) else LATER
            more = news.more or owned.behind  # windows that are left behind have news, too
            owned.behind |= left
            try:
                sent = await owned.partition.publish(most) + await self._publish_scores(owned, board, news)
                await self._tell(owned, rollup.done)
                owned.more = more
            except Unknown as error:
                board.not_published(news)
                owned.more = True
                owned.behind = False  # the broker is away: no hurry
                extra = {**self._where(owned.number), "error": str(error)}
                log.warning("could not publish, trying again", extra=extra)
                return 0
            return sent

    async def _tell(self, owned: Owned, done: dict[Source, int]) -> None:
        """Say how far the cells are published."""
        if done == owned.told:
            return
        numbers = {(f"{self._prefix}.{source}", partition): n for (source, partition), n in done.items()}
        key = f"roll-{owned.number}".encode()
        pair = (key, progress_value(f"roll/{owned.number}", numbers))
        await self._sender.send_many(OUTCOMES, owned.number, [pair])
        owned.told = done

    async def _publish_scores(self, owned: Owned, board: Scoreboard, news: News) -> int:
        self._names.look({one.series.touchpoint for one in news.standings})
        pairs = score_pairs(news)
        if pairs:
            await self._sender.send_many(SCORES, owned.number, pairs)
            board.published(news)
        return len(pairs)


async def _others_run() -> None:
    """One delta may be thousands of cells, one partition tens of thousands of series: others want to run, too."""
    await asyncio.sleep(0)
