"""Joined values are the values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.block import Block
from pipeline.events.joined import Joined
from pipeline.events.records import Records

VALUES = st.lists(st.binary(max_size=9), max_size=12)


@given(VALUES, st.data())
def test_joined_values_are_cut_and_asked_for_as_a_list_is(values, data):
    joined = Joined.of(values)
    place = st.integers(-15, 15) | st.none()
    first, end = data.draw(place), data.draw(place)
    some = joined[first:end]
    assert list(some) == values[first:end]
    assert [some[k] for k in range(-len(some), len(some))] == values[first:end] * 2
    assert some.nbytes == sum(map(len, values[first:end]))
    for beyond in (len(some), -len(some) - 1):
        with pytest.raises(IndexError):
            _ = some[beyond]


@given(st.lists(VALUES, min_size=1, max_size=5), st.lists(st.integers(0, 12), min_size=5, max_size=5))
def test_parts_of_records_go_together_whether_joined_or_not(parts, cuts):
    plain, joined = [], []
    for k, (values, cut) in enumerate(zip(parts, cuts, strict=False)):
        offsets, times = list(range(100 * k, 100 * k + len(values))), [0] * len(values)
        plain += values[cut:]
        joined.append(Records.of(Joined.of(values), offsets, times).split(cut)[1])
    whole = Records.concat(joined)
    assert list(whole.values) == plain
    assert whole.nbytes == sum(map(len, plain))
    mixed = Records.concat([*joined, Records.of([None, b"x"], [999, 1000], [0, 0])])
    assert list(mixed.values) == [*plain, None, b"x"]


@given(VALUES, st.integers(0, 12))
def test_a_block_is_the_same_of_joined_values(values, cut):
    one, other = Block.of(Joined.of(values)[cut:]), Block.of(values[cut:])
    assert one.raw == other.raw
    assert (one.start == other.start).all()
    assert (one.end == other.end).all()
