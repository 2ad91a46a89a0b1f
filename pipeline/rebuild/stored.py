"""The cells in the store: what live counting and the last rebuild left there, and where new rebuild cells go."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import NamedTuple

import polars as pl
from clickhouse_connect.driver.client import Client

from pipeline.rebuild.difference import CELL, STORED
from pipeline.verify.ask import frame
from pipeline.verify.clocks import MEASURES

MOST_MINUTE = ((1 << 32) - 1) // 60  # what a DateTime holds
SPAN = 4_000_000  # raw rows and cells of a span, about
REBUILD = "rebuild"
HOUR = 60  # minutes by which an app's clock may run ahead
_MINUTE = "intDiv(toInt64(toUnixTimestamp(bucket)), 60)"
_HAPPENED = "intDiv(toUnixTimestamp64Milli(occurred_at), 60000)"
_SURVEYS = "(metric IN ('nps', 'csat', 'ces') OR startsWith(metric, 'net_'))"
_CASES = f"((toString(metric), toString(instrument)) IN ({', '.join(map(str, MEASURES))}))"


class Span(NamedTuple):
    """The minutes `first` up to, not including, `stop`, since 1970."""

    first: int
    stop: int


class StoredCells:
    """Cells of all origins.

    Args:
        client: of the store.
        cases: whether the clocks of cases are looked at, too.
    """

    def __init__(self, client: Client, *, cases: bool) -> None:
        self._client = client
        self._covered = f"({_SURVEYS} OR metric = 'touchpoints'{' OR ' + _CASES if cases else ''})"

    def cells(self, span: Span) -> pl.DataFrame:
        """Those of a span that the recount can make: columns of STORED. Parts are added up."""
        sides = ", ".join(
            f"toInt64(sumIf(n, origin = '{origin}')) AS {side}_n, "
            f"toInt64(round(sumIf(total, origin = '{origin}') * 1000)) AS {side}_total"
            for origin, side in (("live", "live"), (REBUILD, "rebuilt"))
        )
        rows = frame(
            self._client,
            f"""
            SELECT metric, instrument, touchpoint, channel, segment, {_MINUTE} AS minute, toInt64(bin) AS bin, {sides}
            FROM cells FINAL
            WHERE bucket >= toDateTime({{first:Int64}} * 60) AND bucket <= toDateTime({{last:Int64}} * 60)
                AND {self._covered}
            GROUP BY ALL
            """,  # noqa: S608 - names of our own, no values
            monthly=True,
            first=max(0, span.first),
            last=min(MOST_MINUTE, span.stop - 1),
        )
        return rows.select(*STORED).cast(STORED)  # type: ignore[arg-type]  # a mapping of types

    def spans(self, wanted: Span) -> list[Span]:
        """`wanted` up to now, cut into pieces of bearable size, of which none has things of two years in it.

        They leave nothing out: something may be due where nothing happened.
        """
        begin, stop = max(0, wanted.first), min(MOST_MINUTE + 1, wanted.stop)
        rows = frame(
            self._client,
            f"""
            SELECT minute, sum(n) AS n FROM
            (
                SELECT {_HAPPENED} AS minute, count() AS n FROM responses GROUP BY minute
                UNION ALL
                SELECT {_HAPPENED}, count() FROM touchpoints GROUP BY 1
                UNION ALL
                SELECT {_MINUTE}, count() FROM cells GROUP BY 1
            )
            WHERE minute >= {{first:Int64}} AND minute < {{stop:Int64}} GROUP BY minute ORDER BY minute
            """,  # noqa: S608 - names of our own, no values
            first=begin,
            stop=stop,
        )
        year = pl.from_epoch(pl.col("minute") * 60).dt.year()
        pieces = rows.with_columns(piece=(pl.col("n").cum_sum().over(year) - 1) // SPAN, year=year)
        firsts = pieces.group_by("year", "piece").agg(pl.col("minute").min())["minute"].sort().to_list()
        end = min(stop, max([int(time.time()) // 60 + HOUR, *rows["minute"].tail(1) + 1]))
        return [Span(*one) for one in pairwise([begin, *firsts[1:], end])] if begin < end else []

    def not_covered(self) -> list[str]:
        """Metric and instrument of live cells that no recount can make."""
        rows = frame(
            self._client,
            f"SELECT DISTINCT concat(metric, '/', instrument) FROM cells WHERE NOT {self._covered}",  # noqa: S608 - ours
        )
        return sorted(rows.to_series().to_list())

    def next_version(self) -> int:
        """One that is higher than that of every rebuild cell."""
        rows = frame(
            self._client,
            "SELECT toInt64(max(v)) FROM (SELECT max(version) AS v FROM cells WHERE origin = {origin:String} "
            "UNION ALL SELECT max(version) FROM rebuilds)",
            origin=REBUILD,
        )
        return int(rows.item()) + 1


def as_rows(different: pl.DataFrame, version: int) -> pl.DataFrame:
    """Rows of the table `cells`: what the rebuild cells have to be. Nothing is needed any more where n is 0."""
    return different.select(
        *CELL[:5],
        bucket=pl.col("minute") * 60_000,
        bin="bin",
        origin=pl.lit(REBUILD),
        part=pl.lit(0, pl.Int64),
        n="wanted_n",
        total=pl.col("wanted_total") / 1000,
        version=pl.lit(version, pl.UInt64),
    )
