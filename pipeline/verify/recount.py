"""`Recount`: the raw rows of one input, recounted up to a point of each partition. It goes on from where it stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import polars as pl

from pipeline.verify.calls import Answers, Expected, of_case
from pipeline.verify.clocks import BY_RULES, Cases
from pipeline.verify.ledger import CELL, CHANGES, MINUTE_MS, Ledger
from pipeline.verify.raw import SPAN, Beginning, RawTable
from pipeline.verify.terms import Terms
from pipeline.verify.told import Names
from pipeline.verify.versions import NEVER

HOUR_MS = 3_600_000  # how far an app's clock may run ahead: see `in_future` among the dead letters
_FEW = 500_000  # rows of changes that are kept before they are added up
SUMS: dict[str, type[pl.DataType]] = {**CHANGES, "total": pl.Int64}
EXPECTED: dict[str, type[pl.DataType]] = {**SUMS, "maybe": pl.Int64}


class Sums:
    """Cells as sums of changes."""

    def __init__(self) -> None:
        self._sum = pl.DataFrame(schema=SUMS)
        self._parts: list[pl.DataFrame] = []
        self._rows = 0

    def add(self, changes: pl.DataFrame) -> None:
        """Rows of SUMS."""
        self._parts.append(changes)
        self._rows += len(changes)
        if self._rows > _FEW + len(self._sum):
            self.frame()

    def frame(self) -> pl.DataFrame:
        """One row a cell, also of those that came to nothing."""
        if self._rows:
            everything = pl.concat([self._sum, *self._parts])
            added = everything.group_by(CELL).agg(pl.col("n", "total").sum(), pl.col("cold").any())
            self._sum = added.select(*SUMS)
            self._parts, self._rows = [], 0
        return self._sum


class Recount:
    """One input.

    Args:
        table: its raw rows.
        topic: its full name.
        horizon: milliseconds.
        since: kafka_time from which on records are counted by that horizon, ms; 0: all of them.
        oldest: kafka_time before which rows may have been dropped by the retention of the raw table, ms.
        terms: of the configuration.
    """

    def __init__(
        self, table: RawTable, topic: str, horizon: int, since: int, oldest: int, terms: Terms
    ) -> None:
        self.topic = topic
        self.kind = table.kind
        self.outcomes: Counter[tuple[int, int, str]] = (
            Counter()
        )  # partition, day, outcome; without dead letters
        self.rows: Counter[int] = Counter()  # partition -> raw rows
        self.position: dict[int, int] = {}
        self._table = table
        self._horizon = horizon
        self._since = since
        self._oldest = oldest
        self._terms = terms
        self._sums = Sums()
        self._cases: dict[int, Cases] = {}
        self._answers: dict[int, Answers] = {}
        self._ledgers: dict[int, Ledger] = {}
        self._from: dict[int, Beginning] = {}

    def begin(self, told: Mapping[int, int], restarted: Mapping[int, int]) -> None:
        """Look where the raw table begins.

        Args:
            told: partition -> the first day of which the store tells outcomes. Rows were dropped where that lies
                before what the retention keeps.
            restarted: partition -> the offset at which live counting began anew, by a reset. Later rows alone are
                recounted, as they were counted: without memory of the earlier ones.
        """
        for partition, begin in restarted.items():
            self._open(partition, begin - 1)
        ours = self._table.arrived_since(self._since) if self._since else {}
        for partition, held in self._table.beginnings().items():
            first = ours.get(partition, held)
            dropped = first.offset > held.offset or held.late(told.get(partition), self._oldest)
            if dropped and first.offset > restarted.get(partition, -1):
                self._open(partition, first.offset - 1, first.time + HOUR_MS)
                self._from[partition] = first
            elif partition not in restarted:
                self._open(partition, first.offset - 1)

    @property
    def whole(self) -> bool:
        """All rows are there, and were counted by the horizon of now."""
        return not self._from

    @property
    def begins(self) -> int | None:
        """From which minute on cells can be judged; None from the first."""
        latest = max((one.time for one in self._from.values()), default=None)
        return None if latest is None else (latest + HOUR_MS) // MINUTE_MS + 1

    def judged(self, partition: int, day: int) -> bool:
        """Whether all that decides the outcomes of a day is still there."""
        ledger = self._ledgers.get(partition)
        return ledger is None or partition not in self._from or day > ledger.cold_day

    @property
    def remembered(self) -> int:
        """How many ids are remembered now."""
        return sum(map(len, self._ledgers.values()))

    def advance(self, to: Mapping[int, int], done: Callable[[int], None]) -> None:
        """Recount the raw rows up to these offsets, both partition by partition and included."""
        for partition, last in to.items():
            if partition not in self.position:
                self._open(partition, -1)
            while (after := self.position[partition]) < last:
                stop = min(after + SPAN, last)
                self._span(partition, after, stop)
                self.position[partition] = stop
                done(stop - after)

    def cells(self) -> pl.DataFrame:
        """Cells as they must be: columns of EXPECTED. Without those of cases."""
        return self._sums.frame().with_columns(maybe=pl.lit(0, pl.Int64))

    def case_cells(self, hashes: Mapping[Names, int], now: int) -> pl.DataFrame:
        """Cells of cases: columns of EXPECTED.

        What time alone tells (a promise is broken, one contact was enough) must count once the watermark of the
        partition has come to it. A worker to which nothing comes goes by its own clock, and may tell it earlier:
        `maybe` are observations that need not count yet.

        Args:
            hashes: of leaves.
            now: milliseconds since 1970.
        """
        counts: Counter[tuple[int, int, int]] = Counter()
        totals: Counter[tuple[int, int, int]] = Counter()
        maybe: Counter[tuple[int, int, int]] = Counter()
        for partition, cases in self._cases.items():
            passed = min(now, self._ledgers[partition].watermark)
            for seen in cases.observations():
                *names, minute, bin_, milliseconds, due = seen
                cell = hashes[Names(*names)], minute, bin_
                if due is None or due <= passed:
                    counts[cell] += 1
                    totals[cell] += milliseconds
                elif due <= now + HOUR_MS:
                    maybe[cell] += 1
        rows = [(*cell, counts[cell], False, totals[cell], maybe[cell]) for cell in counts | maybe]
        return pl.DataFrame(rows, schema=EXPECTED, orient="row")

    def ruled_from(self, hashes: Mapping[Names, int]) -> dict[int, int]:
        """Leaf -> the first minute in which the rules of now alone count there, of leaves that hang on rules at all.

        What was measured by others may lie in later minutes, too: at an instant that was still to come.
        """
        first = -(-self._terms.since // MINUTE_MS)
        if not first:
            return {}
        until: dict[tuple[str, str, str], int] = {}
        for cases in self._cases.values():
            for place, last in cases.earlier_until().items():
                until[place] = max(until.get(place, 0), last)
        return {
            leaf: max(first, until.get((names.touchpoint, names.channel, names.segment), 0) + 1)
            for names, leaf in hashes.items()
            if (names.metric, names.instrument) in BY_RULES
        }

    def calls(self, now: int) -> Expected:
        """Follow-ups: see `case_cells` for what time alone calls for."""
        expected = Expected({}, {}, set(), set(), self._terms.since)
        for answers in self._answers.values():
            expected.must.update(answers)
            expected.ignored.update(answers.not_judged())
        for partition, cases in self._cases.items():
            passed = min(now, self._ledgers[partition].watermark)
            expected.earlier.update(cases.earlier)
            for events in cases:
                for name, call, due in of_case(events, self._terms):
                    if due is None or due <= passed:
                        expected.must[name] = call
                    elif due <= now + HOUR_MS:
                        expected.may[name] = call
        return expected

    def _open(self, partition: int, after: int, cold_until: int = NEVER) -> None:
        self.position[partition] = after
        self._ledgers[partition] = Ledger(self._horizon, cold_until)
        self._cases[partition] = Cases(self._terms)
        self._answers[partition] = Answers(self._terms)

    def _span(self, partition: int, after: int, to: int) -> None:
        rows = self._table.rows(partition, after, to)
        if not len(rows):
            return
        span = self._ledgers[partition].take(rows)
        self.rows[partition] += len(rows)
        for (day, outcome), n in span.outcomes.items():
            self.outcomes[partition, day, outcome] += n
        points = pl.col("bin") * 1000 if self.kind == "responses" else pl.lit(0, pl.Int64)
        self._sums.add(span.changes.with_columns(total=points * pl.col("n")))
        if self.kind == "touchpoints":
            self._cases[partition].take(self._table.case_events(partition, after, to, span.counted))
        else:
            below_zero = rows.filter((pl.col("version") == 0) & pl.col("offset").is_in(list(span.replaced)))
            also = below_zero["offset"].to_list()
            answers = self._table.answers(partition, after, to, self._terms, also)
            held = pl.concat([span.counted, span.retracted]).rename("offset").to_frame()
            self._answers[partition].take(
                answers.join(held, on="offset", how="semi", maintain_order="left").iter_rows(), span.replaced
            )
