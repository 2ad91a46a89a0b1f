"""Hypothesis strategies: valid records of any schema, and damaged ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from pipeline.events.layout import Field, Kind, fields
from pipeline.events.records import Records
from pipeline.events.schemas import RecordSchema, schema
from pipeline.events.wire import FIRST_MS, LAST_MS, encode, header

RESPONSE = schema("SurveyResponse")
TOUCHPOINT = schema("TouchpointEvent")
NOW = 1_800_000_000_000

texts = st.one_of(
    st.sampled_from(["", "a", "checkout", "naïve café", "漢字かな", "🙂" * 3, "x" * 63, "x" * 64, "é" * 200]),
    st.text(max_size=20),
)
_CONTENTS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.STRING: texts,
    Kind.BYTES: st.binary(max_size=40),
    Kind.BOOLEAN: st.booleans(),
    Kind.INT: st.one_of(st.integers(-70, 70), st.integers(-(1 << 31), (1 << 31) - 1)),
    Kind.LONG: st.one_of(st.integers(-70, 70), st.integers(-(1 << 63), (1 << 63) - 1)),
    Kind.DOUBLE: st.floats(allow_nan=False),
    Kind.MAP: st.dictionaries(texts, texts, max_size=4),
}
times = st.one_of(st.integers(NOW - 10**10, NOW), st.integers(FIRST_MS, LAST_MS))


def _content(field: Field) -> st.SearchStrategy[Any]:
    content = times if field.time else _CONTENTS[field.kind]
    if field.kind is Kind.INT and field.name == "day":
        content = st.integers(-700_000, 2_000_000)  # a date that Python has
    return content if field.null is None else st.none() | content


def contents(schema: RecordSchema) -> st.SearchStrategy[dict[str, Any]]:
    """Records of this schema as dictionaries."""
    return st.fixed_dictionaries({field.name: _content(field) for field in fields(schema)})


def values(schema: RecordSchema) -> st.SearchStrategy[bytes]:
    """Records of this schema in wire format."""
    return contents(schema).map(lambda record: encode(schema, record))


@st.composite
def damaged(draw: st.DrawFn, schema: RecordSchema) -> bytes:
    """A record after an accident."""
    value = draw(values(schema))
    accident = draw(st.sampled_from(["flips", "cut", "joined", "inserted", "byte", "random body"]))
    at = draw(st.integers(0, len(value) - 1))
    if accident == "cut":
        return value[:at]
    if accident == "joined":
        return value + draw(values(schema))
    if accident == "inserted":
        return value[:at] + draw(st.binary(min_size=1, max_size=12)) + value[at:]
    if accident == "byte":
        return value[:at] + bytes([draw(st.sampled_from([0, 1, 2, 3, 127, 128, 255]))]) + value[at + 1 :]
    if accident == "random body":
        return header(schema.schema_id) + draw(st.binary(max_size=60))
    return flipped(value, draw(st.lists(st.integers(0, 8 * len(value) - 1), min_size=1, max_size=3)))


def flipped(value: bytes, bits: list[int]) -> bytes:
    """Some bits turned over."""
    out = bytearray(value)
    for bit in bits:
        out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def anything(schema: RecordSchema) -> st.SearchStrategy[bytes | None]:
    """What may stand in a topic: mostly records, also what is none."""
    return st.one_of(
        values(schema),
        values(schema),
        damaged(schema),
        st.none(),
        st.binary(max_size=30),
        st.builds(lambda i, rest: header(i) + rest, st.integers(0, 9), st.binary(max_size=30)),
    )


def batch_of(some: list[bytes | None]) -> Records:
    """As one batch, with gaps in the offsets and a time each."""
    return Records.of(some, [100 + 3 * i for i in range(len(some))], [NOW + i for i in range(len(some))])
