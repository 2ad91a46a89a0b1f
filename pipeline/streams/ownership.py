"""`Ownership`: which partitions of a topic a worker owns, and what it keeps of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Generic, Protocol, TypeVar


class Kept(Protocol):
    """What is kept of a partition.

    Attributes:
        ready: it has been recovered.
    """

    ready: bool


K = TypeVar("K", bound=Kept)


class Ownership(Generic[K]):
    """The partitions of one topic that a worker owns. Which they are, the consumer group says.

    Args:
        topic: its full name.
        make: what is kept of a partition at first.
        forgotten: is told the topic and the partitions that others own now.
    """

    def __init__(
        self, topic: str, make: Callable[[int], K], forgotten: Callable[[str, Collection[int]], None]
    ) -> None:
        self.topic = topic
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

    def own(self, partitions: Collection[int]) -> None:
        """These are ours now."""
        for p in partitions:
            self._own(p)

    def forget(self, partitions: Collection[int]) -> None:
        """Others own these now. Work under way goes on and does no harm: the logs decide who was first."""
        for p in partitions:
            self._owned.pop(p, None)
        self._forgotten(self.topic, partitions)

    def _own(self, partition: int) -> K:
        if partition not in self._owned:
            self._owned[partition] = self._make(partition)
        return self._owned[partition]

    def _ready(self) -> Iterator[K]:
        """Those that are recovered when their turn comes."""
        return (owned for owned in list(self._owned.values()) if owned.ready)
