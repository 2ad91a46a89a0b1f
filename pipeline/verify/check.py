"""`verify`: the recount beside what the store tells. What differs is looked at again, since the stream moves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import polars as pl
from clickhouse_connect.driver.client import Client

from pipeline.verify import told
from pipeline.verify.calls import joined, stored_calls
from pipeline.verify.cells import ALWAYS, differing, since, slices, span_of
from pipeline.verify.clocks import MEASURES
from pipeline.verify.hours import MINUTE_MS
from pipeline.verify.raw import KINDS, Kind, RawTable
from pipeline.verify.rebuilt import newest_run, rebuilt
from pipeline.verify.recount import EXPECTED, Recount
from pipeline.verify.result import MOST_DETAILS, Result, detail
from pipeline.verify.stages import Pace, await_archive, roll_is_behind
from pipeline.verify.suspects import Key, Suspect, Suspects
from pipeline.verify.terms import Terms
from pipeline.verify.told import Names, Outcomes, Place
from pipeline.verify.versions import DEAD_LETTER

_NEVER = 4_102_444_800_000  # 2100, in milliseconds: all that was heard of was heard of before these rules


class Bar(Protocol):
    """Shows how far it is."""

    def advance(self, count: float = 1) -> None:
        """So many more offsets are recounted."""

    def say(self, text: str) -> None:
        """What is being done."""


class Verification:
    """One run of `feedback verify`.

    Args:
        client: of the store; it only reads.
        prefix: of the topics.
        horizons: milliseconds, by input.
        raw_retention: seconds.
        pace: how patiently.
        terms: what the configuration says of cases and answers.
    """

    def __init__(
        self,
        client: Client,
        prefix: str,
        horizons: Mapping[Kind, int],
        raw_retention: float,
        pace: Pace,
        terms: Terms,
    ) -> None:
        self._client = client
        self._pace = pace
        self._since = told.rules_since(client, terms.rules)
        terms = replace(terms, since=_NEVER if self._since is None else self._since)
        metrics = told.metrics_of_instruments(client)
        changed = told.horizons_since(client)
        oldest = round((time.time() - raw_retention) * 1000)
        surveys = dict.fromkeys(metrics, told.SURVEY)
        self._tables = {kind: RawTable(client, kind, surveys) for kind in KINDS}
        self._recounts = {
            f"{prefix}.{kind}": Recount(
                self._tables[kind], f"{prefix}.{kind}", horizons[kind], changed.get(kind, 0), oldest, terms
            )
            for kind in KINDS
        }
        self._mapping = metrics
        self._prefix = prefix
        restart = told.restart(client)
        self._begins, self._kept_before = restart.begins, restart.kept_before
        self._rebuilt: dict[str, int] | None = None  # None: there was no rebuild
        self._dead: dict[Place, Counter[int]] = {}
        self._cells = self._looks = 0
        self._calls: int | None = 0  # None: they are not judged
        self._partitions: list[dict[str, Any]] = []

    def begin(self) -> int:
        """How many offsets there are to recount."""
        now = told.outcomes(self._client, self._recounts)
        for topic, recount in self._recounts.items():
            begins = {p: offset for (t, p), offset in self._begins.items() if t == topic}
            recount.begin(told.first_days(now, topic), begins)
        return sum(
            max(0, last - self._recounts[t].position.get(p, -1)) for (t, p), last in now.applied.items()
        )

    def run(self, bar: Bar) -> Result:
        """Recount and compare; look again at what differs until it stands still or vanishes."""
        started, suspects = 0.0, Suspects(self._pace.still)
        while True:
            now = self._recounted(bar)
            outcomes = self._outcome_differences(now)
            deltas = told.deltas(self._client, self._recounts)
            found = {**outcomes, **self._cell_differences(suspects), **self._call_differences()}
            self._looks += 1
            at = time.monotonic()
            suspects.look(at, found, deltas)
            differences = suspects.settled(at)
            started = started or at  # the first recount may take long
            late = at - started > self._pace.most
            if late and (behind := suspects.waits_for_the_roll(at)):
                raise roll_is_behind(behind[0])
            if late or len(differences) == len(suspects.found):
                return self._result({**differences, **self._after_rebuild(bar)}, len(suspects.found))
            bar.say(f"looking again at {len(suspects.found)}")
            time.sleep(self._pace.pause)

    def _after_rebuild(self, bar: Bar) -> dict[Key, Suspect]:
        """What live and rebuild cells together do not tell as they must, in two looks alike."""
        if (run := newest_run(self._client)) is None:
            return {}
        bar.say("looking at what was rebuilt")
        begins = max((one.begins or 0 for one in self._recounts.values()), default=0)
        begins = max(begins, self._kept_before)
        found = rebuilt(self._client, self._prefix, run, begins)
        if found.wrong:
            time.sleep(self._pace.still)
            again = rebuilt(self._client, self._prefix, run, begins)
            found = again._replace(wrong=dict(found.wrong.items() & again.wrong.items()))
        self._rebuilt = {"waiting": found.waiting, "twice": found.twice}
        return {key: Suspect(*sides, 0.0, {}) for key, sides in found.wrong.items()}

    def _recounted(self, bar: Bar) -> Outcomes:
        """Recount up to where the tally is, once the archive is there, too."""
        now = told.outcomes(self._client, self._recounts)
        await_archive(self._client, now.applied, self._pace)
        for topic, recount in self._recounts.items():
            to = {p: last for (t, p), last in now.applied.items() if t == topic}
            recount.advance(to, bar.advance)
        self._dead = {
            place: told.dead_letters(self._client, place, self._begins.get(place, 0), to)
            for place, to in now.applied.items()
        }
        return now

    def _outcome_differences(self, now: Outcomes) -> dict[Key, tuple[int, int]]:
        counts: Counter[tuple[str, int, int, str]] = Counter()
        for topic, recount in self._recounts.items():
            counts.update({(topic, *key): n for key, n in recount.outcomes.items()})
        for (topic, partition), days in self._dead.items():
            counts.update({(topic, partition, day, DEAD_LETTER): n for day, n in days.items()})
        self._note_partitions(now, counts)
        return {
            ("outcome", *key): (counts[key], now.counts.get(key, 0))
            for key in sorted(counts.keys() | now.counts.keys())
            if counts[key] != now.counts.get(key, 0) and self._recounts[key[0]].judged(key[1], key[2])
        }

    def _note_partitions(self, now: Outcomes, counts: Mapping[tuple[str, int, int, str], int]) -> None:
        """What each partition holds: an offset without a record is a transaction marker, or expired unread."""
        self._partitions = []
        for (topic, partition), last in sorted(now.applied.items()):
            mine = (topic, partition)
            recounted = sum(n for key, n in counts.items() if key[:2] == mine)
            self._partitions.append(
                {
                    "topic": topic,
                    "partition": partition,
                    "to_offset": last,
                    "records": sum(n for key, n in now.counts.items() if key[:2] == mine),
                    "raw_rows": self._recounts[topic].rows[partition],
                    "dead_letters": self._dead[mine].total(),
                    "offsets_without_record": last + 1 - self._begins.get(mine, 0) - recounted,
                }
            )

    def _cell_differences(self, suspects: Suspects) -> dict[Key, tuple[Any, Any]]:
        (known, ruled_from), cells = self._expected(), 0
        found: dict[Key, tuple[Any, Any]] = {}
        for first, last in slices(known["minute"], *span_of(suspects)):
            wrong, looked_at = self._compared(known, ruled_from, first, last)
            found |= wrong
            cells += looked_at
        self._cells = max(self._cells, cells)
        return found

    def _compared(
        self, known: pl.DataFrame, ruled_from: Mapping[int, int], first: int, last: int
    ) -> tuple[dict[Key, tuple[Any, Any]], int]:
        """The differences among the cells of some minutes, and how many cells were looked at."""
        wanted = known.filter(pl.col("minute").is_between(first, last))
        begins = max((one.begins or -ALWAYS for one in self._recounts.values()), default=-ALWAYS)
        stored = since(told.cells(self._client, max(first, begins), last), ruled_from)
        return differing(wanted, self._covered(stored), begins)

    def _call_differences(self) -> Mapping[Key, tuple[Any, Any]]:
        """Follow-ups: as long as all is there that they hang on."""
        if not all(one.whole for one in self._recounts.values()):
            self._calls = None
            return {}
        parts = [one.calls(round(time.time() * 1000)) for one in self._recounts.values()]
        self._calls = sum(len(one.must) for one in parts)
        return joined(parts).differences(stored_calls(self._client))

    def _expected(self) -> tuple[pl.DataFrame, Mapping[int, int]]:
        """Cells as they must be, and of leaves that hang on rules the first minute that is judged."""
        ruled_from: dict[int, int] = {}
        parts = [one.cells() for one in self._recounts.values()]
        if self._clocks_covered:
            hashes = told.resolution_leaves(self._client)
            now = round(time.time() * 1000)
            cases = [one for one in self._recounts.values() if one.kind == "touchpoints"]
            parts += [one.case_cells(hashes, now) for one in cases]
            ruled_from = {leaf: at for one in cases for leaf, at in one.ruled_from(hashes).items()}
        return since(pl.concat(parts).select(*EXPECTED), ruled_from), ruled_from

    @property
    def _clocks_covered(self) -> bool:
        """A case needs all of its events: no judgement where some of them were dropped."""
        return all(one.whole for one in self._recounts.values() if one.kind == "touchpoints")

    def _covered(self, stored: pl.DataFrame) -> pl.DataFrame:
        """Without cells that the recount does not know how to make."""
        leaves = told.leaves_told(self._client)
        skipped = [leaf for leaf, names in leaves.items() if not self._is_covered(names)]
        return stored.filter(~pl.col("leaf").is_in(pl.Series(skipped, dtype=pl.UInt64).implode()))

    def _is_covered(self, names: Names) -> bool:
        if (names.metric, names.instrument) in MEASURES:
            return self._clocks_covered
        return names.metric == "touchpoints" or told.is_survey(names.metric)

    def _result(self, still: Mapping[Key, Suspect], found: int) -> Result:
        leaves = told.leaves_told(self._client)
        if any(key[0] in ("cell", "rebuilt") and key[1] not in leaves for key in still):
            mapped = [RawTable(self._client, kind, self._mapping) for kind in KINDS]
            for table in (*self._tables.values(), *mapped):
                leaves |= table.leaves()
            leaves |= {leaf: names for names, leaf in told.resolution_leaves(self._client).items()}
            leaves |= told.leaves_told(self._client, mapped=True)
        details = [detail(key, one, leaves) for key, one in sorted(still.items(), key=str)[:MOST_DETAILS]]
        uncovered = sorted({(n.metric, n.instrument) for n in leaves.values() if not self._is_covered(n)})
        other = sorted(
            {
                (n.metric, n.instrument)
                for n in told.leaves_told(self._client, mapped=True).values()
                if told.is_survey(n.metric) and self._mapping.get(n.instrument) != n.metric
            }
        )
        begins = [one.begins for one in self._recounts.values() if one.begins is not None]
        checked = {
            "raw_rows": sum(one.rows.total() for one in self._recounts.values()),
            "dead_letters": sum(days.total() for days in self._dead.values()),
            "cells": self._cells,
            "follow_ups": self._calls,
            "looks": self._looks,
            "still_moving": found - sum(key[0] != "rebuilt" for key in still),
            "rebuilt": self._rebuilt,
            "from": _iso(max(begins) * MINUTE_MS) if begins else None,
            "rules_since": _iso(self._since) if self._since else None,
            "rules_told": self._since is not None,
            "not_covered": [f"{metric}/{instrument}" for metric, instrument in uncovered],
            "other_mapping": [f"{metric}/{instrument}" for metric, instrument in other],
            "partitions": self._partitions,
        }
        return Result(len(still), checked, details)


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat()


def verify(
    client: Client,
    prefix: str,
    horizons: Mapping[Kind, int],
    raw_retention: float,
    terms: Terms,
    show: Callable[[int], Any],
    pace: Pace | None = None,
) -> Result:
    """Recompute outcomes and cells from the raw tables and compare them with the store's.

    Args:
        client: of the store; it only reads.
        prefix: of the topics.
        horizons: milliseconds, by input.
        raw_retention: seconds that raw rows are kept.
        show: given the number of offsets to recount, a context manager whose value shows progress.
        pace: how patiently differences are looked at again.
        terms: what the configuration says of cases and answers.
    """
    run = Verification(client, prefix, horizons, raw_retention, pace or Pace(), terms)
    with show(run.begin()) as bar:
        return run.run(bar)
