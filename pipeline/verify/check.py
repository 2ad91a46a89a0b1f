"""`verify`: the recount beside what the store tells. What differs is looked at again, since the stream moves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import polars as pl
from clickhouse_connect.driver.client import Client

from pipeline.verify import told
from pipeline.verify.clocks import MEASURES
from pipeline.verify.ledger import CELL
from pipeline.verify.raw import KINDS, Kind, RawTable
from pipeline.verify.rebuilt import newest_run, rebuilt
from pipeline.verify.recount import EXPECTED, Recount
from pipeline.verify.result import MOST_DETAILS, Result, detail
from pipeline.verify.stages import Pace, await_archive, roll_is_behind
from pipeline.verify.suspects import Key, Suspect, Suspects
from pipeline.verify.terms import Terms
from pipeline.verify.told import Names, Outcomes, Place
from pipeline.verify.versions import DEAD_LETTER

_ALWAYS = 1 << 40  # minutes
_AT_ONCE = 2_000_000  # cells that are compared at once, of 200 bytes and more meanwhile


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
        metrics = told.metrics_of_instruments(client)
        oldest = round((time.time() - raw_retention) * 1000)
        surveys = dict.fromkeys(metrics, told.SURVEY)
        self._tables = {kind: RawTable(client, kind, surveys) for kind in KINDS}
        self._recounts = {
            f"{prefix}.{kind}": Recount(self._tables[kind], f"{prefix}.{kind}", horizons[kind], oldest, terms)
            for kind in KINDS
        }
        self._mapping = metrics
        self._prefix = prefix
        restart = told.restart(client)
        self._begins, self._kept_before = restart.begins, restart.kept_before
        self._rebuilt: dict[str, int] | None = None  # None: there was no rebuild
        self._dead: dict[Place, Counter[int]] = {}
        self._cells = self._looks = 0
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
            cells = self._cell_differences(suspects)
            self._looks += 1
            at = time.monotonic()
            suspects.look(at, {**outcomes, **cells}, deltas)
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
        known, cells = self._expected(), 0
        found: dict[Key, tuple[Any, Any]] = {}
        for first, last in _slices(known["minute"], *_span_of(suspects)):
            wrong, looked_at = self._compared(known, first, last)
            found |= wrong
            cells += looked_at
        self._cells = max(self._cells, cells)
        return found

    def _compared(self, known: pl.DataFrame, first: int, last: int) -> tuple[dict[Key, tuple[Any, Any]], int]:
        """The differences among the cells of some minutes, and how many cells were looked at."""
        wanted = known.filter(pl.col("minute").is_between(first, last))
        begins = max((one.begins or -_ALWAYS for one in self._recounts.values()), default=-_ALWAYS)
        stored = told.cells(self._client, max(first, begins), last)
        stored = self._covered(stored)
        both = wanted.join(stored, on=CELL, how="full", coalesce=True, suffix="_stored").with_columns(
            pl.col("n", "total", "n_stored", "total_stored", "maybe").fill_null(0),
            pl.col("cold").fill_null(False),
        )
        as_counted = pl.col("n_stored").is_between(pl.col("n"), pl.col("n") + pl.col("maybe"))
        different = ~as_counted | (pl.col("total") != pl.col("total_stored"))
        wrong = both.filter(different & ~pl.col("cold") & (pl.col("minute") >= begins))
        differences = {
            ("cell", leaf, minute, bin_): ((n, total / 1000), (n_stored, total_stored / 1000))
            for leaf, minute, bin_, n, total, n_stored, total_stored in wrong.select(
                *CELL, "n", "total", "n_stored", "total_stored"
            ).iter_rows()
        }
        return differences, len(both)

    def _expected(self) -> pl.DataFrame:
        parts = [one.cells() for one in self._recounts.values()]
        if self._clocks_covered:
            hashes = told.resolution_leaves(self._client)
            now = round(time.time() * 1000)
            cases = (one for one in self._recounts.values() if one.kind == "touchpoints")
            parts += [one.case_cells(hashes, now) for one in cases]
        return pl.concat(parts).select(*EXPECTED)

    @property
    def _clocks_covered(self) -> bool:
        """A case needs all of its events: no judgement where some of them were dropped."""
        return all(one.whole for one in self._recounts.values() if one.kind == "touchpoints")

    def _covered(self, stored: pl.DataFrame) -> pl.DataFrame:
        """Without cells that the recount does not know how to make."""
        skipped = [
            leaf for leaf, names in told.leaves_told(self._client).items() if not self._is_covered(names)
        ]
        return stored.filter(~pl.col("leaf").is_in(pl.Series(skipped, dtype=pl.UInt64).implode()))

    def _is_covered(self, names: Names) -> bool:
        if (names.metric, names.instrument) in MEASURES:
            return self._clocks_covered
        return names.metric == "touchpoints" or told.is_survey(names.metric)

    def _result(self, still: Mapping[Key, Suspect], found: int) -> Result:
        leaves = told.leaves_told(self._client)
        if any(key[0] != "outcome" and key[1] not in leaves for key in still):
            leaves |= {
                leaf: names for table in self._tables.values() for leaf, names in table.leaves().items()
            }
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
            "looks": self._looks,
            "still_moving": found - sum(key[0] != "rebuilt" for key in still),
            "rebuilt": self._rebuilt,
            "from": datetime.fromtimestamp(max(begins) * 60, UTC).isoformat() if begins else None,
            "not_covered": [f"{metric}/{instrument}" for metric, instrument in uncovered],
            "other_mapping": [f"{metric}/{instrument}" for metric, instrument in other],
            "partitions": self._partitions,
        }
        return Result(len(still), checked, details)


def _slices(minutes: pl.Series, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The minutes from `first` to `last` in pieces of so many cells that comparing them takes little memory."""
    ends = minutes.filter(minutes.is_between(first, last)).sort()[_AT_ONCE::_AT_ONCE].unique().to_list()
    for end in sorted(ends):
        yield first, end
        first = end + 1
    yield first, last


def _span_of(suspects: Suspects) -> tuple[int, int]:
    """The minutes that have to be looked at: all of them at first, then those of the suspects."""
    minutes = [key[2] for key in suspects.found if key[0] == "cell"]
    if suspects.first:
        return -_ALWAYS, _ALWAYS
    return (min(minutes), max(minutes)) if minutes else (0, -1)


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
