"""Records of older and newer writers in one batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import wire
from pipeline.events.batch import decode
from pipeline.events.layout import resolve
from pipeline.events.rejected import Reason
from pipeline.events.schemas import Lookup, RecordSchema, Unseen, record_schema, schema
from tests.unit.events.samples import NOW, RESPONSE, TOUCHPOINT, batch_of

Change = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


def changed(base: RecordSchema, schema_id: int, change: Change) -> RecordSchema:
    avro = {**base.avro, "fields": change([dict(field) for field in base.avro["fields"]])}
    return record_schema(json.dumps(avro), subject=base.subject, version=schema_id, schema_id=schema_id)


def without(*names: str) -> Change:
    return lambda fields: [field for field in fields if field["name"] not in names]


def retyped(name: str, avro: object) -> Change:
    return lambda fields: [{"name": name, "type": avro} if f["name"] == name else f for f in fields]


def lookup(known: Mapping[int, RecordSchema]) -> Lookup:
    return lambda ids: {one: known[one] for one in ids if one in known}


def response(i: int) -> dict[str, Any]:
    texts = dict.fromkeys(("source", "instrument", "touchpoint", "channel"), "x")
    return {"response_id": f"r-{i}", "occurred_at": NOW, "score": i, **texts}


TOUCH = {
    **dict.fromkeys(("event_id", "source", "touchpoint", "action", "channel"), "x"),
    "occurred_at": NOW,
}
OLD = changed(RESPONSE, 101, without("comment", "revision", "retracted"))
NEW = changed(
    RESPONSE,
    202,  # a byte beyond ASCII in the header
    lambda fields: [{"name": "mood", "type": ["string", "null"], "default": "é"}, *reversed(fields)],
)
KNOWN = {one.schema_id: one for one in (RESPONSE, OLD, NEW, TOUCHPOINT)}


def test_one_batch_of_three_writers_in_offset_order() -> None:
    writers = [OLD, RESPONSE, NEW, NEW, OLD, RESPONSE]
    some: list[bytes | None] = [wire.encode(writer, response(i)) for i, writer in enumerate(writers)]
    some.insert(3, None)
    batch = decode(batch_of(some), RESPONSE, lookup=lookup(KNOWN))
    assert batch.frame["response_id"].to_list() == [f"r-{i}" for i in range(6)]
    assert batch.frame["revision"].to_list() == [0] * 6
    assert batch.frame["retracted"].to_list() == [False] * 6
    assert batch.frame["comment"].to_list() == [None] * 6
    assert batch.at.tolist() == [0, 1, 2, 4, 5, 6]
    same = decode(batch_of([wire.encode(RESPONSE, response(i)) for i in range(6)]), RESPONSE)
    assert same.hashes()[0].tolist() == batch.hashes()[0].tolist()
    assert same.frame.equals(batch.frame)


def test_a_writer_of_another_subject_is_unknown() -> None:
    batch = decode(
        batch_of([wire.encode(TOUCHPOINT, TOUCH), wire.header(77) + b"x"]), RESPONSE, lookup=lookup(KNOWN)
    )
    assert [one.reason for one in batch.rejected] == [Reason.UNKNOWN_SCHEMA] * 2
    assert "77" in batch.rejected[1].detail
    twin = record_schema(RESPONSE.text, subject="feedback.answers-value", version=1, schema_id=78)
    batch = decode(batch_of([wire.encode(twin, response(1))]), RESPONSE, lookup=lookup({78: twin}))
    assert [one.reason for one in batch.rejected] == [Reason.UNKNOWN_SCHEMA]


def test_what_cannot_be_resolved_is_unknown() -> None:
    text_score = changed(RESPONSE, 301, retyped("score", "string"))
    no_id = changed(RESPONSE, 302, without("response_id"))
    null_score = changed(RESPONSE, 303, retyped("score", ["null", "int"]))
    assert [resolve(writer, RESPONSE) for writer in (text_score, no_id, null_score)] == [None] * 3


def test_types_of_others_make_no_exception():
    strange: list[object] = [
        ["null", "string", "int"],
        ["string", "int"],
        {"type": "array", "items": "string"},
        {"type": "enum", "name": "Mood", "symbols": ["GOOD", "BAD"]},
        {"type": "map", "values": "int"},
        {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "int"}]},
        "float",
    ]
    for number, avro in enumerate(strange):
        resolve(changed(RESPONSE, 310 + number, retyped("comment", avro)), RESPONSE)
    assert (
        resolve(changed(RESPONSE, 320, retyped("comment", {"type": "array", "items": "string"})), RESPONSE)
        is None
    )


def test_a_time_in_another_unit_is_not_taken_for_ours():
    micros = {"type": "long", "logicalType": "timestamp-micros"}
    assert resolve(changed(RESPONSE, 330, retyped("occurred_at", micros)), RESPONSE) is None
    plain = changed(RESPONSE, 331, retyped("occurred_at", "long"))
    value = wire.encode(plain, {**response(1), "occurred_at": 1 << 60})
    batch = decode(batch_of([value]), RESPONSE, lookup=lookup({331: plain}))
    assert [one.reason for one in batch.rejected] == [Reason.BAD_TIME]


def test_notes_of_java_classes_change_nothing():
    text = {"type": "string", "avro.java.string": "String"}
    java = changed(TOUCHPOINT, 340, retyped("attributes", {"type": "map", "values": text}))
    value = wire.encode(java, {**TOUCH, "attributes": {"a": "b"}})
    batch = decode(batch_of([value]), TOUCHPOINT, lookup=lookup({340: java}))
    assert batch.frame["attributes"].to_list() == [[{"key": "a", "value": "b"}]]


def test_an_id_means_what_the_lookup_says():
    reversed_fields = changed(RESPONSE, RESPONSE.schema_id, lambda fields: [*reversed(fields)])
    value = wire.encode(reversed_fields, response(1))
    batch = decode(batch_of([value]), RESPONSE, lookup=lookup({RESPONSE.schema_id: reversed_fields}))
    assert batch.frame["response_id"].to_list() == ["r-1"]


def test_ids_that_nobody_asked_about_are_asked_for_all_at_once():
    def unseen(ids: Sequence[int]) -> Mapping[int, RecordSchema]:
        raise Unseen([one for one in ids if one > 2])

    some = [wire.header(7), wire.encode(RESPONSE, response(1)), b"x", None, wire.header(9), wire.header(7)]
    with pytest.raises(Unseen) as told:
        decode(batch_of(some), RESPONSE, lookup=unseen)
    assert told.value.ids == (7, 9)


@pytest.mark.parametrize(
    "text", ["", "7", '"string"', '["null", "string"]', '{"type": "record"}', '{"type": "x"}', "{}"]
)
def test_what_is_no_record_schema_is_refused(text):
    with pytest.raises(ValueError, match="not an Avro"):
        record_schema(text, subject="", version=0, schema_id=1)


def test_numbers_and_nulls_are_widened() -> None:
    writer = changed(RESPONSE, 401, retyped("comment", "string"))
    value = wire.encode(writer, {**response(1), "comment": "c"})
    batch = decode(batch_of([value]), RESPONSE, lookup=lookup({401: writer}))
    assert batch.frame["comment"].to_list() == ["c"]
    resolution = schema("Resolution")
    texts = dict.fromkeys(("case_id", "touchpoint", "channel"), "x")
    value = wire.encode(resolution, {**texts, "occurred_at": 1, "opened_at": 1, "replies": 3})
    reader = changed(resolution, 402, retyped("replies", "double"))
    assert decode(batch_of([value]), reader).frame["replies"].to_list() == [3.0]


def test_a_map_that_an_old_writer_did_not_know() -> None:
    old = changed(TOUCHPOINT, 501, without("attributes"))
    value = wire.encode(old, TOUCH)
    batch = decode(batch_of([value, value]), TOUCHPOINT, lookup=lookup({501: old}))
    assert batch.frame["attributes"].to_list() == [[], []]


@given(st.lists(st.tuples(st.sampled_from([OLD, RESPONSE, NEW]), st.integers(5, 60)), max_size=8))
def test_writers_do_not_change_each_others_fate(cuts: list[tuple[RecordSchema, int]]) -> None:
    some: list[bytes | None] = [
        wire.encode(writer, response(i))[:cut] for i, (writer, cut) in enumerate(cuts)
    ]
    batch = decode(batch_of(some), RESPONSE, lookup=lookup(KNOWN))
    alone = [decode(batch_of([value]), RESPONSE, lookup=lookup(KNOWN)) for value in some]
    assert batch.at.tolist() == [i for i, one in enumerate(alone) if len(one)]
    assert [one.detail for one in batch.rejected] == [bad.detail for one in alone for bad in one.rejected]
