"""Cells, recounted and stored, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from pipeline.verify.ledger import CELL
from pipeline.verify.suspects import Key, Suspects

ALWAYS = 1 << 40  # minutes
_AT_ONCE = 2_000_000  # cells that are compared at once, of 200 bytes and more meanwhile


def differing(
    wanted: pl.DataFrame, stored: pl.DataFrame, begins: int
) -> tuple[dict[Key, tuple[Any, Any]], int]:
    """What differs, and how many cells were looked at.

    Args:
        wanted: recounted: leaf, minute, bin, n, total, whether it is `cold` (not judged), and how many more
            `maybe` count.
        stored: leaf, minute, bin, n, total.
        begins: the first minute that is judged.
    """
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


def since(cells: pl.DataFrame, first: Mapping[int, int]) -> pl.DataFrame:
    """Without those before the first minute of their leaf, where it has one."""
    bounds = pl.DataFrame([*first.items()], schema={"leaf": pl.UInt64, "first": pl.Int64}, orient="row")
    beside = cells.join(bounds, on="leaf", how="left", maintain_order="left")
    return beside.filter(pl.col("minute") >= pl.col("first").fill_null(-ALWAYS)).drop("first")


def slices(minutes: pl.Series, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The minutes from `first` to `last` in pieces of so many cells that comparing them takes little memory."""
    ends = minutes.filter(minutes.is_between(first, last)).sort()[_AT_ONCE::_AT_ONCE].unique().to_list()
    for end in sorted(ends):
        yield first, end
        first = end + 1
    yield first, last


def span_of(suspects: Suspects) -> tuple[int, int]:
    """The minutes that have to be looked at: all of them at first, then those of the suspects."""
    minutes = [key[2] for key in suspects.found if key[0] == "cell"]
    if suspects.first:
        return -ALWAYS, ALWAYS
    return (min(minutes), max(minutes)) if minutes else (0, -1)
