"""A log in memory with the failures that matter; every wait is a place where others may go on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from pipeline.journal.log import Entry, OutOfRange, Unknown
from pipeline.journal.outbox import Send


class MemoryLog:
    """See `journal.log.Log`. With `trouble` acknowledgements get lost, come late, or name the second write."""

    def __init__(self, rng: random.Random | None = None, trouble: float = 0.0) -> None:
        self.values: list[bytes | None] = []
        self.times: list[int] = []
        self.start = 0
        self.name = ""
        self.rng = rng or random.Random(0)
        self.trouble = trouble
        self.late: list[bytes] = []
        self.kept = 0  # the start that a killed broker would remember

    def put(self, value: bytes | None, time: int = 0) -> int:
        """Write without any trouble; a None is a transaction marker, which nobody is handed."""
        self.values.append(value)
        self.times.append(time)
        return len(self.values) - 1

    async def append(self, value: bytes) -> int:
        """One record."""
        await asyncio.sleep(0)
        if self.late and self.rng.random() < 0.5:
            self.put(self.late.pop())
        fate = self.rng.random()
        if fate < 0.06 * self.trouble:
            raise Unknown("never written")
        if fate < 0.12 * self.trouble:
            self.put(value)
            raise Unknown("written, acknowledgement lost")
        if fate < 0.18 * self.trouble:
            self.late.append(value)
            raise Unknown("written at some later time")
        if fate < 0.24 * self.trouble:
            self.put(value)
        offset = self.put(value)
        await asyncio.sleep(0)
        return offset

    async def identity(self) -> str:
        """As a test has set it."""
        await self._up()
        return self.name

    async def bounds(self) -> tuple[int, int]:
        """First offset kept, end offset."""
        await self._up()
        return self.start, len(self.values)

    async def read(self, start: int, stop: int) -> tuple[list[Entry], int]:
        """A few entries."""
        await self._up()
        if not self.start <= start <= len(self.values):
            raise OutOfRange
        end = min(start + self.rng.randint(1, 5), stop, len(self.values))
        got = [
            Entry(o, self.values[o], self.times[o]) for o in range(start, end) if self.values[o] is not None
        ]
        await asyncio.sleep(0)
        return got, end

    async def truncate(self, before: int) -> None:
        """Forget what stands before."""
        await self._up()
        self.start = max(self.start, before)

    def crash(self) -> None:
        """The broker is killed: it may forget truncations since the last checkpoint, so old records come back."""
        self.start = self.rng.randint(self.kept, self.start)

    def checkpoint(self) -> None:
        """The broker writes down where the log starts."""
        self.kept = self.start

    async def _up(self) -> None:
        await asyncio.sleep(0)
        if self.rng.random() < 0.05 * self.trouble:
            raise Unknown("no answer")


class MemoryOutputs:
    """See `journal.outbox.Outputs`: a log for each (topic, partition)."""

    def __init__(self, rng: random.Random | None = None, trouble: float = 0.0) -> None:
        self.logs: dict[tuple[str, int], MemoryLog] = {}
        self.rng = rng or random.Random(0)
        self.trouble = trouble

    def log(self, topic: str, partition: int) -> MemoryLog:
        """The log of one output partition."""
        return self.logs.setdefault((topic, partition), MemoryLog(self.rng, self.trouble))

    async def send(self, sends: Sequence[Send]) -> list[int]:
        """In order; stops in doubt at the first failure, though the rest may have been written."""
        return [
            [await self.log(s.topic, s.partition).append(value) for _, value in s.pairs][-1] for s in sends
        ]
