"""Business hours beside a count of every minute on the wall clock: both changes of the clock, holidays, new hours."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cases.schedule import DAY_MS, Schedule, Span, Version

MINUTE, HOUR = 60_000, 3_600_000
Week = tuple[tuple[Span, ...], ...]


def ms(*at: int) -> int:
    return int(datetime(*at, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc]  # whole numbers


def week(*spans: tuple[float, float], days: str = "1111111") -> Week:
    day = tuple((int(opens * HOUR), int(closes * HOUR)) for opens, closes in spans)
    return tuple(day if on == "1" else () for on in days)


OFFICE = week((9, 12), (13, 17.5), days="1111100")
NIGHT = week((0, 3), (22, 24))
ALWAYS = week((0, 24))


class Minutes:
    """Each minute of some days, looked at on the wall clock of the version in force at it."""

    def __init__(self, schedule: Schedule, begin: int, days: int) -> None:
        self.begin = begin
        self.end = begin + days * DAY_MS
        self._worked = [self._open(schedule, at) for at in range(begin, self.end, MINUTE)]
        self._sums = [0, *accumulate(self._worked)]

    def between(self, start: int, end: int) -> int:
        return self._until(end) - self._until(start)

    def _until(self, at: int) -> int:
        minute, rest = divmod(at - self.begin, MINUTE)
        return self._sums[minute] * MINUTE + (rest * self._worked[minute] if rest else 0)

    @staticmethod
    def _open(schedule: Schedule, at: int) -> bool:
        *_, (version, local) = (
            (one, local)
            for one in schedule.versions
            for local in [datetime.fromtimestamp(at / 1000, ZoneInfo(one.time_zone))]
            if one.since is None or local.date() >= one.since
        )
        shown = (local.hour * 60 + local.minute) * MINUTE
        spans = () if local.date() in version.holidays else version.hours[local.weekday()]
        return any(opens <= shown < closes for opens, closes in spans)


CHANGED = Schedule(
    (
        Version("Europe/Berlin", OFFICE, frozenset({date(2026, 3, 27)})),
        Version("America/New_York", NIGHT, frozenset(), date(2026, 3, 26)),
        Version("Europe/Berlin", ALWAYS, frozenset({date(2026, 4, 6)}), date(2026, 4, 3)),
    )
)
PLACES = [
    ("spring in Berlin", Schedule((Version("Europe/Berlin", NIGHT),)), ms(2026, 3, 22)),
    ("autumn in Berlin", Schedule((Version("Europe/Berlin", NIGHT),)), ms(2026, 10, 18)),
    ("an office in autumn", Schedule((Version("Europe/Berlin", OFFICE),)), ms(2026, 10, 18)),
    ("half an hour on Lord Howe", Schedule((Version("Australia/Lord_Howe", NIGHT),)), ms(2026, 3, 29)),
    ("no midnight in Sao Paulo", Schedule((Version("America/Sao_Paulo", NIGHT),)), ms(2018, 10, 28)),
    ("no 30 December in Samoa", Schedule((Version("Pacific/Apia", OFFICE),)), ms(2011, 12, 24)),
    (
        "a minute past midnight in St John's",
        Schedule((Version("America/St_Johns", NIGHT),)),
        ms(2006, 10, 22),
    ),
    ("Kathmandu", Schedule((Version("Asia/Kathmandu", OFFICE),)), ms(2026, 5, 1)),
    ("hours, zone and holidays change", CHANGED, ms(2026, 3, 23)),
    (
        "over the edge of a block",
        Schedule((Version("Europe/Berlin", NIGHT),)),
        (50 << 35) // DAY_MS * DAY_MS - 5 * DAY_MS,
    ),
]


@pytest.mark.parametrize(("schedule", "begin"), [one[1:] for one in PLACES], ids=[one[0] for one in PLACES])
def test_hours_are_those_on_the_wall_clock(schedule: Schedule, begin: int):
    minutes = Minutes(schedule, begin, 16)

    @settings(max_examples=100)
    @given(st.lists(st.integers(begin, minutes.end - 1), min_size=2, max_size=2).map(sorted))
    def both_agree(span: list[int]) -> None:
        start, end = span
        worked = schedule.between(start, end)
        assert worked == minutes.between(start, end)
        if worked:
            reached = schedule.after(start, worked)
            assert reached is not None and reached <= end
            assert minutes.between(start, reached) == worked > minutes.between(start, reached - 1)

    both_agree()


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ((2026, 3, 28, 23), (2026, 3, 29, 22), 23),  # the day on which Berlin's clock skips an hour
        ((2026, 10, 24, 22), (2026, 10, 25, 23), 25),  # and the one on which it shows one twice
    ],
)
def test_a_day_of_a_changed_clock(start: tuple[int, ...], end: tuple[int, ...], hours: int):
    schedule = Schedule((Version("Europe/Berlin", ALWAYS),))
    assert schedule.between(ms(*start), ms(*end)) == hours * HOUR


def test_the_worked_example_of_the_docs():
    """Friday 16:00 to Monday 10:00, in Berlin, over the end of summer time."""
    office = Schedule((Version("Europe/Berlin", week((9, 17), days="1111100")),))
    assert office.between(ms(2026, 10, 23, 14), ms(2026, 10, 26, 9)) == 2 * HOUR
    assert office.after(ms(2026, 10, 23, 14), 2 * HOUR) == ms(2026, 10, 26, 9)


def test_a_promise_ends_with_the_hours_it_needs_not_with_the_next_morning():
    office = Schedule((Version("UTC", week((9, 17))),))
    assert office.after(ms(2026, 1, 5, 9), 8 * HOUR) == ms(2026, 1, 5, 17)


def test_many_years_of_hours():
    office = Schedule((Version("UTC", ALWAYS, frozenset({date(1999, 12, 31)})),))
    assert office.between(ms(1971, 1, 1), ms(2200, 1, 1)) == ms(2200, 1, 1) - ms(1971, 1, 1) - DAY_MS


@pytest.mark.parametrize("at", [-1, -(10**14), 220 << 35, 2 * 10**14])
def test_outside_of_the_years_it_knows_there_are_no_hours(at: int):
    office = Schedule((Version("UTC", ALWAYS),))
    assert office.after(at, 1) is None
    assert office.between(*sorted((at, 0))) is None


def test_hours_that_never_come():
    assert Schedule((Version("UTC", week()),)).after(0, 1) is None
    ended = Schedule((Version("UTC", ALWAYS), Version("UTC", week(), frozenset(), date(2000, 1, 1))))
    assert ended.after(ms(2000, 1, 1) - 5, 5) == ms(2000, 1, 1)
    assert ended.after(ms(2000, 1, 1) - 5, 6) is None


def test_schedules_are_compared_by_what_they_say():
    first: Any = Schedule((Version("UTC", ALWAYS),))
    first.between(0, 1)
    assert first == Schedule((Version("UTC", ALWAYS),))
