"""Scores of any window and time, computed by `measures` from the cells in the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from clickhouse_connect.driver.client import Client

from pipeline.measures.change import changes
from pipeline.measures.direction import Told, Verdict, verdicts
from pipeline.measures.instruments import Instrument
from pipeline.measures.scores import RESOLUTION, SHARES, Int32s, Int64s, Score, score_matrix
from pipeline.measures.windows import Window

DIMENSIONS = ("touchpoint", "channel", "segment")
RESPONSE_RATE = "response_rate"
_COUNTS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("metric", "instrument", *DIMENSIONS), pl.String),
    "bin": pl.Int32,
    "now": pl.Boolean,
    "n": pl.Int64,
}


@dataclass(frozen=True, slots=True)
class Line:
    """One score of one series; an empty dimension is the marginal over it.

    Attributes:
        metric: name of the score.
        instrument: '' where the metric has none.
        window: its name.
        touchpoint: or ''.
        channel: or ''.
        segment: or ''.
        score: the score, its interval and its n.
        at: where the window ends.
        change: against the window of the same length before it; None where nobody answered then.
        significant: whether that is more than chance would have it (`measures.change`); None if not known.
    """

    metric: str
    instrument: str
    window: str
    touchpoint: str
    channel: str
    segment: str
    score: Score
    at: datetime
    change: float | None
    significant: bool | None

    def as_json(self) -> dict[str, Any]:
        """With the keys of `feedback report --json`; numbers that are not known are null."""
        keys = ("metric", "instrument", "window", *DIMENSIONS)
        told = {key: getattr(self, key) for key in keys} | self.score._asdict()
        return told | {"at": self.at.isoformat(), "change": self.change, "significant": self.significant}


class Span(NamedTuple):
    """The minutes of a window, `first` up to `end`, and the one before it, which begins at `before`."""

    before: int
    first: int
    end: int


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
    spans = {window: _span(window, moment.timestamp(), now=at is None) for window in windows}
    asked = surveys(client, list(spans.values()), by)
    lines: list[Line] = []
    for (window, span), rates in zip(spans.items(), asked, strict=True):
        cells = pl.concat([_cells(client, span, by), rates])
        for (metric, instrument), group in cells.group_by("metric", "instrument", maintain_order=True):
            lines += _lines(str(metric), str(instrument), group, instruments, window, moment)
    return lines


def _span(window: Window, at: float, *, now: bool) -> Span:
    first, end = window.span_now(at) if now else window.span(at)
    return Span(first - window.seconds // 60, first, end)


def against_csat(lines: Iterable[Line]) -> list[Verdict]:
    """Effort instruments that run against CSAT at a touchpoint, each pair in the last of its windows that says so."""
    told = [
        Told(line.metric, line.instrument, line.window, line.touchpoint, line.score)
        for line in lines
        if line.touchpoint and not line.channel and not line.segment
    ]
    found = {(one.touchpoint, one.effort, one.csat): one for one in verdicts(told) if one.against}
    return list(found.values())


def _cells(client: Client, span: Span, by: Sequence[str]) -> pl.DataFrame:
    """Counts by series and bin: columns of _COUNTS."""
    columns, groups = _grouped(by, "metric", "instrument", "bin", "now")
    # Only names of our own are put into the text. The inner query hides the columns that `''` stands for.
    query = f"""
        SELECT metric, instrument, {columns}, bin, now, sum(counted.n) AS n
        FROM
        (
            SELECT metric, instrument, {"".join(f"{name}, " for name in _kept(by))} bin,
                bucket >= toDateTime({{first:Int64}} * 60) AS now, sum(cells.n) AS n
            FROM cells FINAL
            WHERE bucket >= toDateTime({{before:Int64}} * 60) AND bucket < toDateTime({{end:Int64}} * 60)
                AND metric != 'touchpoints'
            GROUP BY ALL
        ) AS counted
        GROUP BY GROUPING SETS ({groups})
        HAVING n != 0
        ORDER BY metric, instrument, {", ".join(DIMENSIONS)}, bin
    """  # noqa: S608 - names of our own, no values
    return _frame(client, query, span._asdict())


def surveys(client: Client, spans: Sequence[Span], by: Sequence[str]) -> list[pl.DataFrame]:
    """Surveys sent in each window and the one before it, each answered by its end (1) or not (0): columns of _COUNTS.

    They are matched once, for all windows together: that takes most of the time.
    """
    if not spans:
        return []
    columns, groups = _grouped(by, "number", "now", "bin")
    query = f"""
        SELECT '{RESPONSE_RATE}' AS metric, '' AS instrument, {columns}, bin, now, toInt64(count()) AS n, number
        FROM
        (
            SELECT intDiv(place - 1, 2) AS number, place % 2 = 0 AS now,
                {"".join(f"{name}, " for name in _kept(by))}
                ifNull(answered_at < toDateTime(stop * 60, 'UTC'), false) AS bin
            FROM surveys_between(first = toDateTime({{begin:Int64}} * 60, 'UTC'),
                stop = toDateTime({{end:Int64}} * 60, 'UTC'), until = toDateTime({{end:Int64}} * 60, 'UTC'))
            ARRAY JOIN arrayEnumerate({{starts:Array(Int64)}}) AS place, {{starts:Array(Int64)}} AS start,
                {{stops:Array(Int64)}} AS stop
            WHERE asked_at >= toDateTime(start * 60, 'UTC') AND asked_at < toDateTime(stop * 60, 'UTC')
        )
        GROUP BY GROUPING SETS ({groups})
        ORDER BY {", ".join(DIMENSIONS)}, bin
    """  # noqa: S608 - names of our own, no values
    parameters = {
        "begin": min(span.before for span in spans),
        "end": max(span.end for span in spans),
        "starts": [minute for span in spans for minute in (span.before, span.first)],
        "stops": [minute for span in spans for minute in (span.first, span.end)],
    }
    found = _frame(client, query, parameters, number=pl.Int64)
    return [found.filter(number=k).drop("number") for k in range(len(spans))]


def _kept(by: Sequence[str]) -> list[str]:
    return [name for name in DIMENSIONS if name in by]


def _grouped(by: Sequence[str], *keys: str) -> tuple[str, str]:
    """What to select of DIMENSIONS, and the grouping sets: every combination of `by`, each with `keys`."""
    kept = _kept(by)
    sets = [some for size in range(len(kept) + 1) for some in combinations(kept, size)]
    columns = ", ".join(name if name in kept else f"'' AS {name}" for name in DIMENSIONS)
    return columns, ", ".join(f"({', '.join((*keys, *one))})" for one in sets)


def _frame(
    client: Client, query: str, parameters: Mapping[str, Any], **more: type[pl.DataType]
) -> pl.DataFrame:
    rows = client.query(query, parameters=dict(parameters)).result_rows
    return pl.DataFrame(list(rows), schema=_COUNTS | more, orient="row")


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
    before, counts = (_histograms(cells.filter(now=now), rows, bins) for now in (False, True))
    changed = changes(metric, instrument, before, counts, bins)
    for score, columns in score_matrix(metric, instrument, counts, bins).items():
        for (touchpoint, channel, segment), row in rows.items():
            if columns.n[row] > 0:
                place = (touchpoint, channel, segment)
                yield Line(score, name, window.name, *place, columns.row(row), at, *changed[score].row(row))


def _histograms(cells: pl.DataFrame, rows: Mapping[tuple[str, ...], int], bins: Int32s) -> Int64s:
    """int64[series, bins] of these cells."""
    counts = np.zeros((len(rows), len(bins)), np.int64)
    at = [rows[key] for key in cells.select(DIMENSIONS).iter_rows()]
    counts[at, np.searchsorted(bins, cells["bin"].to_numpy())] = cells["n"].to_numpy()
    return counts
