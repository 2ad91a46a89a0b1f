"""`Terms`: what the configuration says of cases and of answers, handed to the recount as plain numbers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.verify.hours import BEGIN, DAY_MS, END, Calendar


@dataclass(frozen=True, slots=True)
class Promise:
    """Until when a case has to be resolved: so long after its opening, of all time or of some hours."""

    milliseconds: int
    hours: Calendar | None = None

    def due(self, opened: int) -> int | None:
        """The last instant in time; None: nothing is due."""
        if self.hours is None:
            return opened + self.milliseconds
        return self.hours.reached(opened, self.milliseconds)

    def first_opening(self, due: int) -> int:
        """The first instant at which a case may be opened that is due then or later; later ones are, too."""
        return bisect_left(
            range(BEGIN, END), due, key=lambda opened: END if (at := self.due(opened)) is None else at
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """What the configuration says of cases and of answers that somebody must call for.

    Attributes:
        forget_ms: a case silent for longer is another one.
        one_contact_ms: for so long after the first resolve no further contact may come.
        promises: by priority of the opening.
        calendars: by name.
        calendar_of: touchpoint -> name, where it has one of its own.
        calls: kind of follow-up -> within how many milliseconds; of those that are wanted.
        alarms: instrument -> (kind, lowest, highest answer that calls for one).
        rules: the same as `feedback setup` writes it down.
        since: they hold for what was heard of first from this kafka_time on; milliseconds since 1970.
    """

    forget_ms: int
    one_contact_ms: int = 7 * DAY_MS
    promises: Mapping[str, Promise] = field(default_factory=dict)
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    calendar_of: Mapping[str, str] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    alarms: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)
    rules: str = ""
    since: int = 0

    def calendar(self, touchpoint: str) -> Calendar | None:
        """That of a touchpoint: its own, else the default one, else the only one."""
        found = self.calendars.get(self.calendar_of.get(touchpoint, "default"))
        return next(iter(self.calendars.values())) if found is None and len(self.calendars) == 1 else found

    def due(self, opened: int, priority: str | None) -> int | None:
        """Until when a case of this priority is promised to be resolved; None: nothing is."""
        promise = self.promises.get(priority or "")
        return None if promise is None else promise.due(opened)
