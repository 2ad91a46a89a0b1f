"""Recount minus live: what the cells of origin 'rebuild' have to be. Only arithmetic on columns."""

from __future__ import annotations

import polars as pl

CELL = ("metric", "instrument", "touchpoint", "channel", "segment", "minute", "bin")
# Counts, and totals in thousandths: whole numbers, so that adding them is exact.
RECOUNTED: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(CELL[:5], pl.String),
    "minute": pl.Int64,
    "bin": pl.Int64,
    "n": pl.Int64,
    "total": pl.Int64,
}
MAYBE: dict[str, type[pl.DataType]] = {"maybe": pl.Int64}
STORED: dict[str, type[pl.DataType]] = {
    **{name: RECOUNTED[name] for name in CELL},
    "live_n": pl.Int64,
    "live_total": pl.Int64,
    "rebuilt_n": pl.Int64,
    "rebuilt_total": pl.Int64,
}
_SIDES = ("n", "total", "live_n", "live_total", "rebuilt_n", "rebuilt_total")


def as_time_went(recounted: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """The recount where live counting may be ahead of it: up to `maybe` more is as right as what was counted.

    Args:
        recounted: columns of RECOUNTED and MAYBE.
        stored: columns of STORED.

    Returns:
        Columns of RECOUNTED.
    """
    both = recounted.join(stored.select(*CELL, "live_n"), on=CELL, how="left", nulls_equal=True)
    n, most = pl.col("n"), pl.col("n") + pl.col("maybe")
    return both.with_columns(n=pl.col("live_n").fill_null(0).clip(n, most)).select(*RECOUNTED)


def difference(recounted: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """The cells whose rebuild cell is not what it has to be.

    Args:
        recounted: columns of RECOUNTED: every cell as it must be in the end.
        stored: columns of STORED: the same cells as live counting left them, and as the last rebuild completed them.

    Returns:
        Columns of both, and `wanted_n` and `wanted_total`: recounted minus live, which may be negative.
    """
    both = recounted.join(stored, on=CELL, how="full", coalesce=True, nulls_equal=True).with_columns(
        pl.col(_SIDES).fill_null(0)
    )
    wanted = both.with_columns(
        wanted_n=pl.col("n") - pl.col("live_n"), wanted_total=pl.col("total") - pl.col("live_total")
    )
    n, total = (pl.col(f"wanted_{one}") != pl.col(f"rebuilt_{one}") for one in ("n", "total"))
    return wanted.filter(n | total)


def digests(different: pl.DataFrame) -> pl.DataFrame:
    """A number for each minute that says what differs in it: (minute, digest). Good for one process only."""
    rows = different.select("minute", digest=pl.struct(*CELL, *_SIDES).hash())
    return rows.group_by("minute").agg(pl.col("digest").sort().hash().implode().list.first())


def standing(different: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """Those rows whose minute reads as it did when `before` were its digests."""
    same = digests(different).join(before, on=["minute", "digest"], how="semi")
    return different.join(same, on="minute", how="semi")
