"""A batch to columns: any bytes in, values out; each record judged by its own bytes alone."""

from __future__ import annotations

import random
import struct
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.events import wire
from pipeline.events.batch import Batch, decode
from pipeline.events.faults import MAX_ENTRIES
from pipeline.events.layout import fields
from pipeline.events.rejected import Reason
from pipeline.events.schemas import RecordSchema, all_schemas
from pipeline.events.schemas import schema as schema_of
from tests.unit.events import plain
from tests.unit.events.samples import (
    NOW,
    RESPONSE,
    TOUCHPOINT,
    anything,
    batch_of,
    contents,
    damaged,
    flipped,
    values,
)

BOTH = st.sampled_from([RESPONSE, TOUCHPOINT])


def some_of(schema: RecordSchema) -> st.SearchStrategy[tuple[RecordSchema, list[bytes | None]]]:
    return st.tuples(st.just(schema), st.lists(anything(schema), max_size=12))


def fates(batch: Batch, skipped: int = 0) -> dict[int, object]:
    """What became of each offset: its columns and hash, or the reason. `skipped` records stood before."""
    records = zip(batch.frame.to_dicts(), *map(np.ndarray.tolist, batch.hashes()), strict=True)
    good: dict[int, object] = {
        100 + 3 * (at + skipped): fate for at, fate in zip(batch.at.tolist(), records, strict=True)
    }
    bad = {one.offset: (one.reason, one.detail, one.raw, one.time) for one in batch.rejected}
    assert not good.keys() & bad.keys()
    return good | bad


def response(**changes: Any) -> dict[str, Any]:
    record = dict.fromkeys(("customer_id", "case_id", "segment", "language", "comment", "touchpoint_at"))
    return {
        "response_id": "r-1",
        "occurred_at": NOW,
        "source": "app",
        "instrument": "nps_0_10",
        "score": 9,
        "touchpoint": "checkout",
        "channel": "web",
        **record,
        "revision": 0,
        "retracted": False,
        **changes,
    }


@given(BOTH.flatmap(some_of))
def test_every_record_becomes_what_the_plain_rules_say(case: tuple[RecordSchema, list[bytes | None]]) -> None:
    schema, some = case
    batch = decode(batch_of(some), schema)
    got: dict[int, object] = dict(zip(batch.at.tolist(), batch.frame.to_dicts(), strict=True))
    got |= {(one.offset - 100) // 3: one.reason for one in batch.rejected}
    assert got == {i: plain.read(schema, value) for i, value in enumerate(some)}
    assert [one.offset for one in batch.rejected] == sorted(one.offset for one in batch.rejected)
    assert all(np.diff(batch.at) > 0)


@given(BOTH.flatmap(some_of), st.data())
def test_columns_asked_for_change_nothing(
    case: tuple[RecordSchema, list[bytes | None]], data: st.DataObject
) -> None:
    schema, some = case
    names = [field.name for field in fields(schema)]
    few = data.draw(st.lists(st.sampled_from(names), unique=True, min_size=1, max_size=4))
    whole, part = decode(batch_of(some), schema), decode(batch_of(some), schema, few)
    assert part.rejected == whole.rejected
    assert part.at.tolist() == whole.at.tolist()
    assert [half.tolist() for half in part.hashes()] == [half.tolist() for half in whole.hashes()]
    assert part.frame.equals(whole.frame.select(few))


@given(BOTH.flatmap(some_of), st.integers(0, 12))
def test_batch_boundaries_and_neighbours_change_nothing(
    case: tuple[RecordSchema, list[bytes | None]], cut: int
) -> None:
    schema, some = case
    records = batch_of(some)
    whole = fates(decode(records, schema))
    alone: dict[int, object] = {}
    for i in range(len(some)):
        one = records.split(i)[1].split(1)[0]
        alone |= fates(decode(one, schema), i)
    assert alone == whole
    head, tail = records.split(min(cut, len(some)))
    halves = fates(decode(head, schema)) | fates(decode(tail, schema), len(head))
    assert halves == whole


@given(BOTH.flatmap(lambda s: st.tuples(st.just(s), values(s), damaged(s), values(s))))
def test_a_damaged_record_never_shifts_a_neighbour(
    case: tuple[RecordSchema, bytes, bytes, bytes],
) -> None:
    schema, before, broken, after = case
    batch = decode(batch_of([before, broken, after]), schema)
    assert {0, 2} <= set(batch.at.tolist())
    rows = batch.frame.to_dicts()
    assert rows[0] == plain.read(schema, before)
    assert rows[-1] == plain.read(schema, after)


@given(BOTH.flatmap(lambda s: st.tuples(st.just(s), st.lists(damaged(s), max_size=8))))
def test_what_is_accepted_is_what_fastavro_reads(case: tuple[RecordSchema, list[bytes]]) -> None:
    schema, some = case
    batch = decode(batch_of(list(some)), schema)
    for at, row in zip(batch.at.tolist(), batch.frame.to_dicts(), strict=True):
        _, record = wire.decode(some[at])
        for field in fields(schema):
            expected = record[field.name]
            if field.time and expected is not None:
                expected = wire.milliseconds(expected)
            if field.name == "attributes":  # fastavro keeps the last of two entries of one key
                assert {entry["key"]: entry["value"] for entry in row[field.name]} == expected
            else:
                assert row[field.name] == expected


@pytest.mark.parametrize("schema", all_schemas(), ids=lambda schema: schema.name)
def test_round_trip_of_every_schema(schema: RecordSchema) -> None:
    @given(st.lists(contents(schema), min_size=1, max_size=5))
    @settings(max_examples=40)
    def round_trip(records: list[dict[str, Any]]) -> None:
        batch = decode(batch_of([wire.encode(schema, record) for record in records]), schema)
        assert not batch.rejected
        assert batch.frame.to_dicts() == [_columnar(record) for record in records]

    round_trip()


def _columnar(record: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [{"key": k, "value": v} for k, v in value.items()] if isinstance(value, dict) else value
        for name, value in record.items()
    }


@given(st.lists(st.none() | st.binary(max_size=80), max_size=20), st.sampled_from(all_schemas()))
def test_any_bytes_are_values(some: list[bytes | None], schema: RecordSchema) -> None:
    batch = decode(batch_of(some), schema)
    assert len(batch) + len(batch.rejected) == len(some)


def test_a_large_batch_with_every_kind_of_damage() -> None:
    # As many records as a real batch, so that every vectorised branch sees many rows at once.
    seed = 7
    print("seed", seed)
    rnd = random.Random(seed)
    some: list[bytes | None] = []
    for i in range(4000):
        comment = rnd.choice((None, "ok", "naïve", "漢字", "x" * 200))
        value = wire.encode(RESPONSE, response(response_id=f"{i:x}" * rnd.randrange(1, 40), comment=comment))
        if rnd.random() < 0.05:
            value = flipped(value, [rnd.randrange(8 * len(value))])
        some.append(None if rnd.random() < 0.01 else value)
    batch = decode(batch_of(some), RESPONSE)
    expected = [plain.read(RESPONSE, value) for value in some]
    assert batch.frame.to_dicts() == [record for record in expected if isinstance(record, dict)]
    reasons = {100 + 3 * i: reason for i, reason in enumerate(expected) if not isinstance(reason, dict)}
    assert {one.offset: one.reason for one in batch.rejected} == reasons
    assert len(reasons) > 50


def varint(number: int) -> bytes:
    coded, out = number << 1 if number >= 0 else (-number << 1) - 1, b""
    while coded > 127:
        out, coded = out + bytes([coded & 127 | 128]), coded >> 7
    return out + bytes([coded])


@pytest.mark.parametrize("score", [2**31, 2**32 + 5, -(2**31) - 1, 2**40 + 5, 2**63 - 1, 2**64 + 5, 2**70])
def test_a_number_beyond_its_type_is_malformed_not_cut(score: int) -> None:
    value = wire.encode(RESPONSE, response(score=9))
    place = value.index(b"nps_0_10") + len(b"nps_0_10")
    batch = decode(batch_of([value[:place] + varint(score) + value[place + 1 :], value]), RESPONSE, ["score"])
    assert batch.frame["score"].to_list() == [9]
    assert batch.rejected[0].reason is Reason.MALFORMED


@pytest.mark.parametrize("time", [-1, wire.LAST_MS + 1, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("name", ["occurred_at", "touchpoint_at"])
def test_a_time_outside_the_years_1_to_9999_is_a_bad_time(time: int, name: str) -> None:
    raw = {**response(), name: time}
    stored = fastavro_value(raw)
    batch = decode(batch_of([stored]), RESPONSE, ["score"])
    assert [(one.reason, one.detail) for one in batch.rejected] == [
        (Reason.BAD_TIME, f"{name} is not in the years 1970 to 9999")
    ]


def fastavro_value(record: dict[str, Any]) -> bytes:
    """As some other producer would write it, without our checks."""
    out = BytesIO()
    fastavro.schemaless_writer(out, RESPONSE.parsed, record)
    return wire.header(RESPONSE.schema_id) + out.getvalue()


def test_not_utf8_is_found_in_columns_that_nobody_reads() -> None:
    value = wire.encode(RESPONSE, response(comment="zzzz"))
    bad = value.replace(b"zzzz", b"z\xff\xfez")
    half = value.replace(b"zzzz", b"zzz\xe6")  # a character that would go on in the next bytes
    good = wire.encode(RESPONSE, response(comment="漢字"))
    batch = decode(batch_of([good, bad, good, half, value]), RESPONSE, ["score"])
    assert batch.at.tolist() == [0, 2, 4]
    assert {one.detail for one in batch.rejected} == {"a text is not UTF-8"}


def test_a_broken_size_cannot_hide_the_bad_text_of_the_next_record() -> None:
    good = wire.encode(RESPONSE, response(comment="zzzz"))
    bad = good.replace(b"zzzz", b"z\xff\xfez")
    endless = wire.header(RESPONSE.schema_id) + b"\xff" * 9
    batch = decode(batch_of([endless, bad, endless, good]), RESPONSE)
    assert batch.at.tolist() == [3]


def test_a_cut_double_cannot_hide_the_bad_text_of_the_next_record() -> None:
    cell = schema_of("Cell")
    texts = dict.fromkeys(("metric", "instrument", "touchpoint", "channel", "segment"), "zz")
    numbers = dict.fromkeys(("bin", "part", "n", "version"), 1)
    good = wire.encode(cell, {**texts, **numbers, "bucket": NOW, "total": 1.0})
    cut = good[: good.index(struct.pack("<d", 1.0))]
    bad = good.replace(b"zz", b"\xff\xfe", 1)
    assert decode(batch_of([cut, bad, good]), cell).at.tolist() == [2]


def attributes_of(blocks: bytes) -> bytes:
    value = wire.encode(TOUCHPOINT, {**_touchpoint(), "attributes": {}})
    return value[:-1] + blocks


def _touchpoint() -> dict[str, Any]:
    names = ("event_id", "source", "touchpoint", "action", "channel")
    return {"occurred_at": NOW, **dict.fromkeys(names, "a")}


def test_a_map_in_several_blocks_of_either_form() -> None:
    blocks = b"\x02\x02a\x02b" + b"\x01\x08\x02c\x02d" + b"\x00"
    batch = decode(batch_of([attributes_of(blocks), attributes_of(b"\x00")]), TOUCHPOINT, ["attributes"])
    assert batch.frame["attributes"].to_list() == [
        [{"key": "a", "value": "b"}, {"key": "c", "value": "d"}],
        [],
    ]


@pytest.mark.parametrize("count", [MAX_ENTRIES, MAX_ENTRIES + 1, 2**62, -(2**63)])
def test_a_map_has_a_bound(count: int) -> None:
    blocks = varint(count) + b"\x00\x00" * MAX_ENTRIES + b"\x00"
    batch = decode(batch_of([attributes_of(blocks)]), TOUCHPOINT)
    assert len(batch) == (count == MAX_ENTRIES)


def test_many_small_blocks_have_the_same_bound() -> None:
    blocks = b"\x02\x00\x00" * (MAX_ENTRIES + 1) + b"\x00"
    batch = decode(batch_of([attributes_of(blocks)]), TOUCHPOINT)
    assert [one.detail for one in batch.rejected] == [f"attributes has more than {MAX_ENTRIES} entries"]


def test_columns_have_the_same_types_with_and_without_rows() -> None:
    for schema in all_schemas():
        none = decode(batch_of([]), schema)
        nothing_good = decode(batch_of([None, b"x", wire.header(schema.schema_id)]), schema)
        assert none.frame.schema == nothing_good.frame.schema
        assert none.frame.columns == [field.name for field in fields(schema)]
        assert len(none) == len(nothing_good) == 0
    assert decode(batch_of([]), RESPONSE).frame.schema["occurred_at"] == pl.Int64


def test_an_unknown_column_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError, match="scores"):
        decode(batch_of([]), RESPONSE, ["scores"])


def test_details_carry_no_customer_text() -> None:
    secret = "anna@example.org"
    value = wire.encode(RESPONSE, response(comment=secret, customer_id=secret))
    some: list[bytes | None] = [flipped(value, [bit]) for bit in range(40, 8 * len(value))]
    batch = decode(batch_of(some), RESPONSE)
    assert len(batch.rejected) > 100
    assert not any("anna" in one.detail or "example" in one.detail for one in batch.rejected)


def test_rows_of_a_batch_of_nothing_but_garbage() -> None:
    batch = decode(batch_of([b"garbage", None]), RESPONSE, ("score",))
    assert len(batch.rows(np.zeros(0, bool))) == 0
