"""`Instrument`: which question was asked on which scale. It is part of every series' identity.

Two instruments never share a series: an answer of 4 means another thing on 1-5 than on 0-10, and nobody can
take the two apart again once they are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

Direction = Literal["high", "low"]
NPS_SCALES = ((0, 10), (1, 10))
PROMOTERS_FROM = 9
DETRACTORS_TO = 6
TOP_BOXES = MappingProxyType({(1, 3): 3, (1, 4): 3, (1, 5): 4, (1, 7): 6, (1, 10): 8})
EASY_BOXES = MappingProxyType({(1, 5): 4, (1, 7): 5})


class Group(NamedTuple):
    """The answers `first` to `last`, both included and as given, that count as `name`."""

    name: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """One question on one scale.

    The thresholds count on the scale turned to high = good (see `turn`); None where the metric has none such.

    Attributes:
        name: as responses name it, for example "csat_1_5".
        metric: "nps", "csat", "ces", or "net_<low>_<high>" for a net score that is not NPS.
        low: smallest answer.
        high: largest answer.
        direction: which end of the scale is good (satisfied, easy, a promoter).
        promoters_from: nps and net: promoters answer this or more.
        detractors_to: nps and net: detractors answer this or less.
        satisfied_from: csat: the top boxes begin here.
        easy_from: ces: easy begins here.
    """

    name: str
    metric: str
    low: int
    high: int
    direction: Direction
    promoters_from: int | None = None
    detractors_to: int | None = None
    satisfied_from: int | None = None
    easy_from: int | None = None

    @property
    def scale(self) -> tuple[int, int, Direction]:
        """What an answer means. Names may be mapped anew, but never get another scale."""
        return self.low, self.high, self.direction

    @property
    def described(self) -> str:
        """For people: "csat 1..5 (high is good, satisfied_from 4)"."""
        thresholds = ("promoters_from", "detractors_to", "satisfied_from", "easy_from")
        given = [f"{key} {value}" for key in thresholds if (value := getattr(self, key)) is not None]
        return f"{self.metric} {self.low}..{self.high} ({', '.join([f'{self.direction} is good', *given])})"

    @property
    def answers(self) -> range:
        """Every answer of the scale, ascending: its bins."""
        return range(self.low, self.high + 1)

    def turn(self, score: int) -> int:
        """`score` on the scale turned to high = good; turning twice gives the answer back."""
        return score if self.direction == "high" else self.low + self.high - score

    @property
    def groups(self) -> tuple[Group, ...]:
        """What the answers count as. Every answer is in exactly one group, so the groups add up to n."""
        if self.promoters_from is not None and self.detractors_to is not None:
            starts = (self.detractors_to + 1, self.promoters_from)
            return self._split(("detractor", "passive", "promoter"), starts)
        if self.satisfied_from is not None:
            return self._split(("dissatisfied", "satisfied"), (self.satisfied_from,))
        if self.easy_from is not None:
            return self._split(("not_easy", "easy"), (self.easy_from,))
        return ()

    @property
    def alarming(self) -> Group | None:
        """Answers after which somebody should call: detractors, or the very hardest effort; None: it has none such."""
        if self.easy_from is not None:
            return Group("hard_effort", self.turn(self.low), self.turn(self.low))
        return next((group for group in self.groups if group.name == "detractor"), None)

    def _split(self, names: tuple[str, ...], starts: tuple[int, ...]) -> tuple[Group, ...]:
        firsts = (self.low, *starts)
        lasts = (*(start - 1 for start in starts), self.high)
        ends = [ends for ends in zip(names, firsts, lasts, strict=True) if ends[1] <= ends[2]]
        return tuple(Group(name, *sorted((self.turn(first), self.turn(last)))) for name, first, last in ends)


def net_promoter(name: str, low: int, high: int) -> Instrument:
    """NPS on its own scales: 9 and 10 promote, 7 and 8 are passive, the rest detracts."""
    return Instrument(name, "nps", low, high, "high", PROMOTERS_FROM, DETRACTORS_TO)


def satisfaction(name: str, low: int, high: int) -> Instrument:
    """CSAT with the usual top boxes of its scale (Zendesk, Nicereply and others agree on these)."""
    return Instrument(name, "csat", low, high, "high", satisfied_from=TOP_BOXES[low, high])


def effort(name: str, low: int, high: int, direction: Direction) -> Instrument:
    """CES; `direction` "low" is the older question, where a high answer is a high effort."""
    return Instrument(name, "ces", low, high, direction, easy_from=EASY_BOXES[low, high])


_SHIPPED = (
    net_promoter("nps_0_10", 0, 10),
    net_promoter("nps_1_10", 1, 10),
    *(satisfaction(f"csat_{low}_{high}", low, high) for low, high in TOP_BOXES),
    effort("ces_1_5", 1, 5, "high"),
    effort("ces_1_7", 1, 7, "high"),
    effort("ces_1_7_hard", 1, 7, "low"),
)
SHIPPED: Mapping[str, Instrument] = MappingProxyType({one.name: one for one in _SHIPPED})


def bounds(instruments: Mapping[str, Instrument]) -> dict[str, tuple[int, int]]:
    """Smallest and largest answer of each: what a response is checked against."""
    return {name: (one.low, one.high) for name, one in instruments.items()}
