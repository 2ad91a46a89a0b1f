"""`Dues`: which cases time alone will change, and when. To find the due ones costs what is due, not what waits."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

NEVER_DUE = (1 << 63) - 1
_MINUTE_MS = 60_000


class Dues:
    """Names by the minute of their instant, milliseconds since 1970; `NEVER_DUE` is not kept.

    A million names are a million places in some thousand sets, not a million objects.
    """

    def __init__(self) -> None:
        self._minutes: dict[int, set[str]] = {}
        self._order: list[int] = []  # a heap of the minutes that have a set

    def put(self, name: str, at_ms: int) -> None:
        """One more. A name may stand at one instant only: `drop` it first."""
        if at_ms == NEVER_DUE:
            return
        minute = at_ms // _MINUTE_MS
        names = self._minutes.get(minute)
        if names is None:
            names = self._minutes[minute] = set()
            heappush(self._order, minute)
        names.add(name)

    def move(self, name: str, before_ms: int, after_ms: int) -> None:
        """From one instant to another. Most moves are none, or within a minute."""
        if before_ms // _MINUTE_MS != after_ms // _MINUTE_MS:
            self.drop(name, before_ms)
            self.put(name, after_ms)

    def drop(self, name: str, at_ms: int) -> None:
        """It no longer stands there."""
        names = self._minutes.get(at_ms // _MINUTE_MS)
        if names is not None:
            names.discard(name)

    def until(self, at_ms: int) -> Iterator[str]:
        """Names that may be due by then: all of the minutes up to it, sorted within a minute."""
        minute = at_ms // _MINUTE_MS
        while self._order and not self._minutes[self._order[0]]:
            del self._minutes[heappop(self._order)]
        for one in sorted(minute_ for minute_ in self._order if minute_ <= minute):
            yield from sorted(self._minutes[one])
