"""Batches on their way into the journal: `Room` bounds how much is in flight, `Waiting` lets small ones go together."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from pipeline.events.records import Records

_BATCHES = 12  # of one topic: one partition's wait for the journal overlaps another's decoding
_RECORDS = 16_384
_TOGETHER = 4096  # records; larger batches share enough already
_REST = 0.05  # seconds from one small batch to the next


class Room:
    """What may be in flight of one topic: some large batches, or many small ones.

    While a topic has no room nothing is fetched of the others either, and what comes at a few thousand records a second
    comes in hundreds of small batches.
    """

    def __init__(self) -> None:
        self._batches = self._records = 0
        self._left = asyncio.Event()

    async def enter(self, n: int) -> None:
        """Wait until a batch of so many records has room. One waits at a time."""
        while self._batches >= _BATCHES and self._records + n > _RECORDS:
            self._left.clear()
            await self._left.wait()
        self._batches += 1
        self._records += n

    def leave(self, n: int) -> None:
        """It is settled."""
        self._batches -= 1
        self._records -= n
        self._left.set()


class Waiting:
    """The batches of one partition that wait to be settled, in the order of their delivery.

    Each costs a journal record, some hops between threads and an acknowledgement, whatever it holds. So what came while
    the one before was settled goes together: the more wait, the larger they are, and nobody waits for more than one.
    Twenty a second are enough.
    """

    def __init__(self) -> None:
        self._batches: deque[Records] = deque()
        self._rested = 0.0

    def add(self, records: Records) -> None:
        """One has come."""
        self._batches.append(records)

    def holds(self, records: Records) -> bool:
        """Whether it waits still: it may have gone together with one before it."""
        return any(one is records for one in self._batches)

    async def rest(self) -> None:
        """Let more come, if there is little and the last one was just now."""
        if sum(map(len, self._batches)) < _TOGETHER:
            await asyncio.sleep(max(0.0, self._rested - time.monotonic()))
        self._rested = time.monotonic() + _REST

    def together(self, records: Records) -> list[Records]:
        """It, and those that came after it and go on where it ends. They wait until they are `settled`."""
        found, n = [records], len(records)
        behind = iter(self._batches)
        while next(behind) is not records:
            pass
        for one in behind:
            n += len(one)
            if n > _TOGETHER or one.first != found[-1].last + 1:
                break
            found.append(one)
        return found

    def settled(self, batches: list[Records]) -> None:
        """These need not wait any more."""
        gone = {id(one) for one in batches}
        self._batches = deque(one for one in self._batches if id(one) not in gone)
