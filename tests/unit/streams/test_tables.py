"""What was fetched from several partitions becomes the same rows in one piece and in many."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition

from pipeline.events import wire
from pipeline.events.records import Records
from pipeline.events.schemas import by_ids, schema
from pipeline.measures.instruments import SHIPPED, bounds
from pipeline.streams import tables as tables_module
from pipeline.streams.outgoing import progress_value
from pipeline.streams.rows import sources
from pipeline.streams.tables import Tables
from pipeline.streams.topics import Topics

T = Topics("feedback")


def response(name):
    return wire.encode(
        schema("SurveyResponse"),
        {
            "response_id": name, "occurred_at": 1_000, "source": "app", "instrument": "csat_1_5", "score": 4,
            "touchpoint": "checkout", "channel": "web",
        },
    )  # fmt: skip


def outcome(partition, n, version):
    fields = {"topic": "t", "partition": partition, "day": 1, "outcome": "counted", "n": n}
    return wire.encode(schema("Outcome"), fields | {"version": version})


def records(values, first, time):
    return Records.of(values, range(first, first + len(values)), [time + k for k in range(len(values))])


FETCHED = {
    TopicPartition(T.responses, 1): [records([b"garbage", response("d")], 7, 100)],
    TopicPartition(T.responses, 0): [
        records([response("a")], 4, 100),
        records([b"", response("b"), response("c")], 5, 200),
    ],
    TopicPartition(T.outcomes, 1): [
        records([outcome(0, 3, 5), progress_value("deltas/0", {("t", 0): 8}), outcome(0, 4, 9)], 0, 300)
    ],
    TopicPartition(T.outcomes, 0): [records([outcome(1, 2, 6), b"?"], 0, 400)],
    TopicPartition(T.cells, 0): [
        records(
            [
                wire.encode(
                    schema("Cell"),
                    {
                        "metric": "csat", "instrument": "csat_1_5", "touchpoint": "checkout", "channel": "web",
                        "segment": "none", "bucket": 60_000, "bin": 4, "part": 3, "n": 2, "total": 8.0, "version": 1,
                    },
                )
            ],
            0,
            500,
        )
    ],
}  # fmt: skip


@pytest.mark.parametrize("at_once", [1, 100])
def test_rows_know_their_places_and_what_they_say_about_progress(monkeypatch, caplog, at_once):
    monkeypatch.setattr(tables_module, "_AT_ONCE", at_once)
    made = Tables(sources(T, bounds(SHIPPED)), by_ids).of(FETCHED)
    assert list(made) == ["cells", "outcome_counts", "responses", "progress"]
    rows = made["responses"].select("response_id", "kafka_partition", "kafka_offset", "kafka_time").rows()
    assert rows == [("a", 0, 4, 100), ("b", 0, 6, 201), ("c", 0, 7, 202), ("d", 1, 8, 101)]
    assert sorted(made["outcome_counts"].select("partition", "n", "version").rows()) == [
        (0, 3, 5), (0, 4, 9), (1, 2, 6),
    ]  # fmt: skip
    assert set(made["progress"].rows()) == {
        ("archive", T.responses, 0, 7, 202),
        ("archive", T.responses, 1, 8, 101),
        ("archive", T.outcomes, 0, 1, 401),
        ("archive", T.outcomes, 1, 2, 302),
        ("archive", T.cells, 0, 0, 500),
        ("deltas/0", "t", 0, 8, 301),
        ("tally", "t", 0, 9, 302),
        ("tally", "t", 1, 6, 400),
    }
    assert [record.n for record in caplog.records] == [1]  # of our own topics one record cannot be read
