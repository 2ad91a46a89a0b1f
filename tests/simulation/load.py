"""Histories of source partitions, with all that is awkward, encoded once; and what must come of each."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pipeline.cases.lifecycle import Rules, Target
from pipeline.events import wire
from pipeline.events.schemas import schema
from tests.simulation.case_oracle import DUE_MS, FCR_MS, FORGET_MS, SLA_MS, call
from tests.simulation.disk import MARKER
from tests.simulation.oracle import Answer, recount_touchpoints
from tests.support.recount import Recount, ms, recount_partition, waiting

HISTORIES = 16  # of each source; a seed takes one for each partition
RECORDS = 18
MINUTE = 60_000
LIVES_ON = (2, 6, 10)
BEGIN = 1_700_000_000_000
HORIZON = 60 * MINUTE
STEP = 8 * MINUTE  # so a history is more than two horizons long
FINAL = BEGIN + RECORDS * STEP + 2 * HORIZON  # nothing is due later than that
RULES = Rules(
    sla={name: Target(target / 1000) for name, target in SLA_MS.items()},
    fcr_ms=FCR_MS,
    forget_ms=FORGET_MS,
    horizon_ms=HORIZON,
    follow_up_ms=DUE_MS,
)


@dataclass
class History:
    """One source partition from its first record to its last.

    Attributes:
        values: raw values, or MARKER where a transaction marker stands.
        answer: what must come of them.
    """

    values: list[Any]
    answer: Answer
    times: list[int] = field(default_factory=list)

    @property
    def records(self) -> int:
        """How many are handed out."""
        return sum(value is not MARKER for value in self.values)


@cache
def history(source: str, number: int) -> History:
    """The history of this number, always the same one."""
    rng = random.Random(f"{source} {number}")
    writer = Responses(rng) if source == "responses" else Touchpoints(rng)
    values: list[Any] = []
    times = [BEGIN + k * STEP for k in range(RECORDS)]
    for k in range(RECORDS):
        if k in LIVES_ON and number % 4 == 0 and isinstance(writer, Responses):
            values.append(writer.lives_on(k))
            continue
        values.append(MARKER if rng.random() < 0.05 and k + 1 < RECORDS else writer.next(BEGIN + k * STEP))
    rows = [(k, times[k], value) for k, value in enumerate(values) if value is not MARKER]
    if source == "touchpoints":
        return History(values, recount_touchpoints(rows, HORIZON), times)
    count = Recount()
    recount_partition(count, 0, rows, HORIZON)
    outcomes = Counter({(day, outcome): n for (_, day, outcome), n in count.outcomes.items()})
    dead = frozenset(offset for _, offset in count.dead)
    calls = {
        f"{name}/answer": call("detractor", ms(one["occurred_at"]), one)
        for name, one in waiting(count).items()
    }
    unsure = frozenset(f"{name}/answer" for name in count.forgotten)
    return History(values, Answer(outcomes, Counter(count.cells), dead, {}, calls, unsure), times)


class Responses:
    """Survey responses: sent again, edited, retracted, used again after their horizon, late, and garbage."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._known: list[dict[str, Any]] = []
        self._again: dict[str, Any] = {}

    def next(self, now: int) -> bytes | None:
        """The value of one record."""
        rng, kind = self._rng, self._rng.random()
        if kind < 0.06:
            return rng.choice([None, b"", b"garbage", self._encoded(self._fresh(now))[:-2]])
        record = self._fresh(now)
        if kind < 0.12:
            record |= rng.choice([{"instrument": "stars"}, {"score": 99}, {"occurred_at": now + 99 * MINUTE}])
        elif kind < 0.18:
            record["occurred_at"] = now - HORIZON - rng.randint(-9, 90) * MINUTE
        elif kind < 0.24:
            record["retracted"] = True  # of an id never seen
        elif kind < 0.62 and self._known:
            record = dict(rng.choice(self._known[-rng.choice([2, 12]) :]))
            if kind > 0.36:
                record |= {
                    "revision": rng.randint(0, 2),
                    "retracted": rng.random() < 0.3,
                    "score": rng.randint(1, 5),
                    "occurred_at": rng.choice([record["occurred_at"], now, now - 50 * MINUTE]),
                }
        self._known.append(record)
        return self._encoded(record)

    def lives_on(self, k: int) -> bytes:
        """An id whose newer version happened earlier, and then a duplicate within its horizon, but not within that."""
        if k == LIVES_ON[0]:
            self._again = self._fresh(BEGIN) | {"occurred_at": BEGIN + k * STEP}
        elif k == LIVES_ON[1]:
            self._again |= {"revision": 1, "occurred_at": BEGIN + k * STEP - 50 * MINUTE}
        else:
            self._again["occurred_at"] = BEGIN + k * STEP
        return self._encoded(self._again)

    def _fresh(self, now: int) -> dict[str, Any]:
        rng = self._rng
        return {
            "response_id": f"r{rng.getrandbits(40)}",
            "occurred_at": now - rng.choice([0, 0, 5, 40]) * MINUTE,
            "source": "app",
            "instrument": rng.choice(["csat_1_5", "nps_0_10"]),
            "score": rng.randint(1, 5),
            "touchpoint": rng.choice(["checkout", "delivery"]),
            "channel": "web",
            "segment": rng.choice([None, "loyal"]),
            "customer_id": rng.choice([None, "anna", "bert"]),
        }

    def _encoded(self, record: dict[str, Any]) -> bytes:
        return wire.encode(schema("SurveyResponse"), record)


class Touchpoints:
    """Touchpoints: most are of a few cases, in any order, sent again, late, and garbage."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._known: list[dict[str, Any]] = []

    def next(self, now: int) -> bytes | None:
        """The value of one record."""
        rng, kind = self._rng, self._rng.random()
        record = self._fresh(now)
        if kind < 0.06:
            return rng.choice([None, b"", b"garbage", wire.encode(schema("TouchpointEvent"), record)[:-2]])
        if kind < 0.1:
            record |= rng.choice([{"touchpoint": ""}, {"occurred_at": now + 99 * MINUTE}])
        elif kind < 0.18:
            record["occurred_at"] = now - HORIZON - rng.randint(-9, 90) * MINUTE
        elif kind < 0.36 and self._known:
            record = dict(rng.choice(self._known[-12:]))
            if kind > 0.3:
                record["occurred_at"] = now
        self._known.append(record)
        return wire.encode(schema("TouchpointEvent"), record)

    def _fresh(self, now: int) -> dict[str, Any]:
        rng = self._rng
        of_case = rng.random() < 0.8
        actions = (
            *("case_opened", "case_opened", "case_resolved", "case_resolved", "case_resolved"),
            *(
                "case_replied",
                "case_contacted",
                "case_waiting",
                "case_resumed",
                "case_reopened",
                "case_closed",
            ),
        )
        return {
            "event_id": f"e{rng.getrandbits(40)}",
            "occurred_at": now - rng.choice([0, 0, 5, 40]) * MINUTE - rng.randint(0, 59_999),
            "source": "desk",
            "touchpoint": rng.choice(["support", "returns"]),
            "action": rng.choice(actions) if of_case else "page_seen",
            "channel": "phone",
            "customer_id": rng.choice([None, "anna"]),
            "case_id": f"c{rng.randrange(5)}" if of_case else None,
            "segment": rng.choice([None, "loyal"]),
            "priority": rng.choice([None, "high"]),
            "attributes": {},
        }
