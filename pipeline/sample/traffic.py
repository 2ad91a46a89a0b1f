"""What happens in the shop between two moments: a pure function of the seed and the time, ids included.

The same moment always holds the same events, and a higher rate only adds to them. So sending a span twice
sends duplicates, which the pipeline drops: nothing is ever doubled.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from random import Random

from pipeline.sample import answers, world
from pipeline.sample.cases import HOUR_MS, LONGEST_HOURS, Case, cases_of_hour
from pipeline.sample.event import RESPONSES, Event, response, touchpoint
from pipeline.sample.world import PLACES, Drop

SLICE_MS = 5_000  # what is drawn at once: short enough for the event loop at high rates
SLICES_A_MINUTE = 12
MIX = (("response", 0.36), ("survey_sent", 0.50), ("survey_dismissed", 0.04), ("plain", 0.10))

_PLACES = tuple(accumulate(place.weight for place in PLACES))
_MIX = tuple(accumulate(share for _, share in MIX))
_SEGMENTS = tuple(accumulate(weight for _, weight in world.SEGMENTS))
_cases_of_hour = lru_cache(maxsize=2 * LONGEST_HOURS)(cases_of_hour)


@dataclass(frozen=True, slots=True)
class Traffic:
    """The shop, as one run of the demo sees it.

    Attributes:
        seed: same seed, same events.
        origin: nothing happened before (milliseconds since 1970), so no case is open at the start.
        drop: the one thing to notice.
    """

    seed: int
    origin: int
    drop: Drop

    def between(self, start: int, end: int, rate: float, *, daily: bool) -> list[Event]:
        """Events with start <= at < end, in time order.

        Args:
            start: milliseconds since 1970.
            end: milliseconds since 1970, not included.
            rate: events a second; cases come on top, so many a day.
            daily: let the rate follow the hour of the day.
        """
        start = max(start, self.origin)
        found = [*self._plain(start, end, rate, daily=daily), *self._cases(start, end)]
        return sorted((event for event in found if start <= event.at < end), key=lambda event: event.at)

    def _plain(self, start: int, end: int, rate: float, *, daily: bool) -> list[Event]:
        slices = range(start // SLICE_MS, -(-end // SLICE_MS))
        rates = (rate * world.rhythm(at // SLICES_A_MINUTE) if daily else rate for at in slices)
        pairs = zip(slices, rates, strict=True)
        return [event for at, its in pairs for event in _slice(self.seed, at, its, self.drop)]

    def _cases(self, start: int, end: int) -> list[Event]:
        hours = range(max(start - LONGEST_HOURS * HOUR_MS, self.origin) // HOUR_MS, end // HOUR_MS + 1)
        cases: list[Case] = [case for hour in hours for case in _cases_of_hour(self.seed, hour, self.drop)]
        return [event for case in cases if case.opened >= self.origin for event in case.events]


@lru_cache(maxsize=2)  # a live run asks for the same one again and again
def _slice(seed: int, at: int, rate: float, drop: Drop) -> tuple[Event, ...]:
    """The events of a slice, cases aside; those of a lower rate are the first of a higher one."""
    random = Random(f"{seed}/{at}")  # noqa: S311 - sample data, not secrets
    count = int(rate * SLICE_MS / 1000 + random.random())
    events: list[Event] = []
    asked: dict[str, list[Event]] = defaultdict(list)  # touchpoint -> surveys that nobody has answered
    for number in range(count):
        event = _event(random, at, f"{seed}-{at:x}-{number:x}", drop)
        waiting = asked[event.record["touchpoint"]]
        if event.record.get("action") == "survey_sent":
            waiting.append(event)
        elif event.topic == RESPONSES and waiting:
            event = _answering(event, waiting.pop(0), (at + 1) * SLICE_MS - 1)
        events.append(event)
    return tuple(events)


def _answering(answer: Event, survey: Event, latest: int) -> Event:
    """The answer of whom the survey was sent to, after that and not later than `latest`."""
    at = max(answer.at, min(survey.at + 1, latest))
    who = {name: survey.record[name] for name in ("channel", "segment", "customer_id")}
    return answer._replace(at=at, record={**answer.record, **who, "occurred_at": at})


def _event(random: Random, slice_: int, name: str, drop: Drop) -> Event:
    at = slice_ * SLICE_MS + random.randrange(SLICE_MS)
    place = random.choices(PLACES, cum_weights=_PLACES)[0]
    who = {
        "channel": random.choices(world.CHANNELS, place.channels)[0],
        "segment": random.choices(world.SEGMENTS, cum_weights=_SEGMENTS)[0][0],
        "customer_id": f"c-{random.randrange(world.CUSTOMERS)}",
    }
    kind = random.choices(MIX, cum_weights=_MIX)[0][0]
    if kind != "response":
        action = place.action if kind == "plain" else kind
        return touchpoint(at, f"t-{name}", place.name, action, **who)
    asked = answers.instrument(random, place)
    given, said = answers.answer(random, place, asked, dropped=drop.holds(place, at))
    return response(at, f"r-{name}", place.name, asked, given, comment=said, **who)
