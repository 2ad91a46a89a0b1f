"""Scores of any window and time, computed by `measures` from the cells in the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from clickhouse_connect.driver.client import Client

from pipeline.measures.direction import Told, Verdict, verdicts
from pipeline.measures.instruments import Instrument
from pipeline.measures.scores import RESOLUTION, SHARES, Score, score_matrix
from pipeline.measures.windows import Window

DIMENSIONS = ("touchpoint", "channel", "segment")
_SERIES = ("metric", "instrument", *DIMENSIONS)


@dataclass(frozen=True, slots=True)
class Line:
    """One score of one series; an empty dimension is the marginal over it."""

    metric: str
    instrument: str
    window: str
    touchpoint: str
    channel: str
    segment: str
    score: Score
    at: datetime

    def as_json(self) -> dict[str, Any]:
        """With the keys of `feedback report --json`; numbers that are not known are null."""
        keys = ("metric", "instrument", "window", *DIMENSIONS)
        return {key: getattr(self, key) for key in keys} | self.score._asdict() | {"at": self.at.isoformat()}


def report(
    client: Client,
    instruments: Mapping[str, Instrument],
    windows: Iterable[Window],
    by: Sequence[str] = ("touchpoint",),
    at: datetime | None = None,
) -> list[Line]:
    """Every score with at least one answer.

    Args:
        client: of the store.
        instruments: in use; cells of others have no score.
        windows: which ones.
        by: which of DIMENSIONS to keep; every combination of them kept or summed is a series.
        at: where the windows end, aware; None for now, when the running minute counts too.
    """
    moment = at or datetime.now(UTC).replace(microsecond=0)
    lines: list[Line] = []
    for window in windows:
        seconds = moment.timestamp()
        first, end = window.span(seconds) if at else window.span_now(seconds)
        cells = _cells(client, first, end, by)
        for (metric, instrument), group in cells.group_by("metric", "instrument", maintain_order=True):
            lines += _lines(str(metric), str(instrument), group, instruments, window, moment)
    return lines


def against_csat(lines: Iterable[Line]) -> list[Verdict]:
    """Effort instruments that run against CSAT at a touchpoint, each pair in the last of its windows that says so."""
    told = [
        Told(line.metric, line.instrument, line.window, line.touchpoint, line.score)
        for line in lines
        if line.touchpoint and not line.channel and not line.segment
    ]
    found = {(one.touchpoint, one.effort, one.csat): one for one in verdicts(told) if one.against}
    return list(found.values())


def _cells(client: Client, first: int, end: int, by: Sequence[str]) -> pl.DataFrame:
    """Counts by series and bin of the minutes `first` up to `end`."""
    kept = [name for name in DIMENSIONS if name in by]
    sets = [some for size in range(len(kept) + 1) for some in combinations(kept, size)]
    groups = ", ".join(f"({', '.join(('metric', 'instrument', 'bin', *one))})" for one in sets)
    columns = ", ".join(name if name in kept else f"'' AS {name}" for name in DIMENSIONS)
    # Only names of our own are put into the text. The inner query hides the columns that `''` stands for.
    query = f"""
        SELECT metric, instrument, {columns}, bin, sum(counted.n) AS n
        FROM
        (
            SELECT metric, instrument, {"".join(f"{name}, " for name in kept)} bin, cells.n AS n
            FROM cells FINAL
            WHERE bucket >= toDateTime({{first:Int64}} * 60) AND bucket < toDateTime({{end:Int64}} * 60)
        ) AS counted
        GROUP BY GROUPING SETS ({groups})
        HAVING n != 0
        ORDER BY metric, instrument, {", ".join(DIMENSIONS)}, bin
    """  # noqa: S608 - names of our own, no values
    return _frame(client, query, {"first": first, "end": end})


def _frame(client: Client, query: str, parameters: Mapping[str, Any]) -> pl.DataFrame:
    rows = client.query(query, parameters=dict(parameters)).result_rows
    types = {**dict.fromkeys(_SERIES, pl.String), "bin": pl.Int32, "n": pl.Int64}
    return pl.DataFrame(list(rows), schema=types, orient="row")


def _lines(
    metric: str,
    name: str,
    cells: pl.DataFrame,
    instruments: Mapping[str, Instrument],
    window: Window,
    at: datetime,
) -> Iterator[Line]:
    """The scores of all series of one (metric, instrument)."""
    instrument = instruments.get(name)
    if instrument is None and metric not in (RESOLUTION, *SHARES):
        return
    bins = np.asarray(instrument.answers if instrument else cells["bin"].unique().sort(), np.int32)
    cells = cells.filter(pl.col("bin").is_in(bins))
    series = cells.select(DIMENSIONS).unique(maintain_order=True)
    rows = {key: row for row, key in enumerate(series.iter_rows())}
    counts = np.zeros((len(series), len(bins)), np.int64)
    at_row = [rows[key] for key in cells.select(DIMENSIONS).iter_rows()]
    counts[at_row, np.searchsorted(bins, cells["bin"].to_numpy())] = cells["n"].to_numpy()
    for score, columns in score_matrix(metric, instrument, counts, bins).items():
        for key, row in rows.items():
            if columns.n[row] > 0:
                touchpoint, channel, segment = key
                yield Line(score, name, window.name, touchpoint, channel, segment, columns.row(row), at)
