"""The views: what a dashboard reads equals what `measures` computes from the same cells."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product

import polars as pl
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from pipeline.measures.bins import ZERO_BIN, quantiles
from pipeline.measures.catalogue import catalogue
from pipeline.measures.cells import Series, marginals
from pipeline.measures.instruments import Instrument
from pipeline.measures.scores import group_counts, score
from pipeline.measures.windows import Window, parse
from pipeline.stores.migrate import configure
from pipeline.stores.report import report
from pipeline.stores.sink import Sink
from tests.support.stores import new_database, reader, writer

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
OWN = Instrument("csat_turned", "csat", 0, 4, "low", satisfied_from=3)
INSTRUMENTS = catalogue([OWN])[0]
SURVEYS = ("nps_0_10", "nps_1_10", "csat_1_5", "csat_turned", "ces_1_7", "ces_1_7_hard")
CLOCKS = ("first_resolution", "full_resolution")
TOUCHPOINTS, CHANNELS, SEGMENTS = ("checkout", "search", "help desk"), ("web", "app"), ("none", "new")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    from pipeline.embedded.process import free_port
    from pipeline.embedded.store import EmbeddedStore

    running = EmbeddedStore(tmp_path_factory.mktemp("store"), port=free_port())
    running.start().wait_ready()
    yield running
    running.stop()


@pytest.fixture
def database(store):
    name = new_database(store)
    with writer(store) as client:
        configure(client, name, INSTRUMENTS, 400 * 86_400.0)
    return name


@pytest.fixture
def ask(store, database):
    with reader(store, database=database) as client:
        yield lambda sql, **parameters: list(client.query(sql, parameters=parameters).named_results())


@pytest.fixture
def write(store, database):
    with writer(store, database=database) as client:
        yield Sink(client).insert


def cell(series, minute, bin_, n, *, total=0.0, origin="live", part=1, version=1):
    bucket = int((NOON + minute * MINUTE).timestamp()) * 1000
    names = series._asdict()
    return {
        **names,
        "bucket": bucket,
        "bin": bin_,
        "origin": origin,
        "part": part,
        "n": n,
        "total": total,
    } | {"version": version}


def random_cells(rng, count, minutes):
    """Cells as several owners wrote them: parts, both origins, older versions, some of it written twice."""
    rows = []
    for _ in range(count):
        if rng.random() < 0.7:
            instrument = INSTRUMENTS[rng.choice(SURVEYS)]
            leaf = Series(instrument.metric, instrument.name, *place(rng))
            bin_ = rng.choice(instrument.answers)
        else:
            leaf = Series("resolution", rng.choice(CLOCKS), *place(rng))
            bin_ = rng.choice([ZERO_BIN, *range(-8, 120)])
        minute, part, n = rng.choice(minutes), rng.choice([7, 19]), rng.randint(1, 5)
        total = round(n * rng.random() * 100, 3)
        newest = cell(leaf, minute, bin_, n, total=total, part=part, version=9)
        rows.append(newest)
        if rng.random() < 0.3:
            rows.append({**newest, "n": n - 1, "version": 3})
        if rng.random() < 0.3:
            rows.append({**newest, "origin": "rebuild", "n": rng.choice([-1, 2]), "version": 4})
    rng.shuffle(rows)
    return rows


def place(rng):
    return rng.choice(TOUCHPOINTS), rng.choice(CHANNELS), rng.choice(SEGMENTS)


def counted(rows):
    """(series, minute) -> histogram and total, as a reader must understand the rows."""
    newest = {}
    for row in rows:
        key = (*(row[name] for name in Series._fields), row["bucket"], row["bin"], row["origin"], row["part"])
        if row["version"] >= newest.get(key, row)["version"]:
            newest[key] = row
    found: dict[tuple[Series, int], tuple[Counter[int], float]] = {}
    for row in newest.values():
        series = Series(*(row[name] for name in Series._fields))
        histogram, total = found.get((series, row["bucket"]), (Counter(), 0.0))
        histogram[row["bin"]] += row["n"]
        found[series, row["bucket"]] = (histogram, total + row["total"])
    return found


def summed(found, first, end):
    """Series -> histogram and total over the minutes (milliseconds) from `first` up to `end`, with marginals."""
    sums: dict[Series, tuple[Counter[int], float]] = {}
    for (leaf, bucket), (histogram, total) in found.items():
        if first <= bucket < end:
            for series in marginals(leaf):
                before, old = sums.get(series, (Counter(), 0.0))
                before.update(histogram)
                sums[series] = (before, old + total)
    return sums


def expected(series, histogram, total):
    """The columns of a view's row beyond its series; None without answers."""
    histogram = {k: n for k, n in histogram.items() if n}
    n = sum(histogram.values())
    if n <= 0:
        return None
    instrument = INSTRUMENTS.get(series.instrument)
    scores = score(series.metric, instrument, histogram)
    value, lower, upper, _ = scores[series.metric]
    row = {"n": n, "value": value, "lower": lower, "upper": upper}
    if series.metric == "resolution":
        parts = dict(zip(("p50", "p90", "p95", "p99"), quantiles(histogram), strict=True))
        return row | parts | {"seconds_sum": total, "mean": total / n, "clock": series.instrument}
    groups = {
        name: sum(c for k, c in histogram.items() if first <= k <= last)
        for name, first, last in instrument.groups
    }
    if series.metric == "nps":
        return row | {f"{name}s": count for name, count in groups.items()}
    if series.metric == "csat":
        return row | {"satisfied": groups["satisfied"]}
    turned = sum(instrument.turn(k) * c for k, c in histogram.items())
    more = {name: scores[name].value for name in ("ces_easy", "ces_ease")}
    return row | {"easy": groups["easy"], "score_sum": turned} | more


def assert_rows(rows, wanted):
    """Rows of a view by their series, and the others what they should be."""
    assert rows.keys() == wanted.keys()
    for key, want in wanted.items():
        for name, value in want.items():
            close = (
                value if value is None or isinstance(value, str) else pytest.approx(value, rel=1e-9, abs=1e-9)
            )
            assert rows[key][name] == close, (key, name)


VIEWS = {"nps": "nps", "csat": "csat", "ces": "ces", "resolution_times": "resolution"}


def test_every_minute_and_leaf(write, ask, seed):
    rows = random_cells(random.Random(seed), 3000, range(-5, 5))
    write("cells", pl.DataFrame(rows))
    found = counted(rows)
    for view, metric in VIEWS.items():
        wanted = {
            (series, bucket): want
            for (series, bucket), (histogram, total) in found.items()
            if series.metric == metric and (want := expected(series, histogram, total))
        }
        got = {
            (Series(metric, *(row[name] for name in Series._fields[1:])), milliseconds(row["bucket"])): row
            for row in ask(f"SELECT * FROM {view}")
        }
        assert_rows(got, wanted)


AT = [NOON, NOON + timedelta(seconds=59), NOON + timedelta(minutes=7, seconds=1), NOON - timedelta(days=1)]
SPANS = ["15m", "1h", "24h", "7d", "30d"]


def test_any_window_and_time_with_every_marginal(write, ask, seed):
    rng = random.Random(seed)
    cases = [(at, parse(name)) for at, name in product(AT, SPANS)]
    edges = [edge(at, window, by) for at, window in cases for by in (-1, 0, 1)]
    edges += [minute_of(at) + by for at in AT for by in (-2, -1, 0, 1)]
    rows = random_cells(rng, 5000, [*edges, *(rng.randint(-45_000, 60) for _ in range(50))])
    write("cells", pl.DataFrame(rows))
    found = counted(rows)
    for at, window in cases:
        first, end = (60_000 * minute for minute in window.span(at.timestamp()))
        sums = summed(found, first, end)
        for view, metric in VIEWS.items():
            wanted = {
                series: want
                for series, (histogram, total) in sums.items()
                if series.metric == metric and (want := expected(series, histogram, total))
            }
            sql = f"SELECT * FROM {view}_at(at = {{at:DateTime}}, seconds = {{seconds:UInt32}})"
            got = ask(sql, at=at, seconds=window.seconds)
            assert_rows({series_of(metric, row): row for row in got}, wanted)


def edge(at, window: Window, by):
    """A minute near the beginning of the window, counted from NOON."""
    return window.span(at.timestamp())[0] - int(NOON.timestamp()) // 60 + by


def minute_of(at):
    return int((at - NOON).total_seconds() // 60)


def series_of(metric, row):
    return Series(metric, *(row[name] for name in Series._fields[1:]))


def milliseconds(bucket):
    return int(bucket.replace(tzinfo=UTC).timestamp()) * 1000


def test_now_holds_the_running_minute_and_nothing_later(write, ask):
    leaf = Series("csat", "csat_1_5", "checkout", "web", "none")
    running = int((datetime.now(UTC) - NOON).total_seconds() // 60)
    rows = [cell(leaf, running + by, 5, 10**place) for place, by in enumerate((-60, -59, 0, 1, 2))]
    write("cells", pl.DataFrame(rows))
    (row,) = ask(
        "SELECT n FROM csat_at(at = now(), seconds = 3600) WHERE touchpoint = '' AND channel = '' AND segment = ''"
    )
    # the minute may have passed since: then the window moved by one
    assert row["n"] in (1 + 10 + 100, 10 + 100 + 1000)


@pytest.mark.parametrize("view", [*VIEWS, "response_rate"])
def test_a_session_of_another_time_zone_is_refused_and_not_given_another_hour(ask, view):
    sql = f"SELECT * FROM {view}_at(at = {{}}, seconds = 3600) SETTINGS session_timezone = '{{}}'"
    for at in ("now()", "'2026-05-01 12:00:00'"):
        assert ask(sql.format(at, "UTC")) == []
        with pytest.raises(DatabaseError, match="add SETTINGS session_timezone = 'UTC'"):
            ask(sql.format(at, "America/New_York"))
    assert ask(sql.format("'2026-01-01 12:00:00'", "Europe/London")) == []  # it has the time of UTC in winter
    with pytest.raises(DatabaseError, match="time zone of this session"):
        ask(sql.format("'2026-07-01 12:00:00'", "Europe/London"))


def test_no_answers_no_row(write, ask):
    leaf = Series("nps", "nps_0_10", "checkout", "web", "none")
    write("cells", pl.DataFrame([cell(leaf, 0, 9, 1, version=1), cell(leaf, 0, 9, 0, version=2)]))
    assert ask("SELECT * FROM nps") == []
    assert ask("SELECT * FROM nps_at(at = {at:DateTime}, seconds = 3600)", at=NOON + MINUTE) == []


def test_a_filter_reads_a_part_of_the_table(write, ask, store, database):
    rng = random.Random(1)
    rows = []
    for touchpoint in range(40):
        leaf = Series("nps", "nps_0_10", f"t{touchpoint:02}", "web", "none")
        rows += [cell(leaf, minute, rng.randint(0, 10), 1) for minute in range(3000)]
    write("cells", pl.DataFrame(rows))
    with writer(store, database=database) as client:
        client.command("OPTIMIZE TABLE cells FINAL")
    where = "instrument = 'nps_0_10' AND touchpoint = 't07' AND bucket >= '2026-05-01 13:00:00'"
    plan = "\n".join(row["explain"] for row in ask(f"EXPLAIN indexes = 1 SELECT n FROM nps WHERE {where}"))
    of_cells = plan.partition(".instruments)")[0].splitlines()
    granules = [line.split("Granules:")[1] for line in of_cells if "Granules:" in line and "/" in line]
    read, of = map(int, granules[-1].split("/"))
    assert read <= 2 < of, plan


def raw(identity, revision=0, retracted=False, offset=0, **more):
    time = int(NOON.timestamp() * 1000)
    return {
        "response_id": identity, "occurred_at": time, "source": "app", "instrument": "csat_1_5", "score": 5,
        "touchpoint": "checkout", "channel": "web", "customer_id": "c", "case_id": None, "segment": None,
        "language": None, "comment": "fine", "touchpoint_at": None, "revision": revision, "retracted": retracted,
        "kafka_partition": 0, "kafka_offset": offset, "kafka_time": time + offset,
    } | more  # fmt: skip


def test_current_responses_are_the_newest_revisions_that_are_not_retracted(write, ask):
    rows = [
        raw("kept", offset=1, score=1),
        raw("kept", offset=2, score=2),  # a duplicate: the first one counted
        raw("edited", revision=0, offset=3, score=1),
        raw("edited", revision=2, offset=4, score=3),
        raw("edited", revision=1, offset=5, score=2),
        raw("gone", revision=0, offset=6),
        raw("gone", revision=0, retracted=True, offset=7),
        raw("back", revision=0, retracted=True, offset=8),
        raw("back", revision=1, offset=9, score=4),
    ]
    write("responses", pl.DataFrame(rows))
    write("responses", pl.DataFrame(rows[3:6]))  # again: nothing changes
    found = ask("SELECT * FROM current_responses ORDER BY response_id")
    assert [(row["response_id"], row["score"]) for row in found] == [("back", 4), ("edited", 3), ("kept", 1)]
    assert found[0].keys() == rows[0].keys()
    assert ask("SELECT count() AS n FROM responses FINAL")[0]["n"] == len(rows)


def test_current_resolutions_and_outcomes(write, ask):
    time = int(NOON.timestamp() * 1000)
    rows = [
        {
            "case_id": "c", "occurred_at": time, "touchpoint": "support", "channel": "phone", "segment": None,
            "priority": "high", "opened_at": time - 1000 * seconds, "full_resolution_seconds": float(seconds),
            "reopens": revision, "revision": revision, "retracted": False,
            "kafka_partition": 0, "kafka_offset": revision, "kafka_time": time,
        }
        for revision, seconds in ((0, 10), (2, 30), (1, 20))
    ]  # fmt: skip
    write("resolutions", pl.DataFrame(rows))
    assert [row["full_resolution_seconds"] for row in ask("SELECT * FROM current_resolutions")] == [30.0]
    day = (NOON - datetime(1970, 1, 1, tzinfo=UTC)).days
    outcome = {"topic": "t", "partition": 1, "day": day, "outcome": "counted"}
    write(
        "outcome_counts", pl.DataFrame([outcome | {"n": 5, "version": 9}, outcome | {"n": 3, "version": 7}])
    )
    (row,) = ask("SELECT topic, partition, day, outcome, n FROM outcomes")
    assert (row["n"], row["day"]) == (5, NOON.date())


def test_resolutions_counted_anew_replace_the_ones_put_aside(write, ask):
    """A reset adds 1000 x its number to the partition of what was there, and revisions begin anew."""
    time = int(NOON.timestamp() * 1000)
    rows = [
        {
            "case_id": case, "occurred_at": time, "touchpoint": "support", "channel": "phone", "segment": None,
            "priority": None, "opened_at": time, "full_resolution_seconds": seconds, "reopens": 0,
            "revision": revision, "retracted": retracted,
            "kafka_partition": partition, "kafka_offset": offset, "kafka_time": time,
        }
        for offset, (case, partition, revision, seconds, retracted) in enumerate((
            ("twice", 1000, 5, 50.0, False), ("twice", 2000, 1, 21.0, False), ("twice", 2000, 0, 20.0, False),
            ("again", 2003, 7, 70.0, False), ("again", 3, 0, 10.0, False),
            ("gone", 1003, 2, 30.0, False), ("gone", 3, 0, 10.0, True),
        ))
    ]  # fmt: skip
    write("resolutions", pl.DataFrame(rows, infer_schema_length=None))
    found = ask(
        "SELECT case_id, full_resolution_seconds AS seconds FROM current_resolutions ORDER BY case_id"
    )
    assert [(row["case_id"], row["seconds"]) for row in found] == [("again", 10.0), ("twice", 21.0)]


def test_the_report_equals_the_views(write, store, database, ask, seed):
    rows = random_cells(random.Random(seed), 800, range(-1500, 2))
    write("cells", pl.DataFrame(rows))
    windows = [parse("1h"), parse("24h")]
    by = ("touchpoint", "channel", "segment")
    with reader(store, database=database) as client:
        lines = report(client, INSTRUMENTS, windows, by, NOON)
    names = {"nps": "nps", "csat": "csat", "ces": "ces", "resolution_times": "resolution"}
    for window, (view, metric) in product(windows, names.items()):
        sql = f"SELECT * FROM {view}_at(at = {{at:DateTime}}, seconds = {{seconds:UInt32}})"
        wanted = {
            series_of(metric, row): {key: row[key] for key in ("value", "lower", "upper", "n")}
            for row in ask(sql, at=NOON, seconds=window.seconds)
        }
        got = {
            Series(
                line.metric, line.instrument, line.touchpoint, line.channel, line.segment
            ): line.score._asdict()
            for line in lines
            if (line.metric, line.window) == (metric, window.name)
        }
        assert_rows(got, wanted)
        before = {
            series_of(metric, row): row["value"]
            for row in ask(sql, at=NOON - timedelta(seconds=window.seconds), seconds=window.seconds)
        }
        for line in lines:
            if (line.metric, line.window) == (metric, window.name):
                series = Series(line.metric, line.instrument, line.touchpoint, line.channel, line.segment)
                was = before.get(series)
                assert line.change == (pytest.approx(line.score.value - was) if was is not None else None)
                assert (line.significant is None) >= (was is None)
    assert any(line.significant for line in lines)
    assert {"at", "window", "value", "n", "change", "significant"} <= lines[0].as_json().keys()


def test_the_report_of_nothing_is_empty(store, database):
    with reader(store, database=database) as client:
        assert report(client, INSTRUMENTS, [parse("1h")]) == []


def test_groups_of_a_turned_scale_count_its_low_end():
    """So that the comparisons above compare with something that is known to be right."""
    import numpy as np

    counts = group_counts(OWN, np.array([[1, 2, 4, 8, 16]]), np.arange(5, dtype=np.int32))
    assert counts["satisfied"].tolist() == [3]
