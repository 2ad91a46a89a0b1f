"""Follow-ups in the store: the newest revision holds, a later contact closes, what waits too long is overdue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipeline.measures.instruments import SHIPPED
from pipeline.stores.migrate import configure
from pipeline.stores.sink import Sink
from pipeline.verify.raw import RawTable
from pipeline.verify.recount import Recount
from pipeline.verify.terms import Terms
from tests.support.stores import new_database, reader, writer

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


def ms(time):
    return int(time.timestamp() * 1000)


def follow_up(name, happened, due=24, customer="c-1", case=None, offset=0, **more):
    return {
        "follow_up_id": name,
        "occurred_at": ms(NOW - happened * HOUR),
        "kind": "detractor",
        "touchpoint": "checkout",
        "channel": "web",
        "segment": None,
        "customer_id": customer,
        "case_id": case,
        "response_id": name,
        "instrument": "nps_0_10",
        "score": 3,
        "priority": None,
        "due_at": ms(NOW + (due - happened) * HOUR),
        "revision": 0,
        "retracted": False,
        "kafka_partition": 0,
        "kafka_offset": offset,
        "kafka_time": ms(NOW),
    } | more


def contact(action, ago, offset, customer=None, case=None):
    return {
        "event_id": f"e-{offset}",
        "occurred_at": ms(NOW - ago * HOUR),
        "source": "desk",
        "touchpoint": "support",
        "action": action,
        "channel": "phone",
        "customer_id": customer,
        "case_id": case,
        "segment": None,
        "priority": None,
        "attributes": [],
        "kafka_partition": 0,
        "kafka_offset": offset,
        "kafka_time": ms(NOW),
    }


@pytest.fixture
def database(store):
    name = new_database(store)
    with writer(store) as client:
        configure(client, name, SHIPPED, 400 * 86_400.0)
    return name


def test_what_waits_what_is_closed_and_what_was_taken_back(store, database):
    told = [
        follow_up("overdue", 30, customer="c-1"),
        follow_up("waits", 3, customer="c-2"),
        follow_up("by its customer", 30, customer="c-3"),
        follow_up("by its case", 30, customer="c-4", case="k-4"),
        follow_up("both", 30, customer="c-5", case="k-5"),
        follow_up("taken back", 30, customer="c-6"),
        follow_up("taken back", 30, customer="c-6", revision=3, retracted=True),
        follow_up("back again", 30, customer="c-7", revision=5, retracted=True),
        follow_up("back again", 30, customer="c-7", revision=6),
        follow_up("of a case", 30, customer=None, case="k-8"),
    ]
    contacts = [
        contact("case_replied", 40, 0, customer="c-1"),  # before it happened
        contact("page_seen", 2, 1, customer="c-2"),
        contact("case_contacted", 10, 2, customer="c-3"),
        contact("case_replied", 5, 3, customer="c-3"),
        contact("case_replied", 20, 4, case="k-4"),
        contact("follow_up_done", 12, 5, customer="c-5"),
        contact("case_replied", 15, 6, case="k-5"),
    ]
    with writer(store, database=database) as client:
        insert = Sink(client).insert
        insert("follow_ups", pl.DataFrame([one | {"kafka_offset": k} for k, one in enumerate(told)]))
        insert(
            "touchpoints",
            pl.DataFrame(
                contacts,
                infer_schema_length=None,
                schema_overrides={
                    "segment": pl.String,
                    "priority": pl.String,
                    "attributes": pl.List(pl.Struct({"key": pl.String, "value": pl.String})),
                },
            ),
        )
    with reader(store, database=database) as client:
        rows = client.query(
            "SELECT follow_up_id, seconds_to_contact, overdue FROM current_follow_ups"
        ).result_rows
        times = client.query("SELECT * FROM follow_up_times").result_rows
    assert {name: (seconds, bool(overdue)) for name, seconds, overdue in rows} == {
        "overdue": (None, True),
        "waits": (None, False),
        "by its customer": (20 * 3600, False),
        "by its case": (10 * 3600, False),
        "both": (15 * 3600, False),
        "back again": (None, True),
        "of a case": (None, True),
    }
    assert times == [("detractor", "checkout", 7, 4, 3, 15 * 3600, 20 * 3600)]


def test_verify_knows_that_a_good_answer_ends_a_follow_up_also_where_revisions_begin_below_zero(store):
    row = {
        "response_id": "r",
        "occurred_at": ms(NOW),
        "source": "app",
        "instrument": "nps_0_10",
        "touchpoint": "pay",
    }
    row |= {
        "channel": "web",
        "customer_id": "anna",
        "retracted": False,
        "kafka_partition": 0,
        "kafka_time": ms(NOW),
    }
    rows = [row | {"score": score, "revision": k - 1, "kafka_offset": k} for k, score in enumerate((2, 9))]
    name = new_database(store)
    with writer(store, database=name) as client:
        Sink(client).insert("responses", pl.DataFrame(rows).cast({"kafka_partition": pl.Int32}))
    terms = Terms(0, calls={"detractor": 1}, alarms={"nps_0_10": ("detractor", 0, 6)})
    with reader(store, database=name) as client:
        recount = Recount(RawTable(client, "responses", {"nps_0_10": "nps"}), "responses", 1000, 0, 0, terms)
        recount.advance({0: 0}, lambda _: None)
        assert list(recount.calls(ms(NOW)).must) == ["r/answer"]
        recount.advance({0: 1}, lambda _: None)
        assert list(recount.calls(ms(NOW)).must) == []
