"""`Suspects`: what differed at the last look. Only what stays as it is, once everybody has passed, is a difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.verify.told import Deltas

Key = tuple[
    Any, ...
]  # ("outcome", topic, partition, day, outcome), ("cell", leaf, minute, bin), ("follow-up", id)
Owed = Mapping[tuple[str, int, str], int]


@dataclass(slots=True)
class Suspect:
    """A difference.

    Attributes:
        recounted: one side.
        stored: the other.
        since: since when both have stood still, seconds of a clock that never goes back.
        owed: what the roll had to publish then, for a cell to be judged.
    """

    recounted: Any
    stored: Any
    since: float
    owed: Owed


@dataclass(slots=True)
class Suspects:
    """Differences by what they are about.

    Attributes:
        still: for how many seconds a difference must stand still.
        found: those of the last look; whatever agreed once is not among them.
    """

    still: float
    found: dict[Key, Suspect] = field(default_factory=dict)
    first: bool = True
    _done: Owed = field(default_factory=dict)

    def look(self, now: float, found: Mapping[Key, tuple[Any, Any]], deltas: Deltas) -> None:
        """One more look.

        Args:
            now: seconds.
            found: what differs now, as (recounted, stored).
            deltas: how far the roll was before the cells were read.
        """
        kept = {key: sides for key, sides in found.items() if self.first or key in self.found}
        self.found = {key: self._kept(now, key, sides, deltas) for key, sides in kept.items()}
        self.first, self._done = False, deltas.done

    def settled(self, now: float) -> dict[Key, Suspect]:
        """Those that are differences."""
        behind = self._behind()
        return {
            key: one
            for key, one in self.found.items()
            if now - one.since >= self.still and id(one.owed) not in behind
        }

    def waits_for_the_roll(self, now: float) -> list[tuple[str, int]]:
        """Source partitions whose cells are not published, though a difference has stood still for long enough."""
        standing = {id(one.owed): one.owed for one in self.found.values() if now - one.since >= self.still}
        return sorted({key[:2] for owed in standing.values() for key in self._missing(owed)})

    def _kept(self, now: float, key: Key, sides: tuple[Any, Any], deltas: Deltas) -> Suspect:
        before = self.found.get(key)
        if before is not None and (before.recounted, before.stored) == sides:
            return before
        return Suspect(*sides, now, deltas.owed if key[0] == "cell" else {})

    def _behind(self) -> set[int]:
        """Which of the objects `owed` (many suspects share one) are not done yet."""
        owed = {id(one.owed): one.owed for one in self.found.values()}
        return {identity for identity, numbers in owed.items() if self._missing(numbers)}

    def _missing(self, owed: Owed) -> list[tuple[str, int, str]]:
        return [key for key, number in owed.items() if self._done.get(key, 0) < number]
