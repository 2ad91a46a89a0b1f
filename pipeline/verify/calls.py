"""Follow-ups, recounted: which answers and which cases call for somebody, and until when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl
from clickhouse_connect.driver.client import Client

from pipeline.verify.ask import frame
from pipeline.verify.clocks import SLA_BREACH, breach
from pipeline.verify.hours import HOUR_MS
from pipeline.verify.lives import ACTIONS, REOPENED, CaseEvent, lives
from pipeline.verify.terms import Terms

_ASIDE = 1000  # partitions from here on were put aside by `feedback reset`
_REOPENED = "reopened"


class Call(NamedTuple):
    """One follow-up: what happened, and until when somebody must have called. Times are milliseconds since 1970."""

    kind: str
    occurred_at: int
    due_at: int | None
    touchpoint: str
    channel: str
    segment: str | None
    customer_id: str | None
    case_id: str | None
    instrument: str | None
    score: int | None
    priority: str | None


class Answers:
    """The follow-ups of answers of one source partition.

    Args:
        terms: of the configuration.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._calls: dict[str, Call | None] = {}  # by response_id; None: taken back
        self._newest: dict[str, int] = {}  # of each of them: offset of the version
        self._strange: set[str] = set()

    def take(self, rows: Iterable[tuple[Any, ...]], replaced: Mapping[int, int]) -> None:
        """Versions that hold when they come, in the order of offsets.

        Args:
            rows: see `RawTable.answers`.
            replaced: offset of those of which an earlier version was remembered -> the offset of that one.
        """
        for offset, identity, bad, at, instrument, score, *place, customer, case, time in rows:
            if time < self._terms.since:
                self._strange.add(identity)
            told = identity in self._calls
            if told and replaced.get(offset) != self._newest[identity]:
                # Forgotten in between, by this record or by a good one that is not among the rows: the follow-up of
                # the older one stands, and may have the higher revision.
                self._strange.add(identity)
            kind = self._terms.alarms[instrument][0] if bad else ""
            if bad and (customer or case):
                due = at + self._terms.calls[kind]
                whom = customer or None, case or None
                self._calls[identity] = Call(kind, at, due, *_named(*place), *whom, instrument, score, None)
            elif told:
                self._calls[identity] = None
            if identity in self._calls:
                self._newest[identity] = offset

    def __iter__(self) -> Iterator[tuple[str, Call]]:
        return (
            (f"{name}/answer", call)
            for name, call in self._calls.items()
            if call and name not in self._strange
        )

    def not_judged(self) -> Iterator[str]:
        """Ids of those that were forgotten before they were used again, or told by other rules."""
        return (f"{name}/answer" for name in self._strange)


def of_case(events: Iterable[CaseEvent], terms: Terms) -> Iterator[tuple[str, Call, int | None]]:
    """Follow-ups of one case: id, content, and the instant from which time alone calls for it, if it does."""
    found = [one for one in events if one.action in ACTIONS]
    last = max((one.at for one in found), default=0)
    for life in lives(found, terms.forget_ms):
        ended = breach(life, terms)
        told: list[tuple[str, int, int | None]] = [(_REOPENED, at, None) for at in life.times[REOPENED]]
        if ended is not None and ended[1]:
            told.append((SLA_BREACH, ended[0], None if (ended[2] or 0) <= last else ended[2]))
        first = life.opening
        for kind, at, due in told:
            if kind in terms.calls:
                place = _named(first.touchpoint, first.channel, first.segment)
                whom = first.customer_id or None, first.case_id
                call = Call(kind, at, at + terms.calls[kind], *place, *whom, None, None, first.priority)
                yield f"{first.case_id}/{kind}/{at}", call, due


class Expected(NamedTuple):
    """By follow_up_id: those that must be there, those that may be already, and those that are not judged.

    Attributes:
        earlier: cases that were heard of under other rules: nothing of theirs is judged.
        since: by other rules an answer from before may have called for one, too; milliseconds since 1970.
    """

    must: dict[str, Call]
    may: dict[str, Call]
    ignored: set[str]
    earlier: set[str]
    since: int

    def differences(self, stored: Iterable[tuple[str, Call]]) -> dict[tuple[str, str], tuple[Any, Any]]:
        """What differs: ("follow-up", id) -> (recounted, stored).

        There may be millions stored: they are looked at in passing.
        """
        found: dict[str, tuple[Call | None, Call | None]] = {}
        missing = set(self.must)
        for name, one in stored:
            missing.discard(name)
            call = self.must.get(name) or self.may.get(name)
            if call != one:
                found[name] = call, one
        found |= {name: (self.must[name], None) for name in missing}
        return {
            ("follow-up", name): (call and call._asdict(), there and there._asdict())
            for name, (call, there) in sorted(found.items())
            if not self._is_ignored(name, call, there)
        }

    def _is_ignored(self, name: str, call: Call | None, stored: Call | None) -> bool:
        if call is None and stored is not None and stored.occurred_at < self.since + HOUR_MS:
            return True
        one = call or stored
        if one is not None and one.kind in (SLA_BREACH, _REOPENED) and one.case_id in self.earlier:
            return True
        return name in self.ignored


def joined(parts: Iterable[Expected]) -> Expected:
    """Those of several inputs."""
    whole = Expected({}, {}, set(), set(), 0)
    for one in parts:
        whole = whole._replace(since=max(whole.since, one.since))
        whole.must.update(one.must)
        whole.may.update(one.may)
        whole.ignored.update(one.ignored)
        whole.earlier.update(one.earlier)
    return whole


def stored_calls(client: Client) -> Iterator[tuple[str, Call]]:
    """Of each follow-up the newest revision, unless that takes it back."""
    rows = frame(
        client,
        f"""
        SELECT follow_up_id, kind, toUnixTimestamp64Milli(occurred_at) AS at,
            toUnixTimestamp64Milli(due_at) AS due, touchpoint, channel, nullIf(segment, '') AS named,
            nullIf(customer_id, '') AS customer, case_id, instrument, toInt64(score) AS score, priority
        FROM
        (
            SELECT * FROM follow_ups WHERE kafka_partition < {_ASIDE}
            ORDER BY revision DESC, kafka_time, kafka_partition, kafka_offset LIMIT 1 BY follow_up_id
        )
        WHERE NOT retracted
        """,  # noqa: S608 - a number of ours
    )
    text = rows.with_columns(pl.col("kind", "touchpoint", "channel").cast(pl.String))
    return ((name, Call(*call)) for name, *call in text.iter_rows())


def _named(touchpoint: str, channel: str, segment: str | None) -> tuple[str, str, str | None]:
    """An empty segment is none."""
    return touchpoint, channel, segment or None
