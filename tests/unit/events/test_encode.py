"""Columns become the same bytes as fastavro writes record by record."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.events.encode import Texts, encode_many, encode_records
from pipeline.events.schemas import schema
from pipeline.events.wire import FIRST_MS, LAST_MS, encode
from pipeline.streams.decimals import joined_decimals

texts = st.text(max_size=70).filter(lambda t: t.isprintable()) | st.text("äß€", min_size=64, max_size=90)
times = st.integers(FIRST_MS, LAST_MS)
longs = st.integers(-(2**63), 2**63 - 1) | st.integers(-130, 130)
ints = st.integers(-(2**31), 2**31 - 1) | st.integers(-70, 70)
doubles = st.floats(allow_nan=False)
leaf = ("metric", "instrument", "touchpoint", "channel", "segment")

cells = st.fixed_dictionaries(
    dict.fromkeys((*leaf, "origin"), texts)
    | {"bucket": times, "bin": ints, "part": longs, "n": longs, "total": doubles, "version": longs}
)
scores = st.fixed_dictionaries(
    dict.fromkeys((*leaf, "window"), texts)
    | {"time": times, "n": longs}
    | {name: st.none() | doubles for name in ("value", "lower", "upper")}
)


def column(rows, name):
    values = [row[name] for row in rows]
    if name == "window":
        return [value.encode() for value in values]
    if isinstance(values[0], str):
        return Texts(values[::-1], range(len(values) - 1, -1, -1))
    if name in ("value", "lower", "upper", "total"):
        return np.array([math.nan if v is None else v for v in values], np.float64)
    return np.array(values, np.int64)


@pytest.mark.parametrize(("name", "records"), [("Cell", cells), ("Score", scores)])
def test_equal_to_fastavro(name, records):
    @given(st.lists(records, min_size=1, max_size=8))
    def check(rows):
        made = encode_many(schema(name), {field: column(rows, field) for field in rows[0]})
        assert made == [encode(schema(name), row) for row in rows]

    check()


ids, numbers = st.text(max_size=3), st.integers(0, 9)
seconds, known = st.none() | st.floats(0, 1e9), st.none() | st.booleans()
resolutions = st.fixed_dictionaries(
    dict.fromkeys(("case_id", "touchpoint", "channel"), ids)
    | dict.fromkeys(("segment", "priority"), st.none() | ids)
    | dict.fromkeys(("occurred_at", "opened_at"), st.integers(0, 2**45))
    | {
        f"{clock}_seconds": seconds
        for clock in ("first_reply", "first_resolution", "full_resolution", "agent")
    }
    | dict.fromkeys(("business_seconds", "sla_target_seconds"), seconds)
    | dict.fromkeys(("replies", "contacts", "reopens", "revision"), numbers)
    | dict.fromkeys(("sla_breached", "one_contact"), known)
    | {"retracted": st.booleans()}
)


@given(st.lists(resolutions, max_size=4))
def test_records_of_any_field_equal_to_fastavro(rows):
    assert encode_records(schema("Resolution"), rows) == [encode(schema("Resolution"), row) for row in rows]


@given(st.lists(st.sampled_from("ab"), max_size=5))
@example([])
def test_texts_of_one_lookup_are_joined(chosen):
    at = ["ab".index(c) for c in chosen]
    rows = [dict.fromkeys((*leaf, "origin"), c) for c in chosen]
    numbers = {
        name: np.zeros(len(at), np.int64) for name in ("bucket", "bin", "part", "n", "total", "version")
    }
    made = encode_many(schema("Cell"), {name: Texts(["a", "b"], at) for name in (*leaf, "origin")} | numbers)
    assert made == [encode(schema("Cell"), row | dict.fromkeys(numbers, 0)) for row in rows]


def test_a_type_without_columns_is_refused():
    with pytest.raises(TypeError, match="no column encoding"):
        encode_many(schema("TouchpointEvent"), {"attributes": np.zeros(1)})


@given(st.lists(st.tuples(*[longs.filter(lambda n: n > -(2**63))] * 2), max_size=8))
def test_decimals_of_many_rows(rows):
    columns = [np.array([row[k] for row in rows], np.int64) for k in (0, 1)]
    assert joined_decimals(columns) == [b",%d,%d]" % row for row in rows]
