"""Business hours, recounted: the spans of every local day of a year, laid side by side as instants.

On a day on which no clock is changed they follow from its midnight. Where one is, every minute is asked for what the
wall clock shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
BEGIN, END = 0, 220 << 35  # hours are known from 1970 to 2208
_AROUND = 27 * HOUR_MS  # a local day lies this near to noon in UTC: clocks are ahead by up to 15 hours

Span = tuple[int, int]  # two instants, or two times of day; milliseconds
Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Hours:
    """What holds from some local day on.

    Attributes:
        time_zone: IANA name.
        days: by day of the week, Monday first: spans of milliseconds after midnight.
        closed: local days without hours.
        since: the first local day; None: always.
    """

    time_zone: str
    days: Sequence[Sequence[Span]]
    closed: frozenset[date] = frozenset()
    since: date | None = None

    def begins(self) -> int:
        """The instant from which it holds."""
        return BEGIN if self.since is None else _midnight(self.since, ZoneInfo(self.time_zone))

    def spans(self, year: int) -> Iterator[Span]:
        """Instants that are worked on the local days of a year, and on two days before and after it."""
        zone, day, stop = ZoneInfo(self.time_zone), date(year - 1, 12, 30), date(year + 1, 1, 3)
        while day < stop:
            spans = () if day in self.closed else self.days[day.weekday()]
            if spans:
                yield from _of_day(day, spans, zone)
            day += timedelta(days=1)


class Calendar:
    """Hours, and those that replaced them.

    Args:
        versions: the earliest first.
    """

    def __init__(self, versions: Sequence[Hours]) -> None:
        self._versions = versions
        self._years: dict[int, tuple[Int64s, Int64s]] = {}

    def worked(self, start: int, end: int) -> int | None:
        """Milliseconds worked from one instant to another; None where hours are not known."""
        if start < BEGIN or end >= END:
            return None
        parts = (self._of_year(year) for year in range(_year(start), _year(end) + 1))
        return sum(int((np.clip(b, start, end) - np.clip(a, start, end)).sum()) for a, b in parts)

    def reached(self, start: int, milliseconds: int) -> int | None:
        """The first instant at which so much was worked since `start`; None: never."""
        left = milliseconds
        for year in range(_year(start), _year(END) + 1) if BEGIN <= start < END else ():
            begins, ends = self._of_year(year)
            begins, ends = np.maximum(begins, start), np.maximum(ends, start)
            sums = np.cumsum(ends - begins)
            if len(sums) and sums[-1] >= left:
                place = int(np.searchsorted(sums, left))
                at = int(ends[place]) - (int(sums[place]) - left)
                return at if at < END else None
            left -= int(sums[-1]) if len(sums) else 0
        return None

    def _of_year(self, year: int) -> tuple[Int64s, Int64s]:
        """Begins and ends of what is worked between the first instant of a year in UTC and that of the next."""
        known = self._years.get(year)
        if known is None:
            spans = sorted(self._laid_out(year))
            begins, ends = (np.array([span[k] for span in spans], np.int64) for k in (0, 1))
            known = self._years[year] = begins, ends
        return known

    def _laid_out(self, year: int) -> Iterator[Span]:
        first, stop = (_midnight(date(y, 1, 1), UTC) for y in (year, year + 1))
        begins = [one.begins() for one in self._versions]
        for version, since, until in zip(self._versions, begins, [*begins[1:], END], strict=True):
            low, high = max(first, since), min(stop, until)
            for begin, end in version.spans(year) if low < high else ():
                span = max(begin, low), min(end, high)
                if span[0] < span[1]:
                    yield span


def _of_day(day: date, spans: Sequence[Span], zone: ZoneInfo) -> Iterator[Span]:
    """The instants at which the wall clock shows one of the spans of this day."""
    noon = _midnight(day, UTC) + DAY_MS // 2
    offset = _offset(noon, zone)
    if all(_offset(noon + _AROUND * side, zone) == offset for side in (-1, 1)):
        yield from (
            (noon - DAY_MS // 2 - offset + opens, noon - DAY_MS // 2 - offset + ends) for opens, ends in spans
        )
        return
    for minute in range(noon - _AROUND, noon + _AROUND, MINUTE_MS):
        shown = minute + _offset(minute, zone) - (noon - DAY_MS // 2)
        if any(opens <= shown < ends for opens, ends in spans):
            yield minute, minute + MINUTE_MS


def _offset(at: int, zone: ZoneInfo) -> int:
    """How far the wall clock is ahead of UTC."""
    ahead = datetime.fromtimestamp(at // 1000, zone).utcoffset() or timedelta()
    return ahead // timedelta(milliseconds=1)


def _midnight(day: date, zone: tzinfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000


def _year(at: int) -> int:
    return datetime.fromtimestamp(at // 1000, UTC).year
