"""`Ledger`: the ids of one source partition within the horizon, and what a span of raw rows does to them.

Most ids of a span occur once and were never seen before: whole columns are enough for them. The others are taken one
record at a time by `versions.step`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from pipeline.verify.versions import COUNTED, LATE, NEVER, RETRACTED, Cell, Known, step

MINUTE_MS = 60_000
CELL = ("leaf", "minute", "bin")
_IDS: dict[str, type[pl.DataType]] = {
    "id": pl.UInt64,
    "until": pl.Int64,
    "version": pl.Int64,
    "offset": pl.Int64,
    "live": pl.Boolean,
}
_CELL: dict[str, type[pl.DataType]] = {"leaf": pl.UInt64, "minute": pl.Int64, "bin": pl.Int64}
CHANGES: dict[str, type[pl.DataType]] = {**_CELL, "n": pl.Int64, "cold": pl.Boolean}
_ENTANGLED = ("id", "at", "limit", "version", *CELL, "cold", "offset")


@dataclass(frozen=True, slots=True)
class Span:
    """What a span of raw rows did.

    Attributes:
        outcomes: (day since 1970, outcome) -> records.
        changes: columns of CHANGES: what came into cells and left them.
        counted: offsets of the records that count, of those that were looked at one by one or not.
        retracted: offsets of those that retract.
        replaced: offset of those of both kinds of which an earlier version was remembered -> the offset of that one.
    """

    outcomes: Counter[tuple[int, str]]
    changes: pl.DataFrame
    counted: pl.Series
    retracted: pl.Series
    replaced: Mapping[int, int]


class Ledger:
    """Ids of one source partition.

    Args:
        horizon: milliseconds.
        cold_until: while the watermark less the horizon is below this, ids may have been seen in rows that the raw
            table no longer holds: cells touched until then cannot be judged.
    """

    def __init__(self, horizon: int, cold_until: int = NEVER) -> None:
        self._horizon = horizon
        self._cold_until = cold_until
        self.watermark = NEVER
        self._ids = pl.DataFrame(schema=_IDS | _CELL)
        self.cold_day = -1  # the last day of which the outcomes cannot be judged

    def __len__(self) -> int:
        return len(self._ids)

    def take(self, rows: pl.DataFrame) -> Span:
        """Settle a span of rows: columns offset, at, day, id, version, leaf, bin, in the order of offsets."""
        rows = self._with_limits(rows)
        on_time = rows.filter(pl.col("at") >= pl.col("limit"))
        marks = on_time.select("id").unique()
        known = self._ids.join(marks, on="id", how="semi")
        again = on_time["id"].is_duplicated() | on_time["id"].is_in(known["id"].implode())
        single = _alone(on_time.filter(~again))
        several = _Several(known)
        several.take(on_time.filter(again))
        self._remember(known, single, several.frame())
        late = rows.filter(pl.col("at") < pl.col("limit")).select("day", outcome=pl.lit(LATE))
        outcomes = pl.concat([late, single.select("day", "outcome")])
        days = on_time.filter(again)["day"].to_list()
        told = Counter(zip(days, several.outcomes, strict=True))
        for day, outcome, n in outcomes.group_by("day", "outcome").len().iter_rows():
            told[day, outcome] += n
        came = single.filter("live")
        changes = pl.concat([came.select(*CELL, n=pl.lit(1, pl.Int64), cold="cold"), several.changed()])
        counted = pl.concat([came["offset"], pl.Series(several.counted, dtype=pl.Int64)])
        gone = pl.Series(several.retracted, dtype=pl.Int64)
        retracted = pl.concat([single.filter(~pl.col("live"))["offset"], gone])
        return Span(told, changes, counted, retracted, several.replaced)

    def _with_limits(self, rows: pl.DataFrame) -> pl.DataFrame:
        """With the watermark before each row less the horizon."""
        highest = np.maximum.accumulate(np.concatenate(([self.watermark], rows["at"].to_numpy())))
        self.watermark = int(highest[-1])
        limit = pl.Series("limit", highest[:-1] - self._horizon)
        rows = rows.with_columns(limit, minute=pl.col("at") // MINUTE_MS)
        rows = rows.with_columns(cold=pl.col("limit") < self._cold_until)
        if self._cold_until > NEVER and rows["cold"].any():
            self.cold_day = max(self.cold_day, int(rows.filter("cold")["day"].max()))  # type: ignore[arg-type]  # a number
        return rows

    def _remember(self, known: pl.DataFrame, single: pl.DataFrame, several: pl.DataFrame) -> None:
        """What changed replaces what was known; what the horizon has passed is forgotten."""
        rest = self._ids.join(known.select("id"), on="id", how="anti") if len(known) else self._ids
        limit = self.watermark - self._horizon
        ids = pl.concat([rest, single.select(*_IDS, *_CELL), several])
        self._ids = ids.filter(pl.col("until") >= limit)


def _alone(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of ids that are new and come once."""
    live = pl.col("version") % 2 == 0
    outcome = pl.when(live).then(pl.lit(COUNTED)).otherwise(pl.lit(RETRACTED))
    return rows.with_columns(until="at", live=live, outcome=outcome)


class _Several:
    """Ids with more to them than one record."""

    def __init__(self, known: pl.DataFrame) -> None:
        self.outcomes: list[str] = []
        self.counted: list[int] = []
        self.retracted: list[int] = []
        self.replaced: dict[int, int] = {}  # of both
        self._changes: list[tuple[Any, ...]] = []
        self._known = {
            identity: Known(until, version, offset, Cell(*cell) if live else None)
            for identity, until, version, offset, live, *cell in known.select(*_IDS, *_CELL).iter_rows()
        }

    def take(self, rows: pl.DataFrame) -> None:
        for identity, at, limit, version, leaf, minute, bin_, cold, offset in rows.select(
            _ENTANGLED
        ).iter_rows():
            before = self._known.get(identity)
            done = step(before, at, limit, version, offset, Cell(leaf, minute, bin_))
            if done.outcome == RETRACTED:
                self.retracted.append(offset)
            if done.outcome in (COUNTED, RETRACTED) and before is not None and before.until >= limit:
                self.replaced[offset] = before.offset
            if done.known is not None:
                self._known[identity] = done.known
            self.outcomes.append(done.outcome)
            if done.came is not None:
                self.counted.append(offset)
                self._changes.append((*done.came, 1, cold))
            if done.left is not None:
                self._changes.append((*done.left, -1, cold))

    def changed(self) -> pl.DataFrame:
        return pl.DataFrame(self._changes, schema=CHANGES, orient="row")

    def frame(self) -> pl.DataFrame:
        rows = [
            (identity, one.until, one.version, one.offset, one.cell is not None, *(one.cell or (0, 0, 0)))
            for identity, one in self._known.items()
        ]
        return pl.DataFrame(rows, schema=_IDS | _CELL, orient="row")
