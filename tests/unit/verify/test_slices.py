"""The pieces in which verify compares cells."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline.verify import cells

MINUTES = st.lists(st.integers(0, 40), max_size=60)


@given(MINUTES, st.integers(-1, 41), st.integers(-1, 41), st.integers(1, 9))
def test_each_minute_is_in_one_piece_and_no_piece_is_large(minutes, first, last, at_once):
    before, cells._AT_ONCE = cells._AT_ONCE, at_once
    try:
        pieces = list(cells.slices(pl.Series(minutes, dtype=pl.Int64), first, last))
    finally:
        cells._AT_ONCE = before
    covered = [minute for low, high in pieces for minute in range(low, high + 1)]
    assert covered == list(range(first, last + 1))
    for low, high in pieces:
        inside = [minute for minute in minutes if low <= minute <= high]
        assert len(inside) <= at_once + max((minutes.count(one) for one in inside), default=0)
