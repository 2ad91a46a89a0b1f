"""The bench's own encoder writes what any producer would, and what it expects of the worker is true."""

from __future__ import annotations

import numpy as np

from bench.responses import responses
from pipeline.events import wire
from pipeline.events.batch import decode
from pipeline.events.check import label_responses
from pipeline.events.partition import partition_of
from pipeline.events.records import Records
from pipeline.events.schemas import schema
from pipeline.measures.instruments import SHIPPED, bounds


def test_the_bytes_are_those_of_the_ordinary_encoder():
    sent = responses(300, seed=3)
    for key, value in zip(sent.keys, sent.values, strict=True):
        _, record = wire.decode(value)
        assert wire.encode(schema("SurveyResponse"), record) == value
        assert record["response_id"].encode() == key


def test_records_lie_where_the_default_partitioner_puts_them():
    sent = responses(100, seed=4)
    assert sent.partition.tolist() == [partition_of(key, 4) for key in sent.keys]


def test_what_is_expected_equals_a_recount():
    n = 5_000
    sent = responses(n, seed=5, garbage=0.01, rate=100.0)
    records = Records.of(sent.values, list(range(n)), [2**42] * n)
    batch = label_responses(decode(records, schema("SurveyResponse")), records, bounds(SHIPPED))[0]
    good, distinct = len(batch), len(np.unique(batch.hashes()[0]))
    assert sent.expected == {"counted": distinct, "duplicate": good - distinct, "dead_letter": n - good}
    assert all(sent.expected.values())
    leaf = ("instrument", "score", "touchpoint", "channel", "segment")
    minutes = batch.frame.select(*leaf, minute=batch.frame["occurred_at"] // 60_000)
    assert sent.cells == len(minutes.unique())


def test_the_same_seed_gives_the_same_traffic():
    one, two = responses(1_000, seed=6), responses(1_000, seed=6)
    assert one.keys == two.keys
    assert one.expected == two.expected
    assert responses(1_000, seed=7).keys != one.keys
