"""`Window`: which minutes a rolling score is made of.

Times are seconds since 1970; minutes are numbered since 1970, and each holds the events from its start up to,
not including, the next one. Every range of minutes is half open: first <= minute < end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MINUTE = 60
HOUR = 3600
DAY = 86_400
_UNITS = {"m": MINUTE, "h": HOUR, "d": DAY}
_FORM = re.compile(r"([1-9][0-9]{0,5})([mhd])")


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time that ends at the moment one looks.

    Attributes:
        name: as in the configuration, for example "1h".
        seconds: its length, whole minutes.
    """

    name: str
    seconds: int

    def span(self, at: float) -> tuple[int, int]:
        """The minutes of the score at `at`: from `at - seconds` up to, not including, the minute of `at`.

        A window above 24 h moves by whole hours: its start is floored to the hour.
        """
        end = int(at // MINUTE)
        first = end - self.seconds // MINUTE
        return (first // 60 * 60 if self.seconds > DAY else first), end

    def span_now(self, now: float) -> tuple[int, int]:
        """The minutes of the score now: those of `span`, and the running minute."""
        first, end = self.span(now)
        return first, end + 1


def parse(name: str) -> Window:
    """A window from "15m", "1h" or "7d".

    Raises:
        ValueError: it is none; the text says what is allowed.
    """
    found = _FORM.fullmatch(name)
    if found is None:
        msg = (
            f'window "{name}" is no whole number of minutes, hours or days: write it like "15m", "1h" or "7d"'
        )
        raise ValueError(msg)
    return Window(name, int(found[1]) * _UNITS[found[2]])


DEFAULT = tuple(parse(name) for name in ("15m", "1h", "24h", "7d", "30d"))
