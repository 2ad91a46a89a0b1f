"""Values to records: what is filled in, what is refused, and where a record goes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.client.lines import message_of, parse
from pipeline.client.message import MAX_BYTES, EventError, Message, Rules, build, shifted
from pipeline.events.wire import decode

NOW = 1_767_225_600_000  # 2026-01-01
RULES = Rules(now=NOW, new_id=lambda: "made")
TOUCHPOINT: dict[str, Any] = {
    "source": "shop",
    "touchpoint": "checkout",
    "action": "order_paid",
    "channel": "web",
}
RESPONSE: dict[str, Any] = {
    "source": "shop",
    "instrument": "csat_1_5",
    "score": 5,
    "touchpoint": "checkout",
    "channel": "web",
}


def faults(kind: Any, values: dict[str, Any], rules: Rules = RULES) -> list[str]:
    with pytest.raises(EventError) as caught:
        build(kind, values, rules)
    assert isinstance(caught.value, ValueError)
    return [str(fault) for fault in caught.value.faults]


def record(message: Message) -> dict[str, Any]:
    return decode(message.value)[1]


def test_a_missing_id_and_time_and_every_default_are_filled_in() -> None:
    message = build("response", RESPONSE, RULES)
    assert (message.kind, message.id, message.occurred_at, message.line) == ("response", "made", NOW, 0)
    assert record(message) == {
        **RESPONSE,
        "response_id": "made",
        "occurred_at": datetime(2026, 1, 1, tzinfo=UTC),
        "customer_id": None,
        "case_id": None,
        "segment": None,
        "language": None,
        "comment": None,
        "touchpoint_at": None,
        "revision": 0,
        "retracted": False,
    }


def test_made_ids_differ() -> None:
    first, second = (build("touchpoint", TOUCHPOINT, Rules(now=NOW)) for _ in range(2))
    assert len(first.id) == 32 and first.id != second.id


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({}, b"made"),
        ({"event_id": "e"}, b"e"),
        ({"event_id": "e", "customer_id": "c"}, b"c"),
        ({"event_id": "e", "customer_id": "c", "case_id": "k"}, b"k"),
        ({"event_id": "e", "customer_id": "", "case_id": ""}, b"e"),
        ({"customer_id": "käse"}, "käse".encode()),
    ],
)
def test_a_touchpoint_is_keyed_by_its_case_else_its_customer_else_itself(
    more: dict[str, Any], key: bytes
) -> None:
    assert build("touchpoint", {**TOUCHPOINT, **more}, RULES).key == key


def test_a_response_is_keyed_by_its_id() -> None:
    values = {**RESPONSE, "response_id": "r", "customer_id": "c", "case_id": "k"}
    assert build("response", values, RULES).key == b"r"


@pytest.mark.parametrize(
    "given_time",
    [
        datetime(2025, 12, 31, 23, tzinfo=timezone(timedelta(hours=-1))),
        "2026-01-01T00:00:00Z",
        "2026-01-01T01:00:00.000+01:00",
        NOW,
    ],
)
def test_one_moment_may_be_written_in_many_ways(given_time: Any) -> None:
    assert build("touchpoint", {**TOUCHPOINT, "occurred_at": given_time}, RULES).occurred_at == NOW


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("occurred_at", datetime(2026, 1, 1), "must have a time zone"),  # noqa: DTZ001 - the point
        ("occurred_at", "2026-01-01T00:00:00", "must have a time zone"),
        ("occurred_at", "yesterday", "must be ISO 8601 with a time zone"),
        ("occurred_at", NOW // 1000, "this looks like seconds"),
        ("occurred_at", 1.5e12, "not a number with decimals"),
        ("occurred_at", NOW + 3_600_001, "more than an hour in the future"),
        ("occurred_at", 10**30, "more than an hour in the future"),
        ("touchpoint", "", "must not be empty"),
        ("channel", "", "must not be empty"),
        ("source", "", "must not be empty"),
        ("channel", None, "is missing"),
        ("channel", 7, "must be a text, not a number"),
        ("channel", "\ud800", "half a character"),
        ("score", 6, "must be 1 to 5 on csat_1_5, not 6"),
        ("score", 0, "must be 1 to 5 on csat_1_5, not 0"),
        ("score", 4.0, "must be a whole number, not a number with decimals"),
        ("score", "4", "must be a whole number, not a text"),
        ("score", True, "must be a whole number, not true or false"),
        ("score", 2**31, "must fit 32 bits"),
        ("retracted", 1, "must be true or false, not a number"),
        ("response_id", "", "must not be empty"),
        ("touchpoint_at", "2026-01-01", "must have a time zone"),
    ],
)
def test_a_fault_names_field_and_reason(field: str, value: Any, reason: str) -> None:
    (fault,) = faults("response", {**RESPONSE, field: value})
    assert fault.startswith(f"{field} ") and reason in fault


def test_all_faults_are_told_at_once() -> None:
    told = faults("touchpoint", {"chanel": "web", "touchpoint": "", "attributes": {"a": 1}})
    assert sorted(told) == [
        "action is missing",
        "attributes must be a text, not a number",
        "chanel is not a field; did you mean channel?",
        "channel is missing",
        "source is missing",
        "touchpoint must not be empty",
    ]


def test_an_instrument_of_ones_own_passes_unless_the_scales_are_all_there_are() -> None:
    values = {**RESPONSE, "instrument": "mood_1_4", "score": 9}
    assert record(build("response", values, RULES))["score"] == 9
    (fault,) = faults("response", values, Rules(NOW, {"mood_1_4": (1, 4)}, known_only=True))
    assert fault == "score must be 1 to 4 on mood_1_4, not 9"
    (fault,) = faults("response", {**values, "instrument": "x"}, Rules(NOW, {"m": (1, 4)}, known_only=True))
    assert fault == "instrument is not known; there are m"


def test_an_empty_text_in_a_nullable_field_is_null() -> None:
    assert record(build("response", {**RESPONSE, "segment": "", "comment": ""}, RULES))["segment"] is None


def test_a_record_that_no_topic_takes_is_refused_at_the_call() -> None:
    (fault,) = faults("response", {**RESPONSE, "comment": "x" * MAX_BYTES})
    assert "900,000 is the most" in fault


def test_neither_fault_nor_repr_holds_what_a_customer_wrote() -> None:
    values = {**RESPONSE, "comment": "my secret", "occurred_at": "my secret"}
    assert "secret" not in " ".join(faults("response", values))
    assert "secret" not in repr(build("response", {**RESPONSE, "comment": "my secret"}, RULES))


def test_shifting_moves_every_time_and_nothing_else() -> None:
    values = {**RESPONSE, "occurred_at": NOW - 5000, "touchpoint_at": NOW - 9000, "comment": "ok"}
    message = build("response", values, RULES, line=7)
    later = shifted(message, 3000)
    assert (later.occurred_at, later.key, later.line) == (NOW - 2000, message.key, 7)
    before, after = record(message), record(later)
    moved = {name for name in before if before[name] != after[name]}
    assert moved == {"occurred_at", "touchpoint_at"}
    assert after["touchpoint_at"] - before["touchpoint_at"] == timedelta(seconds=3)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
)
FIELDS = st.sampled_from(
    [
        "type",
        "occurred_at",
        "score",
        "instrument",
        "touchpoint",
        "channel",
        "attributes",
        "event_id",
        "source",
    ]
)
OBJECTS = st.dictionaries(
    FIELDS, JSON | st.sampled_from(["touchpoint", "response", NOW, "csat_1_5"]), max_size=9
)


@given(JSON | OBJECTS)
def test_any_json_becomes_a_message_or_faults(value: Any) -> None:
    try:
        message = message_of(value, RULES)
    except EventError as fault:
        assert fault.faults
        assert all(one.reason for one in fault.faults)
    else:
        assert decode(message.value)[0].name in ("TouchpointEvent", "SurveyResponse")


@given(st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-16")))
def test_any_bytes_become_json_or_a_fault(text: bytes) -> None:
    try:
        parse(text)
    except EventError as fault:
        assert fault.faults


@pytest.mark.parametrize("text", [b"[" * 100_000, b"\xff\xfe\xfd", b"1" * 5000, b"", b"{'a': 1}"])
def test_no_json_is_a_fault(text: bytes) -> None:
    with pytest.raises(EventError):
        parse(text)


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@given(
    st.fixed_dictionaries(
        {"source": TEXT, "touchpoint": TEXT, "action": TEXT, "channel": TEXT, "event_id": TEXT},
        optional={
            "customer_id": TEXT,
            "segment": TEXT,
            "occurred_at": st.integers(100_000_000_000, NOW),
            "attributes": st.dictionaries(TEXT, TEXT, max_size=3),
        },
    )
)
def test_what_goes_in_through_json_comes_out_of_the_record(values: dict[str, Any]) -> None:
    line = json.dumps({"type": "touchpoint", **values})
    out = record(message_of(parse(line), RULES))
    out["occurred_at"] = round(out["occurred_at"].timestamp() * 1000)
    expected = {"occurred_at": NOW, "attributes": {}, **values}
    assert {name: out[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "must be a JSON object"),
        ({}, "type is missing"),
        ({"type": "survey"}, 'type must be "touchpoint" or "response"'),
        ({"type": ["touchpoint"]}, 'type must be "touchpoint" or "response"'),
    ],
)
def test_the_type_is_needed(value: Any, reason: str) -> None:
    with pytest.raises(EventError, match=reason):
        message_of(value, RULES)
