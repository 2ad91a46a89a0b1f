"""`DeltasPartition`: one deltas partition, from numbered deltas to cells that readers have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from pipeline.events.records import Records
from pipeline.journal.celltable import Cells
from pipeline.journal.deltas import Delta, unpack_delta
from pipeline.journal.journal import JournalBroken
from pipeline.journal.log import Log, OutOfRange
from pipeline.journal.rollup import Folded, Rollup
from pipeline.measures.cells import Series
from pipeline.measures.scoreboard import Scoreboard

CELLS_AT_ONCE = 10_000
Pause = Callable[[], Awaitable[None]]
SendCells = Callable[[Sequence[Series], Cells], Awaitable[None]]


class Alarms(Protocol):
    """Who hears of what should not be in a deltas partition."""

    def gap(self, offset: int, delta: Delta) -> None:
        """The predecessor of this delta never came: it is not counted."""

    def stranger(self, offset: int, error: Exception) -> None:
        """These bytes are no delta."""


async def no_pause() -> None:
    """The plainest `Pause`: nobody else wants to run."""


class DeltasPartition:
    """Folds a deltas partition, keeps its windows, publishes its cells. One call at a time (`publish` may run beside).

    Args:
        name: for messages.
        deltas: the partition itself.
        board: the windows over its cells.
        send: sends cells (their `leaf` is a place in the leaves given) and returns when all are acknowledged; raises
            `Unknown` if that is not known of one of them.
        alarms: who hears of what should not be there.
        pause: called after each delta, which may be thousands of cells.

    Attributes:
        rollup: the fold so far.
        position: the offset to read next.
    """

    def __init__(
        self,
        name: str,
        *,
        deltas: Log,
        board: Scoreboard,
        send: SendCells,
        alarms: Alarms,
        pause: Pause = no_pause,
    ) -> None:
        self.rollup = Rollup()
        self.board = board
        self.position = 0
        self._name = name
        self._deltas = deltas
        self._send = send
        self._alarms = alarms
        self._pause = pause

    async def recover(self) -> None:
        """Fold the log up to its end as of now. What was folded stays folded if the log stops answering: call again."""
        _, end = await self._deltas.bounds()
        await self._read(end)

    async def apply(self, records: Records) -> None:
        """Fold records; some may have been delivered before, and some before them not. After `Unknown`: call again."""
        records = records.after(self.position - 1)
        if len(records) and records.first > self.position:
            await self._read(records.first)
        for value, offset in zip(records.values, records.offsets.tolist(), strict=True):
            self._fold(offset, value)
            await self._pause()

    async def publish(self) -> int:
        """Send the cells that wait now, oldest change first; how many. What changes meanwhile waits for the next time.

        Raises:
            Unknown: some of them are in doubt and wait on.
        """
        sent, waiting = 0, self.rollup.waiting
        while sent < waiting:
            batch = self.rollup.changed(min(CELLS_AT_ONCE, waiting - sent))
            await self._send(self.rollup.leaves, batch.cells)
            self.rollup.published(batch)
            sent += len(batch)
        return sent

    async def _read(self, stop: int) -> None:
        while self.position < stop:
            try:
                entries, position = await self._deltas.read(self.position, stop)
            except OutOfRange:
                await self._refuse_a_cut_log()
                raise
            for entry in entries:
                self._fold(entry.offset, entry.value)
                await self._pause()
            self.position = position

    async def _refuse_a_cut_log(self) -> None:
        begin, end = await self._deltas.bounds()
        if not begin <= self.position <= end:
            msg = (
                f"{self._name} holds the offsets {begin} to {end}, but {self.position} is needed: its records were "
                "deleted or the topic was made anew; it must have cleanup.policy=delete and retention.ms=-1 "
                "(`feedback setup` sets both); the way out is `feedback reset`"
            )
            raise JournalBroken(msg)

    def _fold(self, offset: int, value: bytes | None) -> None:
        delta = self._unpacked(offset, value)
        if delta is not None:
            self._take(offset, delta)
        self.position = offset + 1

    def _take(self, offset: int, delta: Delta) -> None:
        folded = self.rollup.fold(offset, delta)
        if folded is Folded.TAKEN:
            c = delta.cells
            self.board.add(c.series, c.at, c.minute, c.bin, c.n, c.total)
        elif folded is Folded.GAP:
            self._alarms.gap(offset, delta)

    def _unpacked(self, offset: int, value: bytes | None) -> Delta | None:
        """None if somebody else wrote this: were it a delta of ours, its number would be missed at once.

        Raises:
            NewerFormat: a newer version wrote it.
        """
        try:
            return unpack_delta(value or b"")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._alarms.stranger(offset, error)
            return None
