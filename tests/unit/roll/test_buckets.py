"""Buckets hold what was added, packed or not, whatever came when; what is packed is a fraction of what it was."""

from __future__ import annotations

from collections import Counter
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.measures.buckets import HOUR, Buckets, summed
from pipeline.measures.packed import CELL, Packed

CELLS = st.tuples(
    st.integers(0, 70_000), st.integers(0, 300), st.integers(-300, 300), st.integers(-(2**40), 2**40)
)
WEIGHED = CELLS.map(lambda cell: (*cell[:3], cell[2] * cell[1] * 1000))  # as of a survey


def rows(cells):
    return np.array(cells, CELL)


def counted(cells):
    """(leaf, column) -> (n, total), the slow way."""
    n, total = Counter(), Counter()
    for leaf, column, k, sum_ in cells.tolist():
        n[leaf, column] += k
        total[leaf, column] += sum_
    return {key: (n[key], total[key]) for key in n if n[key] or total[key]}


@given(st.lists(CELLS, max_size=20) | st.lists(WEIGHED, max_size=20))
def test_what_is_packed_comes_out_as_it_was(cells):
    packed = Packed(rows(cells))
    assert packed.rows().tolist() == cells
    assert len(packed) == len(cells)


@given(st.lists(CELLS, max_size=30))
def test_a_sum_holds_every_cell_once(cells):
    found = summed(rows(cells))
    assert counted(found) == counted(rows(cells))
    assert found[["leaf", "column"]].tolist() == sorted(counted(found))


added = st.lists(st.tuples(st.integers(0, 400), WEIGHED), min_size=1, max_size=8)


@given(
    st.lists(added | st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=40),
    st.sampled_from([1, HOUR]),
)
def test_any_course_of_adding_and_taking_equals_a_dictionary(steps, unit):
    buckets, held = Buckets(unit), []
    with patch("pipeline.measures.buckets._SMALL", 0), patch("pipeline.measures.buckets._PARTS", 2):
        for step in steps:
            if isinstance(step, list):
                step = sorted(step, key=lambda pair: pair[0])
                minutes = np.array([minute for minute, _ in step], np.int32)
                buckets.add(minutes, rows([cell for _, cell in step]))
                held += [(minute // unit * unit, cell) for minute, cell in step]
                continue
            first, end = sorted(step)
            inside = [cell for start, cell in held if first <= start < end]
            assert counted(np.concatenate([rows([]), *buckets.between(first, end)])) == counted(rows(inside))
            assert {start for start, _ in buckets.take(first, end)} == {
                s for s, _ in held if first <= s < end
            }
            held = [(start, cell) for start, cell in held if not first <= start < end]
        minutes, cells = buckets.rows()
        assert counted(cells) == counted(rows([cell for _, cell in held]))
        assert set(minutes.tolist()) <= {start for start, _ in held}


@pytest.mark.parametrize(("total", "most"), [(5000, 4.2), (None, 8.2)])
def test_a_minute_of_many_cells_is_small_once_the_next_ones_have_begun(total, most):
    rng, cells = np.random.default_rng(1), np.zeros(30_000, CELL)
    cells["leaf"], cells["column"] = np.divmod(np.arange(30_000), 5)
    cells["n"] = 1
    cells["total"] = total or rng.integers(0, 2**31, 30_000)
    buckets = Buckets(1)
    buckets.add(np.full(30_000, 7, np.int32), cells)
    assert buckets.nbytes == 24 * 30_000
    buckets.add(np.array([9], np.int32), cells[:1])
    assert buckets.nbytes < most * 30_000
