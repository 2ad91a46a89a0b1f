"""Batches on their way into the journal: `Room` bounds how much is in flight, `Waiting` lets small ones go together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from pipeline.events.records import Records

# Of one topic: one partition's wait for the journal overlaps another's decoding. More would only be memory that is
# touched for the first time, and out of the caches by the time somebody reads it.
_BATCHES = 4
_RECORDS = 16_384  # or kilobytes
_LARGE = _RECORDS // _BATCHES + 1
_TOGETHER = 4000  # records: as many touchpoints as one effect takes; larger batches share enough already
_PATIENCE = 1.0
_REST = 0.05  # seconds from one small batch to the next


class Room:
    """What may be in flight of one topic: some large batches, or many small ones that can go together.

    While a topic has no room nothing is fetched of the others either, and what comes at a few thousand records a second
    comes in hundreds of small batches. But a few records may be as large as a fetch, and deltas often are; and behind a
    hole (a producer's transactions leave some) each batch is settled by itself. Of these as few are in flight as of
    large ones: what waits with the broker comes in larger batches.

    A partition that waits for something, a schema or the leader of its journal, is put aside once there is no room:
    what is in flight of it takes none, and no more of it is to be fetched before all that is settled.

    Args:
        patience: seconds for which a partition may keep others waiting.
        clock: seconds that never go back.

    Attributes:
        aside: partitions of which nothing is to be fetched.
    """

    def __init__(self, patience: float = _PATIENCE, clock: Callable[[], float] = time.monotonic) -> None:
        self.aside: set[int] = set()
        self._patience, self._clock = patience, clock
        self._batches = self._taken = 0
        self._of: dict[int, _Flight] = {}
        self._left = asyncio.Event()

    async def enter(self, partition: int, records: Records) -> int:
        """Wait until a batch has room; how much it takes. One waits at a time."""
        flight = self._of.setdefault(partition, _Flight())
        takes = flight.takes(records)
        while partition not in self.aside and self._full(takes):
            self._left.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._left.wait(), self._patience)
            self._put_aside()
        if not flight.batches:
            flight.since = self._clock()
        flight.batches += 1
        flight.taken += takes
        if partition not in self.aside:
            self._batches += 1
            self._taken += takes
        return takes

    def leave(self, partition: int, takes: int, _: object = None) -> None:
        """It is settled, or never will be; as a callback of its task."""
        flight = self._of[partition]
        flight.batches -= 1
        flight.taken -= takes
        flight.since = self._clock()
        if partition not in self.aside:
            self._batches -= 1
            self._taken -= takes
        elif not flight.batches:
            self.aside.remove(partition)
        self._left.set()

    def _full(self, takes: int) -> bool:
        return self._batches >= _BATCHES and self._taken + takes > _RECORDS

    def _put_aside(self) -> None:
        """The partitions of which something is in flight, and nothing has been settled for long."""
        limit = self._clock() - self._patience
        for partition, flight in self._of.items():
            if flight.batches and flight.since < limit and partition not in self.aside:
                self.aside.add(partition)
                self._batches -= flight.batches
                self._taken -= flight.taken


@dataclass(slots=True)
class _Flight:
    """What is in flight of one partition, since when nothing of it was settled, and where its last batch ended."""

    batches: int = 0
    taken: int = 0
    since: float = 0.0
    end: int = -1

    def takes(self, records: Records) -> int:
        """How much room the next batch takes."""
        goes_on = records.goes_on(self.end)
        self.end = records.last + 1
        if not goes_on or len(records) >= _LARGE:
            return max(len(records), _LARGE)
        return max(len(records), records.nbytes >> 10)


class Waiting:
    """The batches of one partition that wait to be settled, in the order of their delivery.

    Each costs a journal record, some hops between threads and an acknowledgement, whatever it holds. So what came while
    the one before was settled goes together: the more wait, the larger they are, and nobody waits for more than one.
    Twenty a second are enough.
    """

    def __init__(self) -> None:
        self._batches: dict[int, Records] = {}  # by identity: there may be thousands, of one record each
        self._rested = 0.0

    def add(self, records: Records) -> None:
        """One has come."""
        self._batches[id(records)] = records

    def holds(self, records: Records) -> bool:
        """Whether it waits still: it may have gone together with one before it."""
        return id(records) in self._batches

    async def rest(self, records: Records) -> None:
        """Let more come, if there is little, all of it goes together, and the last one was just now.

        With a hole after each of them (a producer's transactions leave some) none go together: to rest would make them
        wait for each other.
        """
        few = sum(map(len, self._batches.values())) < _TOGETHER
        if few and len(self.together(records)) == len(self._batches):
            await asyncio.sleep(max(0.0, self._rested - time.monotonic()))
        self._rested = time.monotonic() + _REST

    def together(self, records: Records) -> list[Records]:
        """It, and those that came after it and go on where it ends. They wait until they are `settled`."""
        found, n = [records], len(records)
        behind = iter(self._batches.values())
        while next(behind) is not records:
            pass
        for one in behind:
            n += len(one)
            if n > _TOGETHER or not one.goes_on(found[-1].last + 1):
                break
            found.append(one)
        return found

    def settled(self, batches: list[Records]) -> None:
        """These need not wait any more."""
        for one in batches:
            self._batches.pop(id(one), None)
