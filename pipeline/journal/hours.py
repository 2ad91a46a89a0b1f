"""`Hours`: log time, as far as it decides which cells are still open.

A clock must not decide that: two owners with two clocks would publish two values of one version, or count into a part
that the other has closed. Log time is the highest watermark of the deltas taken; it is the same for whoever reads them.
"""

from __future__ import annotations

from collections.abc import Iterable

HOUR_MS = 3_600_000


class Hours:
    """Which deltas offset each of the latest hours of log time begins at.

    Attributes:
        marks: (hour since 1970, first deltas offset of it), ascending; an hour in which nothing came has none.
    """

    def __init__(self, marks: Iterable[tuple[int, int]] = ()) -> None:
        self.marks = list(marks)

    @property
    def now(self) -> int | None:
        """The hour of log time, since 1970; None before the first delta."""
        return self.marks[-1][0] if self.marks else None

    @property
    def cut(self) -> int:
        """A cell whose last change lies before this offset is not open any more. Never moves back."""
        return self.marks[0][1] if self.marks else 0

    def enter(self, offset: int, watermark: int, span: int) -> bool:
        """A delta was taken; whether log time entered a new hour with it.

        Args:
            offset: of the delta.
            watermark: of the delta, milliseconds since 1970.
            span: of the delta, hours that an untouched cell stays open.
        """
        hour = watermark // HOUR_MS
        if self.now is not None and hour <= self.now:
            return False
        self.marks = [(h, first) for h, first in self.marks if h >= hour - span]
        self.marks.append((hour, offset))
        return True
