"""`Schedule`: business hours, and how much of them lies between two instants.

Hours are read on the wall clock of a time zone: an instant is worked if the local time shows one of the day's spans and
the local day is no holiday. So an hour that the clock shows twice in autumn counts twice, and one that it skips in
spring does not count. Where a schedule was changed, each instant is measured by the version in force at it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import accumulate
from typing import NamedTuple
from zoneinfo import ZoneInfo

DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()
_THURSDAY = 3  # the first of January 1970; 0 is Monday
_SHIFT = 35  # hours are laid out in blocks of 2^35 ms, about 400 days, each when it is first asked for
_BLOCKS = 220  # 1970 to 2208: outside of it there are no hours

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Version:
    """Hours that hold from some day on.

    Attributes:
        time_zone: IANA name.
        hours: by day of the week, Monday first: spans of milliseconds after midnight on the wall clock, ascending.
        holidays: local days without hours.
        since: the first local day on which this version holds; None: it always did.
    """

    time_zone: str
    hours: tuple[tuple[Span, ...], ...]
    holidays: frozenset[date] = frozenset()
    since: date | None = None

    def begins_ms(self) -> int:
        """The instant from which it holds."""
        if self.since is None:
            return 0
        local = datetime(self.since.year, self.since.month, self.since.day, tzinfo=ZoneInfo(self.time_zone))
        return int(local.timestamp()) * 1000

    def spans(self, begin: int, end: int) -> Iterator[Span]:
        """What is worked between two instants."""
        closed = {day.toordinal() - _EPOCH for day in self.holidays}
        for low, high, offset in _offsets(ZoneInfo(self.time_zone), begin, end):
            for day in range((low + offset) // DAY_MS, (high - 1 + offset) // DAY_MS + 1):
                if day in closed:
                    continue
                midnight = day * DAY_MS - offset
                for opens, closes in self.hours[(day + _THURSDAY) % 7]:
                    span = max(midnight + opens, low), min(midnight + closes, high)
                    if span[0] < span[1]:
                        yield span


class _Block(NamedTuple):
    """Spans of a block, and how much is worked up to the end of each."""

    starts: list[int]
    ends: list[int]
    sums: list[int]

    def until(self, at: int) -> int:
        """Milliseconds worked in this block before an instant in it."""
        place = bisect_right(self.starts, at) - 1
        if place < 0:
            return 0
        left = self.ends[place] - at
        return self.sums[place] - left if left > 0 else self.sums[place]

    @property
    def total(self) -> int:
        return self.sums[-1] if self.sums else 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Versions of hours, the earliest first; the first holds from the beginning."""

    versions: tuple[Version, ...]
    _blocks: dict[int, _Block] = field(default_factory=dict, init=False, repr=False, compare=False)

    def between(self, start: int, end: int) -> int | None:
        """Milliseconds worked between two instants, the second not earlier; None outside of 1970 to 2208."""
        first, last = start >> _SHIFT, end >> _SHIFT
        if first < 0 or last >= _BLOCKS:
            return None
        block = self._block(first)
        if first == last:
            return block.until(end) - block.until(start)
        whole = sum(self._block(k).total for k in range(first, last))
        return whole + self._block(last).until(end) - block.until(start)

    def after(self, start: int, milliseconds: int) -> int | None:
        """The first instant at which so much has been worked since `start`; None if that never comes."""
        first = start >> _SHIFT
        if not 0 <= first < _BLOCKS:
            return None
        wanted = milliseconds + self._block(first).until(start)
        for k in range(first, _BLOCKS):
            block = self._block(k)
            if wanted <= block.total:
                place = bisect_left(block.sums, wanted)
                return block.ends[place] - (block.sums[place] - wanted)
            wanted -= block.total
        return None

    def _block(self, k: int) -> _Block:
        block = self._blocks.get(k)
        if block is None:
            block = self._blocks[k] = self._laid_out(k << _SHIFT, (k + 1) << _SHIFT)
        return block

    def _laid_out(self, begin: int, end: int) -> _Block:
        starts = [version.begins_ms() for version in self.versions]
        spans: list[Span] = []
        for version, since, until in zip(self.versions, starts, [*starts[1:], end], strict=True):
            spans += version.spans(max(begin, since), min(end, until))
        worked = accumulate(closes - opens for opens, closes in spans)
        return _Block([opens for opens, _ in spans], [closes for _, closes in spans], list(worked))


def _offsets(zone: ZoneInfo, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Stretches of one UTC offset between two instants: from, to, offset; all milliseconds."""
    low = begin
    at = begin
    while at < end:
        further = min(at + DAY_MS, end)
        offset = _offset(zone, at)
        if further < end and _offset(zone, further) != offset:
            change = _change(zone, at, further)
            yield low, change, offset
            low = change
        elif further == end:
            change = end if _offset(zone, end - 1) == offset else _change(zone, at, end - 1)
            yield low, change, offset
            if change < end:
                yield change, end, _offset(zone, change)
        at = further


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    """The instant between the two at which the offset changes; it changes at whole seconds."""
    offset, low, high = _offset(zone, before), before // 1000, -(-after // 1000)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle * 1000) == offset:
            low = middle
        else:
            high = middle
    return high * 1000


def _offset(zone: ZoneInfo, at: int) -> int:
    offset = datetime.fromtimestamp(at // 1000, zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * 1000)
