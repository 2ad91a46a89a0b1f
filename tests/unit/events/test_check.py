"""What a readable record must hold to count."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.batch import Batch, decode
from pipeline.events.check import AHEAD_MS, label_responses, label_touchpoints
from pipeline.events.rejected import Reason
from pipeline.events.schemas import RecordSchema
from pipeline.events.wire import encode
from tests.unit.events.samples import NOW, RESPONSE, TOUCHPOINT, batch_of

BOUNDS = {"nps_0_10": (0, 10), "csat_1_5": (1, 5), "unused_1_7": (1, 7)}
GOOD_RESPONSE: dict[str, Any] = {
    "response_id": "r-1",
    "occurred_at": NOW,
    "source": "app",
    "instrument": "csat_1_5",
    "score": 5,
    "touchpoint": "checkout",
    "channel": "web",
}
GOOD_TOUCHPOINT: dict[str, Any] = {
    "event_id": "e-1",
    "occurred_at": NOW,
    "source": "app",
    "touchpoint": "checkout",
    "action": "order_paid",
    "channel": "web",
}


def checked(schema: RecordSchema, some: list[bytes | None], columns: tuple[str, ...] | None = None) -> Batch:
    records = batch_of(some)
    batch = decode(records, schema, columns)
    if schema is RESPONSE:
        return label_responses(batch, records, BOUNDS)[0]
    return label_touchpoints(batch, records)[0]


def respond(**changes: Any) -> bytes:
    return encode(RESPONSE, {**GOOD_RESPONSE, **changes})


def touch(**changes: Any) -> bytes:
    return encode(TOUCHPOINT, {**GOOD_TOUCHPOINT, **changes})


RESPONSES: list[tuple[dict[str, Any], Reason | None]] = [
    ({}, None),
    ({"response_id": ""}, Reason.EMPTY_ID),
    ({"touchpoint": ""}, Reason.EMPTY_DIMENSION),
    ({"channel": ""}, Reason.EMPTY_DIMENSION),
    ({"source": ""}, None),
    ({"touchpoint": "é" * 128}, None),
    ({"touchpoint": "é" * 129}, Reason.TOO_LONG),
    ({"segment": "s" * 257}, Reason.TOO_LONG),
    ({"source": "s" * 257, "case_id": "s" * 257, "comment": "s" * 257}, None),
    ({"instrument": ""}, Reason.UNKNOWN_INSTRUMENT),
    ({"instrument": "csat_1_6"}, Reason.UNKNOWN_INSTRUMENT),
    ({"score": 0}, Reason.SCORE_OUT_OF_RANGE),
    ({"score": 1}, None),
    ({"score": 6}, Reason.SCORE_OUT_OF_RANGE),
    ({"score": 6, "instrument": "nps_0_10"}, None),
    ({"score": 11, "instrument": "nps_0_10"}, Reason.SCORE_OUT_OF_RANGE),
    ({"occurred_at": 0}, None),
    ({"retracted": True, "revision": -1}, None),
    # Of several faults always the same one, whatever else is in the batch.
    ({"response_id": "", "touchpoint": "", "score": 99, "instrument": "?"}, Reason.EMPTY_ID),
    ({"touchpoint": "", "occurred_at": NOW * 2}, Reason.IN_FUTURE),
    ({"touchpoint": "", "instrument": "?"}, Reason.EMPTY_DIMENSION),
]
TOUCHPOINTS: list[tuple[dict[str, Any], Reason | None]] = [
    ({}, None),
    ({"event_id": ""}, Reason.EMPTY_ID),
    ({"touchpoint": ""}, Reason.EMPTY_DIMENSION),
    ({"channel": ""}, Reason.EMPTY_DIMENSION),
    ({"action": ""}, Reason.EMPTY_DIMENSION),
    ({"segment": "s" * 257}, Reason.TOO_LONG),
    ({"case_id": "c" * 256, "priority": "p" * 256, "customer_id": "c" * 999}, None),
    ({"case_id": "c" * 257}, Reason.TOO_LONG),
    ({"priority": "p" * 257}, Reason.TOO_LONG),
    ({"action": "anything_else"}, None),
    ({"occurred_at": NOW * 2}, Reason.IN_FUTURE),
]


@pytest.mark.parametrize(("changes", "reason"), RESPONSES)
def test_responses(changes: dict[str, Any], reason: Reason | None) -> None:
    batch = checked(RESPONSE, [respond(**changes)])
    assert [one.reason for one in batch.rejected] == ([reason] if reason else [])
    assert len(batch) == (reason is None)


@pytest.mark.parametrize(("changes", "reason"), TOUCHPOINTS)
def test_touchpoints(changes: dict[str, Any], reason: Reason | None) -> None:
    batch = checked(TOUCHPOINT, [touch(**changes)])
    assert [one.reason for one in batch.rejected] == ([reason] if reason else [])
    assert len(batch) == (reason is None)


@given(st.lists(st.sampled_from([*range(len(RESPONSES)), -1, -2]), max_size=12))
def test_a_whole_batch_is_judged_like_its_records(kinds: list[int]) -> None:
    bad_bytes: dict[int, bytes | None] = {-1: None, -2: b"\0junk"}
    some = [respond(**RESPONSES[k][0]) if k >= 0 else bad_bytes[k] for k in kinds]
    batch = checked(RESPONSE, some, ("score",))
    good = [i for i, k in enumerate(kinds) if k >= 0 and RESPONSES[k][1] is None]
    assert batch.at.tolist() == good
    assert batch.frame["score"].to_list() == [RESPONSES[kinds[i]][0].get("score", 5) for i in good]
    assert len(batch.hashes()[0]) == len(batch.hashes()[1]) == len(good)
    offsets = [one.offset for one in batch.rejected]
    assert offsets == [100 + 3 * i for i in range(len(some)) if i not in good]
    for one in batch.rejected:
        kind = kinds[(one.offset - 100) // 3]
        assert one.stage == ("check" if kind >= 0 else "decode")
        assert one.raw == (some[(one.offset - 100) // 3] or b"")


def test_the_future_begins_an_hour_after_the_arrival_of_each_record() -> None:
    # batch_of gives record i the kafka time NOW + i.
    some: list[bytes | None] = [touch(occurred_at=NOW + AHEAD_MS + 1) for _ in range(3)]
    batch = checked(TOUCHPOINT, some, ())
    assert batch.at.tolist() == [1, 2]
    assert [one.time for one in batch.rejected] == [NOW]


def test_an_empty_segment_is_null() -> None:
    some: list[bytes | None] = [respond(segment=segment) for segment in ("", "retail", None)]
    assert checked(RESPONSE, some).frame["segment"].to_list() == [None, "retail", None]
    some = [touch(segment=""), touch(segment="retail")]
    assert checked(TOUCHPOINT, some).frame["segment"].to_list() == [None, "retail"]


def test_an_empty_batch() -> None:
    assert len(checked(RESPONSE, [])) == len(checked(TOUCHPOINT, [])) == 0
