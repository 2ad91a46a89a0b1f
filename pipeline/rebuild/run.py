"""`rebuild`: recount minus live, span by span, as cells of origin 'rebuild'. Live cells are never touched.

The stream may move meanwhile: the recount goes up to the offsets that the tally has told, live cells may be a little
further. So a minute is rebuilt only when two looks, some seconds apart, found the same on all of its sides, and the
roll had published by the second what it was owed at the first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client

from pipeline.errors import FeedbackError
from pipeline.rebuild.difference import CELL, as_time_went, difference, digests, standing
from pipeline.rebuild.full import FullRecount
from pipeline.rebuild.stored import HOUR, Span, StoredCells, as_rows
from pipeline.stores.sink import Sink
from pipeline.verify import told
from pipeline.verify.check import Bar
from pipeline.verify.raw import DAY_MS, KINDS
from pipeline.verify.result import MOST_DETAILS, Result
from pipeline.verify.stages import Pace, await_archive, roll_is_behind
from pipeline.verify.terms import Terms
from pipeline.verify.told import Deltas, Outcomes

EVERYTHING = Span(0, 1 << 40)
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class _Look:
    """What differed in a span: `digests` by minute, when that was, and what the roll was owed then."""

    digests: pl.DataFrame
    at: float
    owed: Mapping[tuple[str, int, str], int]


class Rebuild:
    """One run of `feedback rebuild`.

    Args:
        client: of the store; it may write.
        prefix: of the topics.
        metrics: instrument -> metric, of the configuration.
        raw_retention: seconds.
        pace: how patiently.
        terms: what the configuration says of cases.
    """

    def __init__(
        self,
        client: Client,
        prefix: str,
        metrics: Mapping[str, str],
        raw_retention: float,
        pace: Pace,
        terms: Terms,
    ) -> None:
        self._client = client
        self._topics = {kind: f"{prefix}.{kind}" for kind in KINDS}
        self._pace = pace
        self._refuse_other_mapping(metrics)
        self._restart = told.restart(client)
        start = told.outcomes(client, self._topics.values())
        self._start = start.applied
        self.begins = self._held_from(start, round((time.time() - raw_retention) * 1000))
        cases = self.begins is None  # a case needs all of its events
        self._full = FullRecount(client, told.metrics_of_instruments(client), terms, cases=cases)
        self._stored = StoredCells(client, cases=cases)
        self._version = self._stored.next_version()
        self._sink = Sink(client)
        self._changed = self._compared = self._wrong = self._moving = 0
        self._details: list[dict[str, Any]] = []

    def spans(self, wanted: Span) -> list[Span]:
        """The pieces of what can be rebuilt of `wanted`."""
        first = wanted.first if self.begins is None else max(wanted.first, self.begins)
        return self._stored.spans(Span(first, wanted.stop))

    def run(self, wanted: Span, spans: Iterable[Span], bar: Bar) -> Result:
        """Look at each span, rebuild what stands still, and look again at the rest."""
        todo: dict[Span, _Look | None] = dict.fromkeys(spans)
        deadline = None
        while todo:
            todo = {
                span: look
                for span, before in todo.items()
                if (look := self._look(span, before, bar)) is not None
            }
            deadline = deadline or time.monotonic() + self._pace.most  # the first pass may take long
            if time.monotonic() > deadline:
                self._leave_open(todo.values())
                break
        if not self._wrong:
            self._note(wanted)
        return self._result(wanted)

    def _look(self, span: Span, before: _Look | None, bar: Bar) -> _Look | None:
        """One look at a span; None once nothing is left to look at again."""
        if before is None:
            bar.advance()
        else:
            bar.say("waiting until the last cells stand still")
            time.sleep(max(0.0, before.at + self._pace.still - time.monotonic()))
        applied = told.outcomes(self._client, self._topics.values()).applied
        await_archive(self._client, applied, self._pace)
        deltas = told.deltas(self._client, self._topics.values())
        at = time.monotonic()
        different = self._difference(span, applied)
        if before is not None and _published(before, deltas):
            settled = standing(different, before.digests)
            self._write(span, settled)
            different = different.join(settled, on=CELL, how="anti")
        return _Look(digests(different), at, deltas.owed) if len(different) else None

    def _difference(self, span: Span, applied: Mapping[tuple[str, int], int]) -> pl.DataFrame:
        counted = {place: begin - 1 for place, begin in self._restart.begins.items()} | dict(applied)
        to = {
            kind: {p: last for (t, p), last in counted.items() if t == topic}
            for kind, topic in self._topics.items()
        }
        full = self._full.cells(*span, to["responses"], to["touchpoints"])
        self._compared += len(full)
        stored = self._stored.cells(span)
        return difference(as_time_went(full, stored), stored)

    def _write(self, span: Span, settled: pl.DataFrame) -> None:
        """New rebuild cells; read again, since a difference that stays is an error."""
        if settled.is_empty():
            return
        self._sink.insert("cells", as_rows(settled, self._version))
        wanted = settled.select(*CELL, "wanted_n", "wanted_total")
        read = wanted.join(self._stored.cells(span), on=CELL, how="left")
        self._wrong += len(
            read.filter(
                (pl.col("wanted_n") != pl.col("rebuilt_n").fill_null(0))
                | (pl.col("wanted_total") != pl.col("rebuilt_total").fill_null(0))
            )
        )
        self._changed += len(settled)
        room = MOST_DETAILS - len(self._details)
        self._details += [_detail(row) for row in settled.sort(CELL).head(room).iter_rows(named=True)]

    def _leave_open(self, looks: Iterable[_Look | None]) -> None:
        """What moved all the time keeps the rebuild cells that it has."""
        deltas = told.deltas(self._client, self._topics.values())
        for look in looks:
            assert look is not None  # noqa: S101 - a pass leaves looks only, for mypy
            if behind := _behind(look, deltas):
                raise roll_is_behind(behind)
            self._moving += len(look.digests)

    def _note(self, wanted: Span) -> None:
        positions = {f"{topic}/{partition}": last for (topic, partition), last in self._start.items()}
        row = [self._version, *wanted, positions]
        self._client.insert("rebuilds", [row], ["version", "first_minute", "stop_minute", "positions"])

    def _held_from(self, start: Outcomes, oldest: int) -> int | None:
        """The first minute of which all raw rows are held; None if they all are.

        Args:
            start: what the store told when this run began.
            oldest: kafka_time before which the retention drops rows, milliseconds since 1970.
        """
        days = [day for _, _, day, _ in start.counts]
        earliest = min((day * DAY_MS for day in days), default=oldest)
        if self._restart.earliest is not None:
            earliest = min(earliest, self._restart.earliest)
        dropped = oldest // _MINUTE_MS + HOUR + 1 if earliest < oldest - DAY_MS else 0
        return max(dropped, self._restart.kept_before) or None

    def _refuse_other_mapping(self, metrics: Mapping[str, str]) -> None:
        known = told.metrics_of_instruments(self._client)
        other = sorted(name for name, metric in metrics.items() if known.get(name) != metric)
        if other:
            msg = f"the store does not know instrument {other[0]} as the configuration does: run `feedback setup` first"
            raise FeedbackError(msg)

    def _result(self, wanted: Span) -> Result:
        checked = {
            "cells": self._compared,
            "changed": self._changed,
            "still_moving": self._moving,
            "from": _iso(max(wanted.first, self.begins or 0)) if wanted.first or self.begins else None,
            "to": _iso(wanted.stop) if wanted.stop < EVERYTHING.stop else None,
            "not_covered": self._stored.not_covered(),
        }
        return Result(self._wrong, checked, self._details)


def rebuild(
    client: Client,
    prefix: str,
    metrics: Mapping[str, str],
    raw_retention: float,
    terms: Terms,
    wanted: Span,
    show: Callable[[int], AbstractContextManager[Bar]],
    pace: Pace | None = None,
) -> Result:
    """Make cells of origin 'rebuild' of what the raw tables hold and live counting left out.

    Args:
        client: of the store; it may write.
        prefix: of the topics.
        metrics: instrument -> metric, of the configuration.
        raw_retention: seconds that raw rows are kept.
        wanted: which minutes; EVERYTHING for all.
        show: given the number of spans, a context manager whose value shows progress.
        pace: how patiently it waits for what moves.
        terms: what the configuration says of cases.

    Returns:
        `differences`: cells that the store does not give back as they were written. `details`: the changed ones.

    Raises:
        FeedbackError: the archive or the roll is behind and does not catch up.
    """
    run = Rebuild(client, prefix, metrics, raw_retention, pace or Pace(), terms)
    spans = run.spans(wanted)
    with show(len(spans)) as bar:
        return run.run(wanted, spans, bar)


def _published(before: _Look, deltas: Deltas) -> bool:
    return _behind(before, deltas) is None


def _behind(before: _Look, deltas: Deltas) -> tuple[str, int] | None:
    """A source partition of which the roll has not published yet what it was owed then."""
    behind = sorted(key[:2] for key, number in before.owed.items() if deltas.done.get(key, 0) < number)
    return behind[0] if behind else None


def _detail(row: Mapping[str, Any]) -> dict[str, Any]:
    names = {name: row[name] for name in CELL[:5]}
    sides = {
        side: {"n": row[f"{column}n"], "total": row[f"{column}total"] / 1000}
        for side, column in (
            ("recounted", ""),
            ("live", "live_"),
            ("before", "rebuilt_"),
            ("after", "wanted_"),
        )
    }
    return {"kind": "cell", **names, "bucket": _iso(row["minute"]), "bin": row["bin"], **sides}


def _iso(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).isoformat()
