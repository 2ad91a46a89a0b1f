"""`Ownership`: which partitions of a topic a worker owns, and what it keeps of each."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from typing import Generic, TypeVar

from pipeline.streams.waiting import Room


class Kept(ABC):
    """What is kept of a partition.

    Attributes:
        ready: it has been recovered.
        lock: who reads on.
    """

    def __init__(self) -> None:
        self.ready = False
        self.lock = asyncio.Lock()
        self._last = (-1, time.monotonic())

    @property
    @abstractmethod
    def reached(self) -> int:
        """The offset up to which it is read."""

    @property
    @abstractmethod
    def done(self) -> int:
        """What lies before this offset is settled, and what was derived from it is acknowledged."""

    def still_for(self, seconds: float) -> bool:
        """That offset has not moved for so long, as far as those who asked could see."""
        reached, now = self.reached, time.monotonic()
        if reached != self._last[0]:
            self._last = (reached, now)
        return now - self._last[1] >= seconds

    def looked(self) -> None:
        """What is there was read just now: not again at once."""
        self._last = (self.reached, time.monotonic())


K = TypeVar("K", bound=Kept)


class Ownership(Generic[K]):
    """The partitions of one topic that a worker owns. Which they are, the consumer group says, and nothing else.

    A batch or a recovery may have waited while its partition went to another. Whoever took the partition back for it
    would show numbers that the other shows, too, until the group shares out anew.

    Args:
        topic: its full name.
        make: what is kept of a partition at first.
        forgotten: is told the topic and the partitions that others own now.

    Attributes:
        room: what may be in flight of the topic.
    """

    def __init__(
        self, topic: str, make: Callable[[int], K], forgotten: Callable[[str, Collection[int]], None]
    ) -> None:
        self.topic = topic
        self.room = Room()
        self._make = make
        self._forgotten = forgotten
        self._owned: dict[int, K] = {}

    @property
    def ready(self) -> bool:
        """Every owned partition has been recovered."""
        return all(owned.ready for owned in self._owned.values())

    @property
    def partitions(self) -> Collection[int]:
        """Numbers of the owned partitions."""
        return sorted(self._owned)

    def done(self, partition: int) -> int:
        """How far a partition is done, and may be committed: see `Kept`; 0 if it is not ours."""
        owned = self._owned.get(partition)
        return owned.done if owned else 0

    def own(self, partitions: Collection[int]) -> None:
        """These are ours now."""
        for p in partitions:
            if p not in self._owned:
                self._owned[p] = self._make(p)

    def forget(self, partitions: Collection[int]) -> None:
        """Others own these now. Work under way goes on and does no harm: the logs decide who was first."""
        for p in partitions:
            self._owned.pop(p, None)
        self._forgotten(self.topic, partitions)

    def _is_ours(self, owned: K) -> bool:
        """Still: what was shown of it after it went to another would stand here for good."""
        return owned in self._owned.values()

    def _ready(self) -> Iterator[K]:
        """Those that are recovered when their turn comes."""
        return (owned for owned in list(self._owned.values()) if owned.ready)
