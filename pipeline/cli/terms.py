"""`terms_of`: what the configuration says of cases and answers, as the recount of `verify` and `rebuild` takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.verify.terms import Terms


def terms_of(settings: Settings) -> Terms:
    """Numbers and names only: none of what counts by them."""
    from pipeline.verify.hours import Calendar, Hours
    from pipeline.verify.terms import Promise, Terms

    calendars = {
        name: Calendar(
            [Hours(one.time_zone, one.hours, one.holidays, one.since) for one in schedule.versions()]
        )
        for name, schedule in settings.schedules.items()
    }
    touchpoints = settings.touchpoints.items()
    alarms = {name: one.alarming for name, one in settings.catalogue().items()}
    return Terms(
        forget_ms=round(settings.cases.forget_after * 1000),
        one_contact_ms=round(settings.cases.fcr_window * 1000),
        promises={
            priority: Promise(round(sla.target * 1000), calendars[sla.schedule] if sla.schedule else None)
            for priority, sla in settings.sla.items()
        },
        calendars=calendars,
        calendar_of={name: one.schedule for name, one in touchpoints if one.schedule is not None},
        calls=settings.follow_ups.milliseconds(),
        alarms={
            name: (group.name, group.first, group.last) for name, group in alarms.items() if group is not None
        },
        rules=settings.measuring_rules(),
    )
