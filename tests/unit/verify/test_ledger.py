"""The ledger against the plainest recount: the same rows in any spans, one dictionary."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.verify.clocks import duration_bin
from pipeline.verify.ledger import Ledger
from tests.support.recount import RESPONSES, Recount, _outcome

HORIZON = 5 * 60_000
ROW = st.tuples(st.integers(0, 12), st.integers(0, 15), st.integers(0, 3), st.booleans(), st.integers(1, 5))


def as_frame(rows, first):
    table = [
        (first + k, minute * 60_000 + k % 7, 20_000, identity, revision * 2 + retracted, 99, score)
        for k, (identity, minute, revision, retracted, score) in enumerate(rows)
    ]
    names = ("offset", "at", "day", "id", "version", "leaf", "bin")
    return pl.DataFrame(
        table,
        schema={name: pl.UInt64 if name in ("id", "leaf") else pl.Int64 for name in names},
        orient="row",
    )


def plain(rows):
    outcomes, result, known, watermark = Counter(), Recount(), {}, -(10**18)
    for row in rows.iter_rows(named=True):
        record = {
            "response_id": row["id"],
            "revision": row["version"] // 2,
            "retracted": row["version"] % 2,
            "instrument": "csat_1_5",
            "touchpoint": "t",
            "channel": "c",
            "segment": None,
            "score": row["bin"],
            "occurred_at": datetime.fromtimestamp(row["at"] / 1000, UTC),
        }
        limit, watermark = watermark - HORIZON, max(watermark, row["at"])
        outcomes[_outcome(result, known, record, row["at"], limit, RESPONSES)] += 1
    return outcomes, {(cell[5], cell[6]): n for cell, n in result.cells.items() if n}


@settings(max_examples=300)
@given(st.lists(ROW, max_size=60), st.lists(st.integers(1, 20), min_size=1, max_size=20))
def test_any_spans_give_what_a_dictionary_gives(rows, cuts):
    frame, ledger = as_frame(rows, 0), Ledger(HORIZON)
    outcomes, cells, at = Counter(), Counter(), 0
    while at < len(frame):
        size = cuts[at % len(cuts)]
        span = ledger.take(frame.slice(at, size))
        at += size
        outcomes.update({outcome: n for (_, outcome), n in span.outcomes.items()})
        for minute, bin_, n in span.changes.select("minute", "bin", "n").iter_rows():
            cells[minute, bin_] += n
        assert len(ledger) <= 13
    wanted = plain(frame)
    assert outcomes == wanted[0]
    assert {cell: n for cell, n in cells.items() if n} == wanted[1]


@given(st.integers(1, 10**12))
def test_a_duration_lies_in_its_bin(milliseconds):
    k = duration_bin(milliseconds)
    seconds = milliseconds / 1000
    assert 2 ** ((k - 1) / 8) <= seconds * (1 + 1e-12)
    assert seconds <= 2 ** (k / 8) * (1 + 1e-12)


def test_durations_on_an_edge_belong_below_it():
    assert [duration_bin(ms) for ms in (0, 1, 1000, 1001, 2000, 4000)] == [-1000, -79, 0, 1, 8, 16]


def test_what_came_before_the_raw_rows_is_not_judged():
    ledger = Ledger(HORIZON, cold_until=20 * 60_000)
    rows = as_frame([(1, 10, 0, False, 3), (2, 27, 0, False, 3), (3, 27, 0, False, 4)], 100)
    assert ledger.take(rows.with_columns(day=pl.Series([7, 8, 9]))).changes["cold"].to_list() == [
        True, True, False,
    ]  # fmt: skip
    assert ledger.cold_day == 8


def test_what_a_version_replaces_is_told_also_across_spans_and_not_once_it_is_forgotten():
    rows = as_frame([(1, 0, 0, False, 1), (1, 1, 1, False, 2), (2, 1, 0, False, 3), (1, 9, 2, False, 4)], 0)
    rows = pl.concat([rows, as_frame([(1, 9, 3, True, 5), (2, 9, 4, False, 5)], 4)])
    ledger = Ledger(HORIZON)
    told = [dict(ledger.take(part).replaced) for part in (rows[:1], rows[1:3], rows[3:5], rows[5:])]
    # Offset 3 comes nine minutes in, with the watermark still at one: 1 is remembered. 5 comes behind the horizon of 2.
    assert told == [{}, {1: 0}, {3: 1, 4: 3}, {}]
