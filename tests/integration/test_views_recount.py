"""200,000 responses through the worker's own core into a store: every view, at any time and window, is their recount.

With edits that move answers, retractions, duplicates, late answers, cells of many parts, and then a rebuild.
The recount takes one record after the other and computes the scores by the formulas of the books.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pipeline.events import wire
from pipeline.events.records import Records
from pipeline.events.schemas import schema
from pipeline.journal.decide import DecideResponses
from pipeline.journal.deltas import Delta
from pipeline.journal.rollup import Rollup
from pipeline.journal.state import State
from pipeline.measures.instruments import SHIPPED
from pipeline.measures.windows import parse
from pipeline.stores.client import connect
from pipeline.stores.sink import Sink
from tests.integration.test_rebuild import rebuilt, say
from tests.support.recount import RESPONSES, Recount, cell_of, recount_partition
from tests.support.stores import set_up

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
END = int(datetime(2026, 5, 1, 12, 0, tzinfo=UTC).timestamp()) * 1000
RECORDS, DAYS, HORIZON, PARTITIONS = 200_000, 40, 7 * DAY, 2
NAMES = ("nps_0_10", "nps_1_10", "csat_1_5", "csat_1_7", "ces_1_5", "ces_1_7")
TOUCHPOINTS, CHANNELS, SEGMENTS = ("pay", "search", "help desk"), ("web", "app"), (None, "", "new")
DIMENSIONS = ("instrument", "touchpoint", "channel", "segment")


def responses(rng):
    """Partition -> (kafka_time, record), in the order of arrival."""
    rows = {p: [] for p in range(PARTITIONS)}
    ids = []
    for k in range(RECORDS):
        arrived = END - (RECORDS - 1 - k) * (DAYS * DAY // RECORDS)
        lag = rng.choice([0, rng.randrange(MINUTE), rng.randrange(HOUR), rng.randrange(3 * DAY), 0, 0])
        if rng.random() < 0.03:
            lag = rng.randrange(20 * DAY)
        again = ids and rng.random() < 0.25
        name = ids[-1 - int(min(len(ids) - 1, rng.expovariate(1 / 3000)))] if again else f"r{k}"
        if not again:
            ids.append(name)
        instrument = SHIPPED[rng.choice(NAMES)]
        record = {
            "response_id": name, "occurred_at": arrived - lag, "source": "test", "instrument": instrument.name,
            "score": rng.choice(instrument.answers), "touchpoint": rng.choice(TOUCHPOINTS),
            "channel": rng.choice(CHANNELS), "customer_id": None, "case_id": None, "segment": rng.choice(SEGMENTS),
            "language": None, "comment": None, "touchpoint_at": None,
            "revision": rng.choice([0, 0, 1, 2, 3]) if again else 0, "retracted": bool(again and rng.random() < 0.15),
        }  # fmt: skip
        rows[int(name[1:]) % PARTITIONS].append((arrived, record))
    return rows


def live(sink, values, rng):
    """Count them as the worker does, in batches of any size, and store the cells each time they are published."""
    decide = DecideResponses("feedback.responses", SHIPPED, HORIZON, PARTITIONS)
    states, rollups = ([one() for _ in range(PARTITIONS)] for one in (State, Rollup))
    at, offset, parts = dict.fromkeys(values, 0), 0, set()
    while any(at[p] < len(values[p]) for p in values):
        p = rng.choice([p for p in values if at[p] < len(values[p])])
        first, at[p] = at[p], min(len(values[p]), at[p] + rng.randrange(1, 20_000))
        times, bodies = zip(*values[p][first : at[p]], strict=True)
        records = Records(list(bodies), np.arange(first, at[p]), np.array(times, np.int64))
        effect = decide(states[p], p, records).effect
        states[p].fold(effect)
        for q, (number, cells) in effect.deltas.items():
            rollups[q].fold(offset := offset + 1, Delta("responses", p, number, effect.watermark, cells))
        for rollup in rollups:
            batch = rollup.changed(rollup.waiting)
            sink.insert("cells", frame_of(rollup, batch.cells))
            parts |= set(batch.cells.part.tolist())
            rollup.published(batch)
    assert len(parts) > 5, "hardly a cell left the state and was opened again"


def frame_of(rollup, cells):
    leaves = pl.DataFrame(rollup.leaves, orient="row", schema=["metric", *DIMENSIONS])
    return leaves[cells.leaf].with_columns(
        bucket=pl.Series(cells.minute.astype(np.int64) * MINUTE),
        bin=pl.Series(cells.bin),
        origin=pl.lit("live"),
        part=pl.Series(cells.part),
        n=pl.Series(cells.n),
        total=pl.Series(cells.total / 1000),
        version=pl.Series(cells.version.astype(np.uint64)),
    )


def archive(client, prefix, rows):
    sink = Sink(client)
    for p, records in rows.items():
        place = (
            {"kafka_partition": p, "kafka_offset": k, "kafka_time": time}
            for k, (time, _) in enumerate(records)
        )
        frame = pl.DataFrame(
            [one | where for (_, one), where in zip(records, place, strict=True)], infer_schema_length=None
        )
        sink.insert("responses", frame.drop("language", "comment", "touchpoint_at", "customer_id", "case_id"))
        say(client, f"{prefix}.responses", {p: len(records) - 1})


def newest(recount):
    """The newest version of each answer, late ones too, of equal ones the first; without those retracted."""
    best = {}
    for _, (record, _) in sorted(recount.kept.items()):  # versions of one answer lie in one partition
        version = (record["revision"], record["retracted"])
        if version > best.get(record["response_id"], ((-1, False), None))[0]:
            best[record["response_id"]] = (version, record)
    return [record for (_, retracted), record in best.values() if not retracted]


class Cells:
    """Cells by minute, so that a window is quickly added up."""

    def __init__(self, counts):
        self.minutes = defaultdict(list)
        for (metric, *series, minute, bin_), n in counts.items():
            if n:
                self.minutes[minute].append(((metric, *series), bin_, n))

    def window(self, first, end):
        """Series -> histogram of the minutes `first` up to `end`, with every marginal."""
        leaves = defaultdict(Counter)
        for minute in range(first, end):
            for leaf, bin_, n in self.minutes.get(minute, ()):
                leaves[leaf][bin_] += n
        found = defaultdict(Counter)
        for (metric, instrument, *names), histogram in leaves.items():
            for mask in range(8):
                series = tuple(name if mask >> k & 1 else "" for k, name in enumerate(names))
                found[metric, instrument, *series].update(histogram)
        return found


def scores(instrument, histogram):
    """The columns of a view, by the formulas."""
    one = SHIPPED[instrument]
    answers = [answer for answer, n in histogram.items() for _ in range(n)]
    n, z = len(answers), 1.96
    if one.metric == "nps":
        promoters, detractors = sum(x >= 9 for x in answers), sum(x <= 6 for x in answers)
        p, d = (promoters + 0.75) / (n + 3), (detractors + 0.75) / (n + 3)
        half = z * math.sqrt((p + d - (p - d) ** 2) / (n + 3))
        value, lower, upper = (
            100 * (promoters - detractors) / n,
            max(-100, 100 * (p - d - half)),
            min(100, 100 * (p - d + half)),
        )
        return {
            "n": n,
            "promoters": promoters,
            "detractors": detractors,
            "value": value,
            "lower": lower,
            "upper": upper,
        }
    if one.metric == "csat":
        satisfied = sum(x >= {5: 4, 7: 6}[one.high] for x in answers)
        p = satisfied / n
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return {
            "n": n,
            "satisfied": satisfied,
            "value": p,
            "lower": max(0, centre - half),
            "upper": min(1, centre + half),
        }
    mean, easy = sum(answers) / n, sum(x >= {5: 4, 7: 5}[one.high] for x in answers)
    found = {"n": n, "easy": easy, "score_sum": sum(answers), "value": mean, "lower": None, "upper": None}
    if n > 1:
        half = z * math.sqrt(sum((x - mean) ** 2 for x in answers) / (n - 1) / n)
        found |= {"lower": max(1, mean - half), "upper": min(one.high, mean + half)}
    return found | {"ces_easy": easy / n, "ces_ease": 100 * (mean - 1) / (one.high - 1)}


def assert_views(client, cells, moments):
    """Every *_at view at each (time, window); how many numbers were compared."""
    compared = 0
    for at, window in moments:
        first, end = parse(window).span(at.timestamp())
        wanted = {key: h for key, h in cells.window(first, end).items() if sum(h.values()) > 0}
        for metric in ("nps", "csat", "ces"):
            mine = {key[1:]: scores(key[1], h) for key, h in wanted.items() if key[0] == metric}
            sql = f"SELECT * FROM {metric}_at(at = {{at:DateTime('UTC')}}, seconds = {{seconds:UInt32}})"
            compared += assert_equal(client, sql, DIMENSIONS, mine, at=at, seconds=parse(window).seconds)
    return compared


def assert_minutes(client, cells):
    """Every row of the minute views, of some days."""
    first = (END - 20 * DAY) // MINUTE
    compared = 0
    for metric in ("nps", "csat", "ces"):
        wanted = defaultdict(Counter)
        for minute in range(first, first + 5 * DAY // MINUTE):
            for leaf, bin_, n in cells.minutes.get(minute, ()):
                if leaf[0] == metric:
                    wanted[minute, *leaf[1:]][bin_] += n
        mine = {key: scores(key[1], h) for key, h in wanted.items() if sum(h.values()) > 0}
        span = f"WHERE minute >= {first} AND minute < {first + 5 * DAY // MINUTE}"
        sql = f"SELECT *, toInt64(toUnixTimestamp(bucket) / 60) AS minute FROM {metric} {span}"
        compared += assert_equal(client, sql, ("minute", *DIMENSIONS), mine)
    return compared


def assert_equal(client, sql, keys, wanted, **parameters):
    found = client.query(sql, parameters=parameters)
    columns = {name: found.column_names.index(name) for name in (*keys, *next(iter(wanted.values()), ()))}
    got = {tuple(row[columns[name]] for name in keys): row for row in found.result_rows}
    assert got.keys() == wanted.keys()
    for key, want in wanted.items():
        for name, value in want.items():
            mine = got[key][columns[name]]
            assert mine == value or math.isclose(mine, value, rel_tol=1e-9, abs_tol=1e-9), (
                key,
                name,
                mine,
                value,
            )
    return sum(map(len, wanted.values()))


def moments(rng, count):
    """Any time and window; whole minutes and hours among them."""
    for _ in range(count):
        at = datetime.fromtimestamp(END // 1000 - rng.randrange(30 * 86_400), UTC)
        yield (
            at.replace(second=0, minute=rng.choice([0, at.minute])),
            rng.choice(["15m", "1h", "3h", "24h", "7d"]),
        )
    yield datetime.fromtimestamp(END // 1000, UTC) + timedelta(seconds=rng.randrange(60)), "30d"


@pytest.fixture
def there(settings, store):
    configured = settings()
    set_up(configured)
    with connect(configured, write=True) as client:
        yield configured, client


@pytest.mark.timeout(600)  # 12 CPU seconds, on a machine that others may use
def test_every_view_is_the_recount_of_200_000_responses_before_and_after_a_rebuild(there):
    configured, client = there
    rng = random.Random(20_260_501)
    rows, form = responses(rng), schema("SurveyResponse")
    values = {p: [(time, wire.encode(form, one)) for time, one in mine] for p, mine in rows.items()}
    live(Sink(client), values, rng)
    recount = Recount()
    for p, mine in values.items():
        recount_partition(recount, p, [(k, *one) for k, one in enumerate(mine)], HORIZON, RESPONSES)
    outcomes = Counter()
    for (_, _, outcome), n in recount.outcomes.items():
        outcomes[outcome] += n
    assert all(outcomes[one] > 1000 for one in ("counted", "duplicate", "stale", "retracted", "late")), (
        outcomes
    )
    cells = Cells(recount.cells)
    compared = assert_views(client, cells, moments(rng, 8)) + assert_minutes(client, cells)

    archive(client, configured.kafka.prefix, rows)
    assert rebuilt(configured, client).differences == 0
    everything = Cells(Counter(map(cell_of, newest(recount))))
    compared += assert_views(client, everything, moments(rng, 4))
    print(f"{dict(outcomes)}, {len(recount.cells):,} cells, {compared:,} numbers compared")
