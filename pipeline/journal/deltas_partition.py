"""`DeltasPartition`: one deltas partition, from numbered deltas to cells that readers have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from pipeline.events.records import Records
from pipeline.journal.celltable import Cells
from pipeline.journal.deltas import Delta, unpack_delta
from pipeline.journal.journal import JournalBroken, Run, run_here
from pipeline.journal.log import Log, OutOfRange
from pipeline.journal.roll_snapshot import Board, RollSnapshots, dump, restore
from pipeline.journal.rollup import Folded, Rollup, Source
from pipeline.measures.cells import Series

CELLS_AT_ONCE = 10_000
B = TypeVar("B", bound=Board)
Pause = Callable[[], Awaitable[None]]
SendCells = Callable[[Sequence[Series], Cells], Awaitable[None]]


async def no_pause() -> None:
    """The plainest `Pause`: nobody else wants to run."""


class DeltasPartition(Generic[B]):
    """Folds a deltas partition, keeps its windows, publishes its cells. One call at a time (`publish` may run beside).

    The state is the fold of the partition from its first delta: that of a snapshot, and of the deltas behind it.

    Args:
        name: for messages.
        deltas: the partition itself.
        snapshots: where its state is written now and then.
        new_board: an empty board for the windows over its cells.
        send: sends cells (their `leaf` is a place in the leaves given) and returns when all are acknowledged; raises
            `Unknown` if that is not known of one of them.
        stranger: told of an offset whose bytes are no delta, and why.
        pause: called after each delta, which may be thousands of cells.
        run: calls what takes long, perhaps in a thread.
        snapshot_floor: bytes of deltas before a snapshot is due.

    Attributes:
        rollup: the fold so far. Replaced, as `board` is, when a snapshot of somebody else is further.
        board: the windows over its cells.
        position: the offset to read next.
        base: the offset that the last snapshot stands for; 0 before the first.
        done: the cells of the deltas before this offset are published.
        grown: bytes that were folded since the last snapshot.
    """

    def __init__(
        self,
        name: str,
        *,
        deltas: Log,
        snapshots: RollSnapshots,
        new_board: Callable[[], B],
        send: SendCells,
        stranger: Callable[[int, Exception], None],
        pause: Pause = no_pause,
        run: Run = run_here,
        snapshot_floor: int = 16 << 20,
    ) -> None:
        self.rollup = Rollup()
        self.board = new_board()
        self.position = 0
        self.base = self.done = 0
        self.grown = 0
        self._snapshot_bytes = 0
        self._name = name
        self._deltas = deltas
        self._snapshots = snapshots
        self._new_board = new_board
        self._send = send
        self._stranger = stranger
        self._pause = pause
        self._run = run
        self._snapshot_floor = snapshot_floor
        self._aim: tuple[int, Mapping[Source, int]] = (0, {})  # a position, and the numbers taken before it

    async def recover(self) -> None:
        """Fold the log up to its end as of now. What was folded stays folded if the log stops answering: call again."""
        if not self._snapshots.known:
            await self._load()
        begin, end = await self._deltas.bounds()
        if self.position > end:
            self._refuse(begin, end)
        await self._read(end)

    async def apply(self, records: Records) -> None:
        """Fold records; some may have been delivered before, and some before them not. After `Unknown`: call again."""
        records = records.after(self.position - 1)
        if len(records) and records.start > self.position:
            await self._read(records.start)
            records = records.after(self.position - 1)  # a snapshot may have led further
        for value, offset in zip(records.values, records.offsets.tolist(), strict=True):
            self._fold(offset, value)
            await self._pause()

    async def publish(self, most: int = 1 << 40) -> int:
        """Send the cells that wait now, oldest change first; how many. What changes meanwhile waits for the next time.

        Args:
            most: no more than so many.

        Raises:
            Unknown: some of them are in doubt and wait on.
        """
        rollup = self.rollup
        sent, waiting = 0, min(rollup.waiting, most)
        while sent < waiting:
            batch = rollup.changed(min(CELLS_AT_ONCE, waiting - sent))
            await self._send(rollup.leaves, batch.cells)
            rollup.published(batch)
            sent += len(batch)
        self._note_done()
        return sent

    def _note_done(self) -> None:
        """Far behind, some cells always wait: then `done` moves from aim to aim."""
        waiting, published = self.rollup.waiting, self.rollup.done
        position, numbers = self._aim if waiting else (self.position, {})
        if all(published.get(source, 0) >= number for source, number in numbers.items()):
            self.done, self._aim = position, (self.position, self.rollup.numbers)

    async def tidy(self) -> bool:
        """A snapshot, once enough was folded since the last one; whether one stands. Else the next time does it."""
        due = self.grown >= max(self._snapshot_floor, 2 * self._snapshot_bytes)
        return due and await self.snapshot()

    async def snapshot(self) -> bool:
        """Write a snapshot and cut off the deltas before it; whether it stands.

        Nothing hangs on it but the length of the logs.

        Raises:
            Unknown, OutOfRange: the broker does not answer; the next snapshot does what is left.
        """
        if not self._snapshots.known and await self._load():
            return False
        position, blob = self.position, await self._run(dump, self.rollup, self.board)
        if not await self._snapshots.write(position, blob):
            return False
        self.grown, self._snapshot_bytes, self.base = 0, len(blob), position
        await self._deltas.truncate(position)
        await self._snapshots.forget_older()
        return True

    async def _load(self) -> bool:
        """Go on from the best snapshot there is, if it is further than we are."""
        found = await self._snapshots.best(self.position)
        if found is None:
            return False
        board = self._new_board()
        self.rollup, self.board = await self._run(restore, found.blob, board), board
        self.position = self.base = found.position
        self.grown, self._snapshot_bytes = 0, len(found.blob)
        return True

    async def _read(self, stop: int) -> None:
        while self.position < stop:
            try:
                entries, position = await self._deltas.read(self.position, stop)
            except OutOfRange:
                await self._load_what_was_cut()
                continue
            for entry in entries:
                self._fold(entry.offset, entry.value)
                await self._pause()
            self.position = position

    async def _load_what_was_cut(self) -> None:
        """Nothing is cut off that a snapshot does not hold: to jump would lose it."""
        # the first offset before the snapshot: by the time that one is found, more may have been cut
        begin, _ = await self._deltas.bounds()
        await self._load()
        _, end = await self._deltas.bounds()
        if not begin <= self.position <= end:
            self._refuse(begin, end)

    def _refuse(self, begin: int, end: int) -> None:
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
        self.grown += len(value or b"")
        self.position = offset + 1

    def _take(self, offset: int, delta: Delta) -> None:
        before, c = self.rollup.hours.now, delta.cells
        if self.rollup.fold(offset, delta) is not Folded.TAKEN:
            return
        self.board.add(c.series, c.at, c.minute, c.bin, c.n, c.total)
        hour = self.rollup.hours.now
        if hour is not None and hour != before:
            self.board.settle(hour)

    def _unpacked(self, offset: int, value: bytes | None) -> Delta | None:
        """None if somebody else wrote this: were it a delta of ours, its number would be missed at once.

        Raises:
            NewerFormat: a newer version wrote it.
        """
        try:
            return unpack_delta(value or b"")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._stranger(offset, error)
            return None
