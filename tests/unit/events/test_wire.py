"""One record in wire format: what is written is what was meant, or an error that names the field."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import wire
from pipeline.events.schemas import RecordSchema, all_schemas, schema
from tests.unit.events.samples import NOW, RESPONSE, contents, damaged, values

AT = datetime(2026, 3, 1, 12, 30, 0, 250_000, tzinfo=UTC)
OK: dict[str, Any] = {
    "event_id": "e-1",
    "occurred_at": AT,
    "source": "shop",
    "touchpoint": "checkout",
    "action": "order_paid",
    "channel": "web",
}
TOUCHPOINT = schema("TouchpointEvent")


@given(st.sampled_from(all_schemas()).flatmap(lambda one: st.tuples(st.just(one), contents(one))))
def test_round_trip(case: tuple[RecordSchema, dict[str, Any]]) -> None:
    one, record = case
    value = wire.encode(one, record)
    assert value[:5] == wire.header(one.schema_id)
    found, read = wire.decode(value)
    assert found is one
    assert wire.encode(one, {**read, "day": record["day"]} if "day" in record else read) == value


def test_times_are_aware_datetimes_in_any_zone_or_milliseconds() -> None:
    east = AT.astimezone(timezone(timedelta(hours=9)))
    ms = 1_772_368_200_250
    written = {wire.encode(TOUCHPOINT, {**OK, "occurred_at": at}) for at in (AT, east, ms)}
    assert len(written) == 1
    assert wire.decode(written.pop())[1]["occurred_at"] == AT
    before = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert wire.milliseconds(before) == -1


def test_defaults_fill_what_is_missing() -> None:
    _, record = wire.decode(wire.encode(TOUCHPOINT, OK))
    assert record == {
        **OK,
        "customer_id": None,
        "case_id": None,
        "segment": None,
        "priority": None,
        "attributes": {},
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"occurred_at": datetime(2026, 3, 1)}, "occurred_at: a time without time zone"),  # noqa: DTZ001 - the point
        ({"occurred_at": 1.5}, "occurred_at: must be a whole number, not float"),
        ({"occurred_at": "now"}, "occurred_at: must be a whole number, not str"),
        ({"occurred_at": wire.LAST_MS + 1}, "occurred_at: must be in the years 1970 to 9999"),
        ({"source": None}, "source: must be a text, not NoneType"),
        ({"source": b"shop"}, "source: must be a text, not bytes"),
        ({"source": "\ud800"}, "source: "),
        ({"customer_id": 17}, "customer_id: must be a text, not int"),
        ({"attributes": {"n": 1}}, "attributes: must be a text, not int"),
        ({"attributes": "none"}, "attributes: must be texts by name, not str"),
        ({"attributes": {str(i): "" for i in range(1001)}}, "attributes: must have at most 1000 entries"),
        ({"touch_point": "x"}, "touch_point"),
    ],
)
def test_what_cannot_be_written_is_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(wire.WireError, match=text):
        wire.encode(TOUCHPOINT, {**OK, **changes})


def test_a_missing_field_is_named() -> None:
    with pytest.raises(wire.WireError, match="action"):
        wire.encode(TOUCHPOINT, {name: value for name, value in OK.items() if name != "action"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score", 4.5),
        ("score", True),
        ("score", "9"),
        ("score", 2**31),
        ("retracted", "no"),
        ("retracted", 1),
    ],
)
def test_nothing_is_bent_to_fit(name: str, value: object) -> None:
    texts = dict.fromkeys(("response_id", "source", "instrument", "touchpoint", "channel"), "x")
    with pytest.raises(wire.WireError, match=name):
        wire.encode(RESPONSE, {**texts, "occurred_at": NOW, "score": 9, name: value})


@given(values(RESPONSE) | damaged(RESPONSE) | st.binary(max_size=40))
def test_any_bytes_are_a_record_or_a_wire_error(value: bytes) -> None:
    try:
        found, record = wire.decode(value)
    except wire.WireError:
        return
    assert set(record) == {field["name"] for field in found.avro["fields"]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"", "not in wire format"),
        (b"\x01\0\0\0\x02", "not in wire format"),
        (wire.header(4711) + b"x", "4711 is not in the registry"),
        (wire.header(2), "SurveyResponse: malformed"),
        (wire.encode(TOUCHPOINT, OK) + b"xy", "2 bytes after the last field"),
    ],
)
def test_what_cannot_be_read_says_why(value: bytes, text: str) -> None:
    with pytest.raises(wire.WireError, match=text):
        wire.decode(value)


def test_apps_need_nothing_but_fastavro() -> None:
    code = (
        "import sys; import pipeline.events.wire, pipeline.events.partition; "
        "heavy = {'numpy', 'polars', 'pydantic', 'faust'} & set(sys.modules); "
        "sys.exit(f'{heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
