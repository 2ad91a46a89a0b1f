"""A journal record says the same after a round trip, and a newer format is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.journal.deltas import CellChanges
from pipeline.journal.effect import Effect, pack_effect
from pipeline.journal.index import Ids
from pipeline.journal.messages import Messages
from pipeline.journal.outcomes import Outcome
from pipeline.journal.pack import VERSION, NewerFormat, unpack
from pipeline.measures.cells import Series
from tests.support.single import unpack_effect

LEAF = Series("csat", "csat_1_5", "checkout", "web", "none")
int64 = st.integers(-(2**62), 2**62)


def ids_of(values: list[int]) -> Ids:
    wide = np.array(values, np.int64)
    small = np.array([v % 1000 - 500 for v in values], np.int32)
    return Ids(wide.astype(np.uint64), wide.astype(np.uint64), wide, wide, small, small, small)


def effect_of(values: list[int]) -> Effect:
    wide = np.array(values, np.int64)
    small = np.array([v % 1000 - 500 for v in values], np.int32)
    cells = CellChanges((LEAF,), np.zeros(len(values), np.uint32), small, small, wide, wide)
    return Effect(
        sequence=7,
        last=99,
        time=1_700_000_000_000,
        watermark=-5,
        published=3,
        outcomes={(19_700, Outcome.LATE): 2},
        ids=ids_of(values),
        leaves=(LEAF,),
        cases={"c-1": b"a row", "c-2": None, "ä": b""},
        deltas={2: (5, cells)},
        messages=Messages(["resolutions"], [b"c-1"], [b"\x00\xff"]),
    )


@given(st.lists(int64, max_size=20))
def test_round_trip(values: list[int]) -> None:
    effect = effect_of(values)
    again = unpack_effect(pack_effect(effect))
    for name in (
        "sequence",
        "last",
        "time",
        "watermark",
        "published",
        "outcomes",
        "leaves",
        "cases",
        "messages",
    ):
        assert getattr(again, name) == getattr(effect, name)
    for name in Ids.__slots__:
        mine, theirs = getattr(effect.ids, name), getattr(again.ids, name)
        assert (theirs.tolist(), theirs.dtype) == (mine.tolist(), mine.dtype)
    number, cells = again.deltas[2]
    assert number == 5
    assert cells.series == (LEAF,)
    assert cells.total.tolist() == values
    assert cells.n.dtype == np.int64


def test_a_record_of_a_newer_version_is_refused() -> None:
    value = pack_effect(effect_of([1]))
    newer = value[:2] + bytes([VERSION + 1]) + value[3:]
    with pytest.raises(NewerFormat, match="upgrade"):
        unpack_effect(newer)


@given(st.binary(max_size=40))
def test_foreign_bytes_are_no_record(value: bytes) -> None:
    with pytest.raises(ValueError, match="not an internal record"):
        unpack(b"x" + value)
