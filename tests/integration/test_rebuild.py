"""`rebuild` over a real store: any raw rows, whatever live counting made of them, against a plain recount."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial

import polars as pl
import pytest

from pipeline.cli.terms import terms_of
from pipeline.config.cases import DAYS
from pipeline.errors import FeedbackError
from pipeline.rebuild.run import EVERYTHING, rebuild
from pipeline.rebuild.stored import Span
from pipeline.stores.client import connect
from pipeline.stores.sink import Sink
from pipeline.verify.check import verify
from pipeline.verify.lives import ACTIONS
from pipeline.verify.rebuilt import newest_run
from pipeline.verify.rebuilt import rebuilt as checked
from pipeline.verify.stages import Pace
from pipeline.verify.trace import trace
from tests.simulation.case_oracle import Rules, observed
from tests.support.stores import set_up

MINUTE, DAY = 60_000, 86_400_000
QUICK = Pace(pause=0.05, still=0.1, most=2.0)
DIMENSIONS = ("metric", "instrument", "touchpoint", "channel", "segment", "minute", "bin")
HOUR = 3_600_000
AGO = 400 * DAY  # touchpoints happened, so that no promise is still open
PROMISED = Rules({"high": 20 * HOUR}, 2 * DAY, DAY)
CONFIGURED = {
    "sla": {"high": {"target": "20h"}},
    "cases": {"fcr_window": "2d", "forget_after": "1d"},
    "schedules": {"default": {"hours": dict.fromkeys(DAYS, "00:00-24:00")}},
}
YEAR = 365 * DAY


class Silent:
    def advance(self, count=1):
        pass

    def say(self, text):
        pass


@pytest.fixture
def there(settings, store):
    configured = settings(**CONFIGURED)
    set_up(configured)
    with connect(configured, write=True) as client:
        yield configured, client


def rebuilt(configured, client, wanted=EVERYTHING, **other):
    metrics = {name: one.metric for name, one in configured.catalogue().items()} | other
    return rebuild(
        client,
        configured.kafka.prefix,
        metrics,
        400 * DAY / 1000,
        terms_of(configured),
        wanted,
        lambda _: nullcontext(Silent()),
        QUICK,
    )


def responses(rng, n, now, partitions=(0, 1)):
    """Rows with many versions an id, also in two partitions and in one that was put aside."""
    return [
        {
            "response_id": f"r{rng.randrange(n // 3)}",
            "occurred_at": now - rng.choice([rng.randrange(3 * MINUTE), rng.randrange(3 * YEAR)]),
            "source": "test",
            "instrument": rng.choice(["csat_1_5", "ces_1_5"]),
            "score": rng.randint(1, 5),
            "touchpoint": rng.choice(["pay", "order"]),
            "channel": "web",
            "segment": rng.choice([None, "", "new"]),
            "revision": rng.randrange(3),
            "retracted": rng.random() < 0.2,
            "kafka_partition": rng.choice(partitions),
            "kafka_offset": k,
            "kafka_time": now + rng.randrange(50),
        }
        for k in range(n)
    ]


def touchpoints(rng, n, now, partitions=(0, 1)):
    rows = [
        {
            "event_id": f"e{rng.randrange(n * 3)}",
            "occurred_at": now - AGO - rng.randrange(3 * DAY) // MINUTE * MINUTE // rng.choice([1, 7]),
            "source": "test",
            "touchpoint": rng.choice(["pay", "order"]),
            "channel": "web",
            "action": rng.choice([*ACTIONS, "visited"]),
            "case_id": rng.choice([None, "", *(f"c{k}" for k in range(n // 8))]),
            "segment": rng.choice([None, "", "new"]),
            "priority": rng.choice([None, "high"]),
            "customer_id": None,
            "kafka_partition": rng.choice(partitions),
            "kafka_offset": k,
            "kafka_time": now + rng.randrange(50),
        }
        for k in range(n)
    ]
    return rows + clock_ends(now)


def clock_ends(now):
    """In each partition a last event, of no case, after which nothing is left to time."""
    row = {"occurred_at": now - AGO + 9 * DAY, "source": "test", "touchpoint": "pay", "channel": "web"}
    row |= {"action": "visited", "kafka_offset": 9_999, "kafka_time": now}
    return [
        {**row, "event_id": f"last {p}", "case_id": None, "segment": None, "kafka_partition": p}
        for p in (0, 1)
    ]


def place(row):
    return (row["kafka_time"], row["kafka_partition"], row["kafka_offset"])


def dimensions(row):
    return row["touchpoint"], row["channel"], row["segment"] or "none"


def newest(rows, identity):
    """Of each id the highest version, of equal ones the first."""
    best = {}
    for row in sorted(rows, key=place):
        version = (row.get("revision", 0), row.get("retracted", False))
        if row[identity] not in best or version > best[row[identity]][0]:
            best[row[identity]] = (version, row)
    return [row for _, row in best.values()]


def recount(answers, events):
    """Cell -> (n, total in thousandths)."""
    counts, totals = Counter(), Counter()

    def count(cell, total):
        counts[cell] += 1
        totals[cell] += total

    for row in newest(answers, "response_id"):
        if not row["retracted"]:
            name = row["instrument"]
            cell = (name[:4].rstrip("_"), name, *dimensions(row), row["occurred_at"] // MINUTE, row["score"])
            count(cell, row["score"] * 1000)
    cases = defaultdict(list)
    for row in newest(events, "event_id"):
        count(("touchpoints", row["action"], *dimensions(row), row["occurred_at"] // MINUTE, 0), 0)
        if row["case_id"]:
            cases[row["case_id"]].append(row)
    for case in cases.values():
        for cell, total in clocks(case):
            count(cell, total)
    return {cell: (n, totals[cell]) for cell, n in counts.items()}


def clocks(case):
    """By the plain program of the simulation; here every hour is worked."""
    heard = [
        row | {"occurred_at": datetime.fromtimestamp(row["occurred_at"] / 1000, UTC)}
        for row in case
        if row["action"] in ACTIONS
    ]
    for seen in observed(heard, PROMISED)[0]:
        yield seen.cell, seen.total
        if seen.cell[1] == "full_resolution":
            yield ("resolution", "business", *seen.cell[2:]), seen.total


def store_rows(client, prefix, answers, events, told=None):
    """Raw rows, and that they are archived and counted up to the last one (or up to `told`)."""
    sink = Sink(client)
    for table, rows in (("responses", answers), ("touchpoints", events)):
        if rows:
            frame = pl.DataFrame(rows, infer_schema_length=None)
            sink.insert(table, frame.cast({"kafka_partition": pl.Int32}))
        last = defaultdict(lambda: -1)
        for row in rows:
            last[row["kafka_partition"]] = max(last[row["kafka_partition"]], row["kafka_offset"])
        say(
            client, f"{prefix}.{table}", {p: o if told is None else told for p, o in last.items() if p < 1000}
        )


def say(client, topic, positions):
    for p, offset in positions.items():
        where = {"t": topic, "p": p, "o": offset}
        client.command(
            "INSERT INTO outcome_counts SELECT {t:String}, {p:Int32}, today(), 'counted', {o:Int64} + 1, {o:Int64}",
            parameters=where,
        )
        client.command(
            "INSERT INTO progress SELECT 'archive', {t:String}, {p:Int32}, {o:Int64}, now64(3)",
            parameters=where,
        )


def live(client, cells, version=1):
    """Live cells, each in two parts."""
    rows = [
        (*cell[:5], cell[5] * MINUTE, cell[6], "live", part, n, total / 1000, version)
        for cell, (count, whole) in cells.items()
        for part, n, total in ((0, count - 1, whole - 500), (7, 1, 500))
    ]
    names = (*DIMENSIONS[:5], "bucket", "bin", "origin", "part", "n", "total", "version")
    if rows:
        Sink(client).insert("cells", pl.DataFrame(rows, schema=names, orient="row"))


def seen(client, condition="1"):
    """What readers of cells see: all origins and parts."""
    rows = client.query(
        "SELECT metric, instrument, touchpoint, channel, segment, intDiv(toUnixTimestamp(bucket), 60), bin, sum(n), "
        f"round(sum(total) * 1000) FROM cells FINAL WHERE {condition} GROUP BY ALL"
    ).result_rows
    return {tuple(row[:7]): (row[7], round(row[8])) for row in rows if row[7] or row[8]}


def test_recount_minus_live_and_a_second_rebuild_changes_nothing(there, seed):
    configured, client = there
    rng, now = random.Random(seed), 1_790_000_000_000
    answers, events = responses(rng, 900, now, (0, 1, 1001)), touchpoints(rng, 600, now, (0, 1, 2001))
    store_rows(client, configured.kafka.prefix, answers, events)
    wanted = recount(answers, events)
    some = {cell: both for cell, both in wanted.items() if rng.random() < 0.6}
    wrong = {(*cell[:5], cell[5] - 40_000, cell[6]): both for cell, both in list(some.items())[:50]}
    strange = {("loyalty", "", "pay", "web", "none", 29_000_000, 1): (5, 5000)}
    live(client, {**some, **wrong, **strange})
    before = seen(client)
    found = rebuilt(configured, client)
    assert (found.differences, found.checked["still_moving"]) == (0, 0)
    assert found.checked["not_covered"] == ["loyalty/"]
    assert found.checked["changed"] == len(wanted) - len(some) + len(wrong)
    assert seen(client) == {**wanted, **strange}
    assert seen(client, "origin = 'live'") == before
    again = rebuilt(configured, client)
    assert (again.differences, again.checked["changed"], list(again.details)) == (0, 0, [])


def test_what_is_no_longer_needed_goes(there):
    configured, client = there
    rng, now = random.Random(5), 1_790_000_000_000
    answers = responses(rng, 60, now)
    store_rows(client, configured.kafka.prefix, answers, [])
    rebuilt(configured, client)
    wanted = recount(answers, [])
    assert seen(client) == wanted
    live(client, wanted)  # live counting has them now
    assert {cell: n for cell, (n, _) in seen(client).items()} == {c: 2 * n for c, (n, _) in wanted.items()}
    assert rebuilt(configured, client).checked["changed"] == len(wanted)
    assert seen(client) == wanted
    assert seen(client, "origin = 'rebuild'") == {}


def test_only_the_span_that_is_asked_for(there):
    configured, client = there
    rng, now = random.Random(6), 1_790_000_000_000
    answers, events = responses(rng, 300, now), touchpoints(rng, 200, now)
    store_rows(client, configured.kafka.prefix, answers, events)
    minute = (now - AGO - DAY) // MINUTE
    wanted = {
        cell: both for cell, both in recount(answers, events).items() if minute <= cell[5] < minute + 900
    }
    found = rebuilt(configured, client, Span(minute, minute + 900))
    assert seen(client) == wanted
    assert found.checked["changed"] == len(wanted) > 0
    assert rebuilt(configured, client).checked["changed"] > 0
    assert seen(client) == recount(answers, events)


def test_what_is_due_where_nothing_happened_is_rebuilt_too(there):
    """Nothing but the first resolve says that one contact was enough, two days later and in another year."""
    configured, client = there
    opened = round(datetime(2024, 12, 31, 10, tzinfo=UTC).timestamp()) * 1000
    much_later = opened + 200 * DAY
    row = {"source": "test", "touchpoint": "pay", "channel": "web", "segment": None, "priority": None}
    row |= {"customer_id": None, "kafka_partition": 0}
    events = [
        ("case_opened", opened, "c"),
        ("case_resolved", opened + HOUR, "c"),
        ("visited", much_later, None),
    ]
    rows = [
        {**row, "event_id": str(k), "action": action, "occurred_at": at, "case_id": case}
        | {"kafka_offset": k, "kafka_time": 1_790_000_000_000}
        for k, (action, at, case) in enumerate(events)
    ]
    store_rows(client, configured.kafka.prefix, [], rows)
    for wanted in (EVERYTHING, Span((opened + DAY) // MINUTE, (opened + 9 * DAY) // MINUTE)):
        rebuilt(configured, client, wanted)
        fcr = client.query("SELECT toUnixTimestamp(bucket), bin, n FROM cells FINAL WHERE metric = 'fcr'")
        assert fcr.result_rows == [((opened + HOUR + 2 * DAY) // 1000, 1, 1)]
        client.command("DELETE FROM cells WHERE TRUE")


def test_rows_that_are_not_counted_yet_wait_for_live_counting(there):
    configured, client = there
    rng, now = random.Random(7), 1_790_000_000_000
    answers = responses(rng, 300, now)
    store_rows(client, configured.kafka.prefix, answers, [], told=99)
    assert rebuilt(configured, client).differences == 0
    assert seen(client) == recount([row for row in answers if row["kafka_offset"] <= 99], [])


def test_a_changed_mapping_moves_the_counts(there):
    configured, client = there
    answers = [
        row | {"response_id": f"u{k}", "retracted": False}
        for k, row in enumerate(responses(random.Random(8), 60, 1_790_000_000_000))
    ]
    store_rows(client, configured.kafka.prefix, answers, [])
    live(client, recount(answers, []))
    client.command(
        "INSERT INTO instruments SELECT * REPLACE('net_1_5' AS metric, now64(3) AS written) FROM instruments FINAL "
        "WHERE name = 'csat_1_5'"
    )
    with pytest.raises(FeedbackError, match=r"csat_1_5.*feedback setup"):
        rebuilt(configured, client)
    assert rebuilt(configured, client, csat_1_5="net_1_5").checked["changed"] > 0
    judged = partial(
        verify,
        client,
        configured.kafka.prefix,
        {"responses": 10 * YEAR, "touchpoints": 10 * YEAR},
        400 * 86_400,
        terms_of(configured),
        lambda _: nullcontext(Silent()),
        QUICK,
    )
    found = judged()
    assert {one["kind"] for one in found.details} <= {"outcome"}  # the counts of outcomes are made up here
    assert found.checked["other_mapping"] == ["csat/csat_1_5"]
    wanted = recount(answers, [])
    assert seen(client) == {
        ("net_1_5" if c[0] == "csat" else c[0], *c[1:]): both for c, both in wanted.items()
    }
    # Another mapping without a rebuild: the numbers are wrong, and verify says of which instrument.
    client.command(
        "INSERT INTO instruments SELECT * REPLACE('net_0_5' AS metric, now64(3) AS written) FROM instruments FINAL "
        "WHERE name = 'csat_1_5'"
    )
    found = judged()
    wrong = [one for one in found.details if one["kind"] == "live and rebuilt cell"]
    assert {(one["metric"], one["instrument"]) for one in wrong} == {("net_0_5", "csat_1_5")}


def test_cells_whose_raw_rows_were_dropped_stay(there):
    configured, client = there
    now = 1_790_000_000_000
    answers = [
        row | {"kafka_offset": row["kafka_offset"] + 1000} for row in responses(random.Random(9), 90, now)
    ]
    store_rows(client, configured.kafka.prefix, answers, [])
    client.command(
        "INSERT INTO outcome_counts SELECT topic, partition, today() - 500, outcome, 1, version FROM outcome_counts"
    )
    old = {("csat", "csat_1_5", "pay", "web", "none", (now - 2 * YEAR) // MINUTE, 4): (3, 12_000)}
    live(client, old)
    found = rebuilt(configured, client)
    begins = datetime.fromisoformat(found.checked["from"]).timestamp() // 60
    assert 0 <= begins - (time.time() - 400 * 86_400) // 60 - 61 <= 2
    mine = {c: n for c, n in recount(answers, []).items() if c[5] >= begins}
    assert len(mine) > 10
    assert seen(client) == {**old, **mine}


def test_the_roll_must_have_published_what_it_is_owed(there):
    configured, client = there
    store_rows(client, configured.kafka.prefix, responses(random.Random(3), 30, 1_790_000_000_000), [])
    topic = f"{configured.kafka.prefix}.responses"
    client.command(f"INSERT INTO progress SELECT 'deltas/0', '{topic}', 0, 9, now64(3)")
    with pytest.raises(FeedbackError, match="is a worker with its roll running"):
        rebuilt(configured, client)
    assert seen(client) == {}
    client.command(f"INSERT INTO progress SELECT 'roll/0', '{topic}', 0, 9, now64(3)")
    assert rebuilt(configured, client).checked["changed"] > 0


def test_a_late_record_is_traced_to_its_cell_once_it_was_rebuilt(there):
    configured, client = there
    now = 1_790_000_000_000
    asked = {
        "source": "test",
        "instrument": "csat_1_5",
        "touchpoint": "pay",
        "channel": "web",
        "segment": None,
    }
    versions = [
        ("first", now, 5, 0, False),
        ("late", now - 30 * DAY, 2, 0, False),
        ("first", now - 30 * DAY, 1, 1, False),  # too late for live counting to move it
        ("gone", now - 30 * DAY, 3, 0, False),
        ("gone", now - 30 * DAY, 3, 1, True),
    ]
    names = ("response_id", "occurred_at", "score", "revision", "retracted")
    rows = [
        dict(zip(names, version, strict=True))
        | asked
        | {"kafka_partition": 0, "kafka_offset": k, "kafka_time": now + k}
        for k, version in enumerate(versions)
    ]
    store_rows(client, configured.kafka.prefix, rows, [])
    live(client, recount(rows[:1], []))

    def traced(identity):
        horizons = {"responses": 7 * DAY, "touchpoints": 7 * DAY}
        events = trace(client, configured.kafka.prefix, horizons, identity, terms_of(configured)).events
        return [(one.outcome, one.cell and one.cell["bin"], one.counts) for one in events]

    assert traced("first") == [("counted", 5, True), ("late", None, False)]
    assert traced("late") == [("late", None, False)]
    rebuilt(configured, client, Span(now // MINUTE, now // MINUTE + 1))  # not where the late ones happened
    assert traced("late") == [("late", None, False)]
    rebuilt(configured, client)
    assert traced("first") == [("counted", 5, False), ("late", 1, True)]
    assert traced("late") == [("late", 2, True)]
    assert traced("gone") == [("late", None, False), ("late", None, False)]
    assert sorted(cell[-1] for cell in seen(client)) == [1, 2]


def test_verify_judges_what_was_rebuilt_and_tells_what_counts_twice(there):
    configured, client = there
    prefix, now = configured.kafka.prefix, 1_790_000_000_000
    answers, events = responses(random.Random(4), 200, now), touchpoints(random.Random(4), 100, now)
    store_rows(client, prefix, answers, events)
    assert newest_run(client) is None
    rebuilt(configured, client)
    run = newest_run(client)
    assert checked(client, prefix, run, 0) == ({}, 0, 0)
    revised = next(row for row in newest(answers, "response_id") if not row["retracted"])
    again = {
        **revised,
        "revision": 9,
        "score": 6 - revised["score"],
        "kafka_offset": 500,
        "kafka_partition": 0,
    }
    again["occurred_at"] += 20 * MINUTE
    store_rows(client, prefix, [again], [])
    live(client, recount([again], []))
    assert checked(client, prefix, run, 0) == ({}, 0, 1)
    late = {**again, "response_id": "late", "kafka_offset": 501}
    store_rows(client, prefix, [late], [])
    assert checked(client, prefix, run, 0) == ({}, 1, 1)
    client.command(
        "INSERT INTO cells SELECT * REPLACE(n + 1 AS n, version + 1 AS version) FROM cells FINAL "
        "WHERE metric = 'touchpoints' ORDER BY bucket, instrument, segment, touchpoint LIMIT 1"
    )
    wrong, waiting, twice = checked(client, prefix, run, 0)
    assert (len(wrong), waiting, twice) == (1, 1, 1)
    assert rebuilt(configured, client).checked["changed"] > 0
    assert checked(client, prefix, newest_run(client), 0) == ({}, 0, 0)
