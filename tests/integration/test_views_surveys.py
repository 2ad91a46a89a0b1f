"""Response rate and journey: the views equal a recount of the raw rows, a survey at a time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipeline.measures.instruments import SHIPPED
from pipeline.measures.intervals import wilson
from pipeline.measures.windows import parse
from pipeline.stores.client import connect
from pipeline.stores.migrate import configure, migrate
from pipeline.stores.report import report
from pipeline.stores.sink import Sink

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
MINUTE, DAY = 60_000, 86_400_000
NOON_MS = int(NOON.timestamp()) * 1000
STEPS = {"survey_sent": 0, "survey_shown": 1, "survey_dismissed": 2, "answer": 3}
LIFE = 30 * DAY


@pytest.fixture
def client(settings, store):
    configured = settings()
    with connect(configured, write=True, database="default") as client:
        migrate(client, configured.store.database)
        configure(
            client,
            configured.store.database,
            SHIPPED,
            400 * 86_400.0,
            [parse("1h"), parse("24h"), parse("7d")],
            {"pay": "order", "help": "support"},
        )
        client.database = configured.store.database
        yield client


def asked(client, sql, **parameters):
    return list(client.query(sql, parameters=parameters).named_results())


def steps(rng, n, now):
    """Touchpoints and responses of few people, so that surveys follow each other, with duplicates and versions."""
    events, answers = [], []
    for k in range(n):
        at = now - rng.choice([rng.randrange(60), rng.randrange(2880), rng.randrange(80_000)]) * MINUTE
        at += k  # no two at one instant: which of them is the latest is nobody's business
        row = {
            "occurred_at": at, "source": "test",
            "touchpoint": rng.choice(["pay", "help"]), "channel": rng.choice(["web", "app"]),
            "customer_id": rng.choice([None, "", *(f"u{one}" for one in range(n // 40))]),
            "case_id": rng.choice([None, None, "", *(f"c{one}" for one in range(n // 20))]),
            "segment": rng.choice([None, "", "new"]),
            "kafka_partition": rng.randrange(2), "kafka_offset": k, "kafka_time": at + rng.randrange(MINUTE),
        }  # fmt: skip
        action = rng.choice([*STEPS, "answer", "visited"])
        if action == "answer":
            name = f"r{rng.randrange(n // 3)}"
            more = {"response_id": name, "instrument": "csat_1_5", "score": 5}
            version = {"revision": rng.randrange(3), "retracted": rng.random() < 0.1}
            # versions of one answer lie close together, as they do
            close = NOON_MS - int(name[1:]) * 97 * MINUTE + rng.randrange(3) * MINUTE + k
            answers.append(
                row | more | version | {"occurred_at": close, "kafka_time": close + rng.randrange(DAY)}
            )
        else:
            events.append(row | {"event_id": f"e{k}", "action": action})
    for k, row in enumerate(rng.sample(events, n // 10)):
        events.append(row | {"kafka_offset": n + k, "kafka_time": row["kafka_time"] + 1000})
    return events, answers


def place(row):
    return row["kafka_time"], row["kafka_partition"], row["kafka_offset"]


def surveys(events, answers, until):
    """(asked at, touchpoint, channel, segment, shown, dismissed, answered) of every survey, step by step."""
    known, newest = {}, {}
    for row in sorted(events, key=place):
        if row["action"] in STEPS:
            known.setdefault(row["event_id"], row | {"step": STEPS[row["action"]], "id": row["event_id"]})
    for row in sorted(answers, key=place):
        version = (row["revision"], row["retracted"])
        if row["response_id"] not in newest or version > newest[row["response_id"]][0]:
            newest[row["response_id"]] = (version, row | {"step": 3, "id": row["response_id"]})
    given = [row for _, row in newest.values() if not row["retracted"]]
    latest, found = {}, {}
    for row in sorted([*known.values(), *given], key=lambda row: (row["occurred_at"], row["step"])):
        at, step = row["occurred_at"], row["step"]
        keys = [(kind, row[kind], row["touchpoint"]) for kind in ("case_id", "customer_id") if row[kind]]
        if at >= until or not keys:
            continue
        held = {}
        for kind in (0, 1):
            before = [latest.get((kind, *key)) for key in keys]
            held[kind] = next((one for one in before if one and at - one[0] <= LIFE), None)
        begins = step == 0 or (step == 1 and held[0] is None)
        mine = row["id"] if begins else (held[0] or held[1] or (0, None))[1]
        if begins:
            found[mine] = [
                at,
                row["touchpoint"],
                row["channel"],
                row["segment"] or "none",
                False,
                False,
                False,
            ]
        if mine in found and step:
            found[mine][3 + step] = True
        if step < 2:
            latest.update({(step, *key): (at, row["id"]) for key in keys})
    return [tuple(one) for one in found.values()]


def counts(rows, **keep):
    """series -> n, shown, dismissed, answered, with every marginal."""
    found = {}
    for at, touchpoint, channel, segment, *became in rows:
        for mask in range(8):
            series = tuple(
                name if mask >> k & 1 else "" for k, name in enumerate((touchpoint, channel, segment))
            )
            n = found.setdefault((*(f(at) for f in keep.values()), *series), [0, 0, 0, 0])
            n[0] += 1
            for k, yes in enumerate(became, 1):
                n[k] += yes
    return found


def assert_rates(rows, wanted, *keys):
    got = {tuple(row[key] for key in (*keys, "touchpoint", "channel", "segment")): row for row in rows}
    assert got.keys() == wanted.keys()
    for key, row in got.items():
        assert [row[name] for name in ("n", "shown", "dismissed", "answered")] == wanted[key], key
        lower, upper = wilson(row["answered"], row["n"])
        assert [row[name] for name in ("value", "lower", "upper")] == pytest.approx(
            [row["answered"] / row["n"], float(lower), float(upper)], abs=1e-12
        )
        assert 0 <= row["lower"] <= row["value"] <= row["upper"] <= 1


def test_the_response_rate_equals_a_walk_over_all_steps(client, seed):
    rng = random.Random(seed)
    events, answers = steps(rng, 4000, NOON_MS)
    sink = Sink(client)
    sink.insert("touchpoints", pl.DataFrame(events, infer_schema_length=None))
    sink.insert("responses", pl.DataFrame(answers, infer_schema_length=None))
    everything = surveys(events, answers, 1 << 60)
    assert sum(one[-1] for one in everything) > 50, "hardly anything was answered"
    leaves = {k: n for k, n in counts(everything, minute=lambda at: at // MINUTE).items() if all(k[1:])}
    rows = asked(client, "SELECT *, toInt64(toUnixTimestamp(bucket)) / 60 AS minute FROM response_rate")
    assert_rates(rows, leaves, "minute")
    for name in ("15m", "24h", "7d", "30d"):
        at = NOON - timedelta(seconds=rng.randrange(86_400))
        first, end = (minute * MINUTE for minute in parse(name).span(at.timestamp()))
        by_then = [one for one in surveys(events, answers, end) if first <= one[0] < end]
        sql = "SELECT * FROM response_rate_at(at = {at:DateTime('UTC')}, seconds = {seconds:UInt32})"
        rows = asked(client, sql, at=at, seconds=parse(name).seconds)
        assert_rates(rows, counts(by_then))
        told = report(client, SHIPPED, [parse("1h"), parse(name)], ("touchpoint", "channel", "segment"), at)
        lines = {
            (line.touchpoint, line.channel, line.segment): tuple(line.score)
            for line in told
            if line.metric == "response_rate" and line.window == name
        }
        assert lines == {
            (row["touchpoint"], row["channel"], row["segment"]): pytest.approx(
                (row["value"], row["lower"], row["upper"], row["n"])
            )
            for row in rows
        }


def test_an_answer_is_used_once_and_a_survey_counts_once(client):
    def touchpoint(k, action, minute, **who):
        at = NOON_MS + minute * MINUTE
        place = {"kafka_partition": 0, "kafka_offset": k, "kafka_time": at}
        row = {"event_id": f"e{k}", "occurred_at": at, "touchpoint": "pay", "channel": "web"}
        return row | {"action": action} | place | who

    def answer(k, minute, **who):
        at = NOON_MS + minute * MINUTE
        place = {
            "kafka_partition": 0,
            "kafka_offset": k,
            "kafka_time": at,
            "channel": "web",
            "touchpoint": "pay",
        }
        return {"response_id": f"r{k}", "occurred_at": at, "instrument": "csat_1_5", "score": 5} | place | who

    none = {"customer_id": None, "case_id": None}
    ann, case = none | {"customer_id": "ann"}, {"customer_id": "ann", "case_id": "c1"}
    events = [
        touchpoint(1, "survey_sent", 0, **case),
        touchpoint(2, "survey_sent", 1, **ann),
        touchpoint(3, "survey_shown", 1, **ann),  # of the one sent at the same instant
        touchpoint(4, "survey_shown", 0, **(none | {"customer_id": "bob"})),  # in the app: begins a survey
        touchpoint(5, "survey_sent", 0, **none),  # to nobody: left out
    ]
    answers = [
        answer(1, 3, **case),  # of the case, though ann got a later one
        answer(2, 4, **case),  # a second question
        answer(3, -1, **(none | {"customer_id": "bob"})),  # before it was shown
    ]
    sink = Sink(client)
    sink.insert("touchpoints", pl.DataFrame(events, infer_schema_length=None))
    sink.insert("responses", pl.DataFrame(answers, infer_schema_length=None))
    rows = asked(
        client, "SELECT sum(n) AS n, sum(shown) AS shown, sum(answered) AS answered FROM response_rate"
    )
    assert rows == [{"n": 3, "shown": 2, "answered": 1}]


def test_scores_get_the_response_rate_of_every_window(client):
    """What the store writes by itself every five minutes, and the long windows every hour."""
    now = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=3)
    at = int(now.timestamp()) * 1000
    row = {"occurred_at": at, "touchpoint": "pay", "channel": "web", "kafka_partition": 0, "kafka_time": at}
    row["action"] = "survey_sent"
    sent = [row | {"event_id": f"e{k}", "customer_id": f"u{k}", "kafka_offset": k} for k in range(4)]
    del row["action"]
    given = row | {
        "response_id": "r",
        "instrument": "csat_1_5",
        "score": 5,
        "customer_id": "u1",
        "kafka_offset": 0,
    }
    Sink(client).insert("touchpoints", pl.DataFrame(sent))
    Sink(client).insert("responses", pl.DataFrame([given]))
    for view in ("scores_of_response_rate", "scores_of_long_response_rates"):
        for _ in range(2):  # again: nothing changes
            client.command(f"SYSTEM REFRESH VIEW {view}")
            client.command(f"SYSTEM WAIT VIEW {view}")
    rows = asked(client, "SELECT DISTINCT * EXCEPT time FROM scores FINAL ORDER BY window, touchpoint")
    assert [(row["window"], row["touchpoint"], row["value"], row["n"]) for row in rows] == [
        (window, place, 0.25, 4) for window in ("1h", "24h", "7d") for place in ("", "pay")
    ]
    assert {(row["metric"], row["instrument"], row["channel"]) for row in rows} == {("response_rate", "", "")}


def test_the_journey_has_the_stage_of_each_touchpoint(client):
    def cell(metric, instrument, touchpoint, bin_, n):
        dimensions = {"touchpoint": touchpoint, "channel": "web", "segment": "none", "bucket": NOON_MS}
        more = {"bin": bin_, "origin": "live", "part": 0, "n": n, "total": 0.0, "version": 1}
        return {"metric": metric, "instrument": instrument} | dimensions | more

    rows = [
        cell("csat", "csat_1_5", "pay", 5, 3),
        cell("csat", "csat_1_5", "pay", 1, 1),
        cell("touchpoints", "visited", "pay", 0, 9),
        cell("touchpoints", "visited", "unknown", 0, 2),
        cell("touchpoints", "gone", "pay", 0, 0),
    ]
    Sink(client).insert("cells", pl.DataFrame(rows))
    sql = "SELECT stage, touchpoint, metric, instrument, n, value FROM journey ORDER BY touchpoint, metric"
    assert [tuple(row.values()) for row in asked(client, sql)] == [
        ("order", "pay", "csat", "csat_1_5", 4, 0.75),
        ("order", "pay", "touchpoints", "visited", 9, None),
        ("", "unknown", "touchpoints", "visited", 2, None),
    ]
