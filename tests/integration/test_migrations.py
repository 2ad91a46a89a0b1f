"""Migrations on the real engine: applied once, refused when changed, and what the configuration tells the tables."""

from __future__ import annotations

import re

import pytest

from pipeline.errors import FeedbackError
from pipeline.measures.instruments import SHIPPED
from pipeline.stores import migrate as module
from pipeline.stores.client import connect
from pipeline.stores.migrate import RAW_TABLES, configure, migrate, migrations, pending

DAY = 86_400.0
# The contract with other people's dashboards.
COLUMNS = {
    "touchpoints": "event_id occurred_at source touchpoint action channel customer_id case_id segment priority"
    " attributes kafka_partition kafka_offset kafka_time",
    "responses": "response_id occurred_at source instrument score touchpoint channel customer_id case_id segment"
    " language comment touchpoint_at revision retracted kafka_partition kafka_offset kafka_time",
    "resolutions": "case_id occurred_at touchpoint channel segment priority opened_at first_reply_seconds"
    " first_resolution_seconds full_resolution_seconds agent_seconds business_seconds replies contacts reopens"
    " sla_target_seconds sla_breached one_contact revision retracted kafka_partition kafka_offset kafka_time",
    "cells": "metric instrument touchpoint channel segment bucket bin origin part n total version",
    "scores": "time metric instrument window touchpoint channel segment value lower upper n",
    "dead_letters": "topic partition offset time reason stage detail raw",
    "outcome_counts": "topic partition day outcome n version",
    "outcomes": "topic partition day outcome n",
    "nps": "bucket instrument touchpoint channel segment n promoters passives detractors value lower upper",
    "csat": "bucket instrument touchpoint channel segment n satisfied value lower upper",
    "ces": "bucket instrument touchpoint channel segment n score_sum easy value lower upper",
    "answers": "bucket metric instrument touchpoint channel segment bin n score good bad low high",
    "response_rate": "bucket instrument touchpoint channel segment n shown dismissed answered value lower upper",
    "journey": "bucket stage touchpoint channel segment metric instrument n value lower upper",
    "drops": "metric instrument touchpoint started detected ended before now n version",
    "annotations": "id time ended touchpoint text author retracted written",
    "follow_ups": "follow_up_id occurred_at kind touchpoint channel segment customer_id case_id due_at revision",
    "progress": "stage topic partition offset time",
    "cases": "case_id touchpoint channel segment priority customer_id state opened_at replies contacts reopens",
    "resolution_times": "bucket touchpoint channel segment n clock seconds_sum p50 p90 p95 p99 value lower upper",
}
COLUMNS["current_responses"], COLUMNS["current_resolutions"] = COLUMNS["responses"], COLUMNS["resolutions"]
AT = ("nps", "csat", "ces", "resolution_times", "response_rate")  # also with any window and time


@pytest.fixture
def client(store, settings):
    with connect(settings(), write=True, database="default") as client:
        yield client


def test_applied_once_and_known_to_be(client):
    names = [migration.name for migration in migrations()]
    assert pending(client, "feedback") == names == sorted(names)
    assert migrate(client, "feedback") == names
    assert migrate(client, "feedback") == pending(client, "feedback") == []
    for table, wanted in COLUMNS.items():
        found = [row[0] for row in client.query(f"DESCRIBE TABLE {table}").result_rows]
        assert set(wanted.split()) <= set(found), table
    for view in AT:
        found = client.query(f"SELECT * FROM {view}_at(at = now(), seconds = 3600) LIMIT 0").column_names
        assert set(COLUMNS[view].split()) - {"bucket"} <= set(found), view
    types = dict(row[:2] for row in client.query("DESCRIBE TABLE cells").result_rows)
    assert (types["bucket"], types["bin"], types["n"], types["total"]) == (
        "DateTime('UTC')",
        "Int32",
        "Int64",
        "Float64",
    )


def test_a_run_that_broke_off_goes_on(client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "migrations", lambda: migrations()[:1])
        migrate(client, "feedback")
    client.command("CREATE OR REPLACE VIEW feedback.nps AS SELECT 1")
    assert migrate(client, "feedback") == [migration.name for migration in migrations()[1:]]


def test_one_that_reads_differently_now_is_refused(client, monkeypatch):
    migrate(client, "feedback")
    (first, *rest) = migrations()
    changed = module.Migration(first.name, first.statements, "other")
    monkeypatch.setattr(module, "migrations", lambda: (changed, *rest))
    for call in (migrate, pending):
        with pytest.raises(FeedbackError, match=f"{first.name} was applied to feedback with another text"):
            call(client, "feedback")


def test_instruments_and_retention_follow_the_configuration(client):
    migrate(client, "feedback")
    for _ in range(2):
        configure(client, "feedback", SHIPPED, 100 * DAY)
    rows = client.query("SELECT * EXCEPT written FROM feedback.instruments FINAL").named_results()
    assert {row["name"]: row["easy_from"] for row in rows} == {n: one.easy_from for n, one in SHIPPED.items()}
    for days in (100, 30):
        configure(client, "feedback", SHIPPED, days * DAY)
        for table in RAW_TABLES:
            made = client.command(f"SHOW CREATE TABLE feedback.{table}")
            assert re.findall(r"toIntervalSecond\((\d+)\)", str(made)) == [str(days * 86_400)]


def test_a_name_is_quoted(client):
    name = "odd `name"
    assert migrate(client, name)
    assert pending(client, name) == []
