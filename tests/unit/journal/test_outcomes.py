"""Outcomes against a plain dictionary: any records, cut into any batches."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.journal.index import NAMES, NEVER, NO_CELL, Index
from pipeline.journal.outcomes import Arrivals, Outcome, repeats, settle

HORIZON = 100
Record = tuple[int, int, int, int]  # id, time, version, bin

records_of = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 400), st.integers(0, 5), st.integers(0, 10)), max_size=60
)


def arrivals_of(rows: list[Record], first: int) -> Arrivals:
    ids, times, versions, bins = (np.array(x, np.int64) for x in zip(*rows, strict=True))
    # two halves that collide on purpose: `a` tells only three ids apart
    return Arrivals(
        a=(ids % 3).astype(np.uint64),
        b=ids.astype(np.uint64),
        time=times * 1000,
        version=versions,
        series=bins.astype(np.int32),
        bin=bins.astype(np.int32),
    )


def oracle(rows: list[Record]) -> tuple[list[Outcome], dict[tuple[int, int], int]]:
    """One record at a time, as the definition says it."""
    known: dict[int, tuple[int, int, tuple[int, int] | None]] = {}
    cells: dict[tuple[int, int], int] = {}
    outcomes, watermark = [], NEVER
    for ident, time, version, bin_ in rows:
        at, limit = time * 1000, watermark - HORIZON * 1000
        watermark = max(watermark, at)
        if at < limit:
            outcomes.append(Outcome.LATE)
            continue
        before = known.get(ident)
        if before and before[0] < limit:
            before = None
        if before and version <= before[1]:
            outcomes.append(Outcome.DUPLICATE if version == before[1] else Outcome.STALE)
            known[ident] = (max(before[0], at), *before[1:])
            continue
        if before and before[2]:
            cells[before[2]] -= 1
        cell = None if version & 1 else (at // 60_000, bin_)
        if cell:
            cells[cell] = cells.get(cell, 0) + 1
        known[ident] = (max(before[0], at) if before else at, version, cell)
        outcomes.append(Outcome.RETRACTED if version & 1 else Outcome.COUNTED)
    return outcomes, {cell: n for cell, n in cells.items() if n}


@given(records_of, st.lists(st.integers(1, 60), max_size=10))
def test_the_same_log_in_any_batches_ends_as_the_definition_says(rows: list[Record], cuts: list[int]) -> None:
    index, watermark, place = Index(), NEVER, 0
    outcomes: list[Outcome] = []
    cells: dict[tuple[int, int], int] = {}
    for size in [*cuts, len(rows)]:
        batch = rows[place : place + size]
        if not batch:
            break
        arrivals = arrivals_of(batch, place)
        settled = settle(index, arrivals, HORIZON * 1000, watermark)
        index.put(settled.ids, places=settled.places)
        watermark, place = settled.watermark, place + len(batch)
        outcomes += [Outcome(o) for o in settled.outcome.tolist()]
        for row in np.flatnonzero(settled.outcome == Outcome.COUNTED):
            cell = (int(arrivals.time[row]) // 60_000, int(arrivals.bin[row]))
            cells[cell] = cells.get(cell, 0) + 1
        for minute, bin_ in zip(settled.gone.minute.tolist(), settled.gone.bin.tolist(), strict=True):
            cells[minute, bin_] -= 1
    assert (outcomes, {cell: n for cell, n in cells.items() if n}) == oracle(rows)


@given(records_of, st.lists(st.integers(1, 60), max_size=10), st.lists(st.booleans(), max_size=12))
def test_forgetting_decides_nothing(rows: list[Record], cuts: list[int], forget: list[bool]) -> None:
    """Two indices over one log, one of which forgets ids now and then: every batch ends the same."""
    patient, tidy, watermark, place = Index(), Index(), NEVER, 0
    for size, forgets in zip_longest([*cuts, len(rows)], forget[: len(cuts) + 1], fillvalue=False):
        batch = rows[place : place + size]
        if not batch:
            break
        arrivals = arrivals_of(batch, place)
        one, other = (settle(index, arrivals, HORIZON * 1000, watermark) for index in (patient, tidy))
        assert one.outcome.tolist() == other.outcome.tolist()
        for mine, theirs in ((one.ids, other.ids), (one.gone, other.gone)):
            assert all(getattr(mine, name).tolist() == getattr(theirs, name).tolist() for name in NAMES)
        patient.put(one.ids)
        tidy.put(other.ids)
        watermark, place = one.watermark, place + len(batch)
        if forgets:
            tidy.forget(watermark - HORIZON * 1000)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=80))
def test_repeats_names_the_first_row_and_the_turn(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array([p[k] for p in pairs], np.uint64) for k in (0, 1))
    first, turn = repeats(a, b)
    assert first.tolist() == [pairs.index(p) for p in pairs]
    assert turn.tolist() == [pairs[:k].count(p) for k, p in enumerate(pairs)]


def test_a_retracted_id_counts_nowhere_and_is_remembered() -> None:
    index = Index()
    settled = settle(index, arrivals_of([(1, 10, 1, 4)], 0), HORIZON * 1000, NEVER)
    assert settled.ids.series.tolist() == [NO_CELL]
    index.put(settled.ids)
    again = settle(index, arrivals_of([(1, 10, 0, 4), (1, 10, 1, 4)], 1), HORIZON * 1000, settled.watermark)
    assert [Outcome(o) for o in again.outcome] == [Outcome.STALE, Outcome.DUPLICATE]
