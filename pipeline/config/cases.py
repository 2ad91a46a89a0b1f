"""What `feedback.toml` says about cases: business hours, promises, and how long a case is listened to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.config.tables import Table
from pipeline.config.values import Comma, Duration

if TYPE_CHECKING:
    from pipeline.cases.rules import Rules
    from pipeline.cases.schedule import Version
    from pipeline.config.settings import Settings

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAY_YEARS = range(2000, 2101)  # of the library; an event of another year meets no holiday
_SPAN = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
_MINUTE_MS = 60_000

Span = tuple[int, int]


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, KeyError) as error:  # unknown is a KeyError, a folder of zones an OSError
        msg = 'should be a time zone of the IANA database, such as "Europe/Vienna" or "UTC"'
        raise ValueError(msg) from error
    return value


def _span(value: object) -> Span:
    """Milliseconds after midnight of "09:00-17:30"."""
    if isinstance(value, tuple) and len(value) == 2:
        return value
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    opens, closes = (
        (60 * int(found[1]) + int(found[2]), 60 * int(found[3]) + int(found[4])) if found else (0, 0)
    )
    if not opens < closes <= 24 * 60:
        msg = 'should be a span like "09:00-17:30" or "00:00-24:00"; one over midnight is written as two days'
        raise ValueError(msg)
    return opens * _MINUTE_MS, closes * _MINUTE_MS


def _apart(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    ordered = sorted(spans)
    if any(later[0] < earlier[1] for earlier, later in pairwise(ordered)):
        msg = "has spans that overlap"
        raise ValueError(msg)
    return tuple(ordered)


def _place(value: str) -> str:
    holidays_of(value, range(2026, 2027))
    return value


def holidays_of(place: str, years: range) -> frozenset[date]:
    """Public holidays of a country, "AT", or a part of one, "DE-BY".

    Raises:
        ValueError: the library of holidays does not know it, or is not installed.
    """
    try:
        import holidays  # with the holidays of every country, which few commands need

        country, _, part = place.partition("-")
        return frozenset(holidays.country_holidays(country, subdiv=part or None, years=years))
    except ImportError as error:
        msg = 'needs the package "holidays": pip install "feedback-pipeline[worker]"'
        raise ValueError(msg) from error
    except NotImplementedError as error:
        msg = 'should be a country or a part of one by its ISO 3166 code, such as "AT" or "DE-BY"'
        raise ValueError(msg) from error


Zone = Annotated[str, AfterValidator(_zone)]
Spans = Annotated[tuple[Annotated[Span, BeforeValidator(_span)], ...], Comma, AfterValidator(_apart)]
Hours = Mapping[Day, Spans]
Dates = Annotated[tuple[date, ...], Comma]
Place = Annotated[str, AfterValidator(_place)]


class ScheduleChange(Table):
    """What is different from some day on; what is not given stays as it was."""

    since: date = Field(alias="from")
    """The first day, in the time zone that holds from then on."""
    time_zone: Zone | None = None
    """As above."""
    hours: Hours | None = None
    """As above; all days anew."""
    holidays: Dates | None = None
    """As above; all days anew."""
    holidays_of: Place | None = None
    """As above."""


class Schedule(Table):
    """Business hours. Times of cases that ended are measured anew by nobody, so add a change instead of editing."""

    time_zone: Zone = "UTC"
    """By the IANA database, such as "Europe/Vienna"; its changes of the clock are followed."""
    hours: Hours = Field(default_factory=dict)
    """By day, spans like "09:00-17:30"."""
    holidays: Dates = ()
    """Days without hours, besides those of `holidays_of`."""
    holidays_of: Place | None = None
    """A country or a part of one, "AT" or "DE-BY", whose public holidays have no hours."""
    changes: tuple[ScheduleChange, ...] = ()
    """Later versions, each `from` a day on."""

    @model_validator(mode="after")
    def _days_of_changes(self) -> Schedule:
        days = [change.since for change in self.changes]
        if len(set(days)) < len(days):
            msg = "should have one change a day"
            raise ValueError(msg)
        return self

    def versions(self) -> tuple[Version, ...]:
        """What holds when, the earliest first."""
        said: dict[str, Any] = self.model_dump(exclude={"changes"})
        found = [_version(said, None)]
        for change in sorted(self.changes, key=lambda one: one.since):
            said |= change.model_dump(exclude={"since"}, exclude_none=True)
            found.append(_version(said, change.since))
        return tuple(found)


class Sla(Table):
    """What customers were promised for cases of one priority."""

    target: Duration
    """Until the case is resolved for the first time."""
    schedule: str | None = None
    """Name of the schedule whose hours count; every hour if not given."""


class Cases(Table):
    """How cases are followed."""

    fcr_window: Duration = 7 * 86_400.0
    """How long after the first resolve a further contact shows that one contact was not enough."""
    forget_after: Duration = 90 * 86_400.0
    """A case that was silent for longer is another case when it speaks again. Choose it longer than your cases ever
    wait; memory is what it costs, about 400 bytes a case."""


def rules_of(settings: Settings) -> Rules:
    """What the pure floor of cases needs to know of a configuration."""
    from pipeline.cases.rules import Rules, Target
    from pipeline.cases.schedule import Schedule as Calendar

    touchpoints = settings.touchpoints.items()
    return Rules(
        sla={name: Target(sla.target, sla.schedule) for name, sla in settings.sla.items()},
        schedules={name: Calendar(one.versions()) for name, one in settings.schedules.items()},
        schedule_names={name: one.schedule for name, one in touchpoints if one.schedule is not None},
        fcr_ms=round(settings.cases.fcr_window * 1000),
        forget_ms=round(settings.cases.forget_after * 1000),
        horizon_ms=round(settings.horizon_of("touchpoints") * 1000),
        follow_up_ms=settings.follow_ups.milliseconds(),
    )


def _version(said: Mapping[str, Any], since: date | None) -> Version:
    from pipeline.cases.schedule import Version

    place = said["holidays_of"]
    public = holidays_of(place, HOLIDAY_YEARS) if place else frozenset()
    hours = tuple(tuple(said["hours"].get(day, ())) for day in DAYS)
    return Version(said["time_zone"], hours, public | frozenset(said["holidays"]), since)
