"""The judge against the plain rules, exhaustively: every place of some records changed in every way of one byte."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.events.batch import decode
from pipeline.events.records import Records
from pipeline.events.rejected import Reason
from pipeline.events.schemas import RecordSchema, schema
from pipeline.events.wire import encode
from tests.unit.events import plain
from tests.unit.events.samples import NOW

RESPONSE = {
    "response_id": "r-0123456789",
    "occurred_at": NOW,
    "source": "app",
    "instrument": "nps_0_10",
    "score": 9,
    "touchpoint": "caf\u00e9",
    "channel": "web",
    "revision": 300,
}
TOUCHPOINT = {
    "event_id": "e",
    "occurred_at": 1,
    "source": "s",
    "touchpoint": "t",
    "action": "a",
    "channel": "c",
    "priority": "\u6f22",
    "attributes": {"k": "v", "long": "x" * 70, "": "\u00e9"},
}
CELL = {
    **dict.fromkeys(("metric", "instrument", "touchpoint", "channel", "segment"), "x"),
    **dict.fromkeys(("bin", "n", "version"), 1),
    "bucket": NOW,
    "part": -(1 << 63),
    "total": -0.1,
}
LETTER = {
    **dict.fromkeys(("topic", "reason", "stage", "detail"), "x"),
    "partition": 1,
    "offset": (1 << 63) - 1,
    "time": NOW,
    "raw": b"\xff\xfe\x80",
}
FULL = {
    **RESPONSE,
    **dict.fromkeys(("customer_id", "case_id", "segment", "language"), "y"),
    "comment": "na\u00efve",
    "touchpoint_at": NOW - 1,
    "retracted": True,
}
CASES = [
    pytest.param(schema("SurveyResponse"), RESPONSE, id="response without optional fields"),
    pytest.param(schema("SurveyResponse"), FULL, id="response with all fields"),
    pytest.param(schema("TouchpointEvent"), TOUCHPOINT, id="touchpoint with attributes"),
    pytest.param(schema("Cell"), CELL, id="cell"),
    pytest.param(schema("DeadLetter"), LETTER, id="dead letter"),
    pytest.param(
        schema("Score"),
        {
            "time": NOW,
            "value": 1.5,
            "n": 3,
            **dict.fromkeys(("metric", "instrument", "window", "touchpoint", "channel", "segment"), ""),
        },
        id="score",
    ),
]
INSERTED = (b"\x00", b"\x01", b"\x02", b"\x03", b"a", b"\x7f", b"\x80", b"\xc3", b"\xff", b"\x80" * 9)


def variants(value: bytes) -> Iterator[bytes]:
    """Each byte as any other; cut at each place; lengthened at each place."""
    for at in range(len(value)):
        yield value[:at]
        yield from (value[:at] + bytes([byte]) + value[at + 1 :] for byte in range(256))
        yield from (value[:at] + more + value[at:] for more in INSERTED)
    yield from (value + more for more in (*INSERTED, value, value[5:]))


def same(got: object, expected: object) -> bool:
    return got == expected or repr(got) == repr(expected)  # not a number equals nothing


@pytest.mark.parametrize(("schema", "record"), CASES)
def test_every_change_of_one_byte(schema: RecordSchema, record: dict[str, Any]) -> None:
    value = encode(schema, record)
    # The record itself stands among the variants, so that one would be seen to spoil it.
    some = [
        each for i, variant in enumerate(variants(value)) for each in (variant, value)[: 1 + (i % 3 == 0)]
    ]
    batch = decode(Records.of(some, range(len(some)), [NOW] * len(some)), schema)
    fates: dict[int, object] = {one.offset: one.reason for one in batch.rejected}
    fates |= dict(zip(batch.at.tolist(), batch.frame.to_dicts(), strict=True))
    assert len(fates) == len(some)
    wrong = [each for i, each in enumerate(some) if not same(fates[i], plain.read(schema, each))]
    assert not wrong
    assert {Reason.MALFORMED, Reason.UNKNOWN_SCHEMA} <= {one.reason for one in batch.rejected}
    assert len(batch) > len(some) / 4
