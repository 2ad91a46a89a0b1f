"""One partition of a log as the broker keeps it, and a connection to it that fails in every way."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Protocol

from pipeline.journal.log import Entry, OutOfRange, Unknown
from pipeline.journal.outbox import Send


class Wait:
    """Where real code would wait: the scheduler may let others run, or never come back."""

    def __await__(self) -> Generator[None]:
        yield


MARKER = object()  # a transaction marker: an offset that holds nothing


class Disk:
    """Records of one partition. Truncated ones stay: a broker that is killed may have forgotten the truncation."""

    def __init__(self, values: Iterable[Any] = (), time: int = 0) -> None:
        self.values = list(values)
        self.times = [time] * len(self.values)
        self.start = 0
        self.kept = 0  # the start that a killed broker would remember

    def append(self, value: Any) -> int:
        """The offset of the new record."""
        self.values.append(value)
        self.times.append(0)
        return len(self.values) - 1

    def crash(self, rng: random.Random) -> None:
        """Truncations since the last checkpoint may be forgotten."""
        self.start = rng.randint(self.kept, self.start)


class Around(Protocol):
    """What a connection knows of the world."""

    rng: random.Random
    trouble: float
    down: bool
    most: int
    place: int

    def later(self, act: Callable[[], object]) -> None:
        """Do something at a later time."""


class Connection:
    """See `journal.log.Log`. Acknowledgements get lost, come too early for their record, or name the second write."""

    def __init__(self, world: Around, disk: Disk, end: Callable[[], int] | None = None) -> None:
        self._world = world
        self._disk = disk
        self._end = end or (lambda: len(disk.values))

    async def append(self, value: Any) -> int:
        await self._up()
        offset = await written(self._world, self._disk, value)
        self._world.place = offset
        return offset

    async def identity(self) -> str:
        await self._up()
        return "the only one"

    async def bounds(self) -> tuple[int, int]:
        await self._up()
        return self._disk.start, self._end()

    async def read(self, start: int, stop: int) -> tuple[list[Entry], int]:
        await self._up()
        disk, end = self._disk, self._end()
        if not disk.start <= start <= end:
            raise OutOfRange
        to = min(start + self._world.rng.randint(1, self._world.most), end, stop)
        got = [
            Entry(k, disk.values[k], disk.times[k]) for k in range(start, to) if disk.values[k] is not MARKER
        ]
        await Wait()
        return Placed(self._world, got), to

    async def truncate(self, before: int) -> None:
        await self._up()
        self._disk.start = max(self._disk.start, min(before, self._end()))
        await Wait()

    async def _up(self) -> None:
        await Wait()
        if self._world.down:
            raise Unknown("the broker is away")


class Placed(list[Entry]):
    """Entries; whoever goes through them stands, as far as the checks are concerned, at the place of each."""

    def __init__(self, world: Around, entries: Sequence[Entry]) -> None:
        super().__init__(entries)
        self._world = world

    def __iter__(self) -> Iterator[Entry]:
        for entry in super().__iter__():
            self._world.place = entry.offset
            yield entry


async def written(world: Around, disk: Disk, value: Any) -> int:
    """Write a record and wait for the acknowledgement."""
    fate = world.rng.random() / world.trouble if world.trouble else 1.0
    if fate < 0.03:
        await Wait()
        raise Unknown("never written")
    if fate < 0.06:
        disk.append(value)
        await Wait()
        raise Unknown("written, the acknowledgement is lost")
    if fate < 0.09:
        world.later(lambda: disk.append(value))
        await Wait()
        raise Unknown("written at some later time")
    if fate < 0.12:
        disk.append(value)
        await Wait()  # the client asked again: the acknowledgement is that of the second one
    offset = disk.append(value)
    await Wait()
    return offset


class Outputs:
    """See `journal.outbox.Outputs`: pipelined, so that what comes after a send in doubt may well arrive."""

    def __init__(self, world: Around, disks: Callable[[str, int], Disk]) -> None:
        self._world = world
        self._disks = disks

    async def send(self, sends: Sequence[Send]) -> list[int]:
        offsets, doubt = [], False
        for send in sends:
            await Wait()
            try:
                if self._world.down:
                    raise Unknown("the broker is away")
                disk = self._disks(send.topic, send.partition)
                offsets.append([await written(self._world, disk, value) for _, value in send.pairs][-1])
            except Unknown:
                doubt = True
        if doubt:
            raise Unknown("some of them are in doubt")
        return offsets
