"""Records as rows: every column as the plain decoder reads it, whatever way it came to be."""

from __future__ import annotations

import re

import polars as pl
import pytest

from pipeline.events import wire
from pipeline.events.layout import fields
from pipeline.events.records import Records
from pipeline.events.schemas import schema
from pipeline.measures.instruments import SHIPPED, bounds
from pipeline.stores.migrate import migrations
from pipeline.streams.rows import Source, rows_of, sources
from pipeline.streams.topics import Topics

NOW = 1_800_000_000_000
RESPONSE = {
    "response_id": "r-1",
    "occurred_at": NOW,
    "source": "shop",
    "instrument": "csat_1_5",
    "score": 4,
    "touchpoint": "checkout",
    "channel": "web",
    "customer_id": None,
    "case_id": None,
    "segment": "business",
    "language": "de",
    "comment": "gut",
    "touchpoint_at": None,
    "revision": 0,
    "retracted": False,
}
CELL = {
    "metric": "reopen",
    "instrument": "",
    "touchpoint": "support",
    "channel": "mail",
    "segment": "none",
    "bucket": NOW,
    "bin": 1,
    "origin": "live",
    "part": 7,
    "n": 3,
    "total": 0.0,
    "version": 9,
}


def source(table: str) -> Source:
    return next(one for one in sources(Topics("feedback"), bounds(SHIPPED)) if one.table == table)


def records(values: list[bytes]) -> Records:
    return Records.of(values, list(range(5, 5 + len(values))), [NOW] * len(values))


def test_responses_are_rows_with_their_position():
    told = [
        RESPONSE,
        RESPONSE | {"response_id": "r-2", "segment": "", "touchpoint": "delivery"},
        RESPONSE | {"response_id": "r-3", "segment": None, "comment": ""},
    ]
    values = [wire.encode(schema("SurveyResponse"), one) for one in told]
    rows = rows_of(source("responses"), 3, records([values[0], b"garbage", *values[1:]]))
    assert rows.skipped == 1
    expected = [one | {"segment": one["segment"] or None, "kafka_partition": 3} for one in told]
    found = rows.frame.to_dicts()
    assert [row.pop("kafka_offset") for row in found] == [5, 7, 8]
    assert [row.pop("kafka_time") for row in found] == [NOW] * 3
    assert found == expected


def test_cells_keep_empty_texts():
    """The instrument of a share is empty, and no null."""
    told = [CELL, CELL | {"instrument": "csat_1_5", "metric": "csat"}]
    rows = rows_of(source("cells"), 0, records([wire.encode(schema("Cell"), one) for one in told]))
    assert rows.frame.to_dicts() == told


@pytest.mark.parametrize("table", ["responses", "touchpoints", "cells"])
def test_no_rows_have_the_same_types(table: str):
    """Or what came of one partition could not be joined with what came of another."""
    one = source(table)
    empty = rows_of(one, 0, records([b"garbage"])).frame
    assert empty.is_empty()
    assert empty.schema["touchpoint"] == pl.Categorical


def test_our_own_topics_are_read_under_the_ids_of_a_registry_and_under_ours():
    """Ours from before there was a registry, which means something else by them."""
    ours, strange = schema("Cell"), schema("SurveyResponse")
    known = {ours.schema_id: strange, 500: ours}
    value = wire.encode(ours, CELL)
    values = [value, wire.header(500) + value[wire.HEADER_SIZE :], wire.header(501) + b"x"]
    rows = rows_of(source("cells"), 0, records(values), lambda ids: {k: known[k] for k in ids if k in known})
    assert rows.frame["part"].to_list() == [7, 7]
    assert rows.skipped == 1


def test_what_can_be_null_has_a_column_that_can_be_null_and_nothing_else_has():
    """A null that a table does not take would be refused for ever, and what is behind it would wait."""
    made = "\n".join(text for migration in migrations() for text in migration.statements)
    tables = dict(
        re.findall(r"^CREATE TABLE IF NOT EXISTS (\w+)\n\((.*?)^\)", made, re.MULTILINE | re.DOTALL)
    )
    for one in sources(Topics("feedback"), bounds(SHIPPED)):
        kinds = dict(re.findall(r"^    (\w+) (.*)$", tables[one.table], re.MULTILINE))
        nullable = {field.name: field.null is not None for field in fields(one.schema)}
        assert nullable == {name: "Nullable(" in kinds[name] for name in nullable}
