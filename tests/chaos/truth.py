"""What there should be, recounted from the inputs, beside what there is: topics, tables, views, Prometheus."""

from __future__ import annotations

import urllib.request
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.driver.client import Client
from prometheus_client.parser import text_string_to_metric_families

from pipeline.streams.topics import Topics
from tests.support.recount import (
    RESPONSES,
    TOUCHPOINTS,
    Cell,
    Recount,
    decode,
    ms,
    published_outcomes,
    read_topic,
    recounted,
    schema_of,
    waiting,
)
from tests.support.recount_cases import Cases, recount_cases

CELL = "metric, instrument, touchpoint, channel, segment, intDiv(toUnixTimestamp(bucket), 60), bin"


@dataclass(frozen=True)
class Truth:
    """The recount of everything that was sent."""

    responses: Recount
    touchpoints: Recount
    cases: Cases
    raw: Mapping[str, Mapping[tuple[int, int], bytes]]

    @property
    def cells(self) -> Counter[Cell]:
        """Of every metric."""
        return self.responses.cells + self.touchpoints.cells + self.cases.cells

    @property
    def totals(self) -> Counter[Cell]:
        """What each cell adds up to: the score given times n, or milliseconds."""
        scores = Counter({cell: n * cell[-1] for cell, n in self.responses.cells.items()})
        return Counter({cell: total for cell, total in (scores + self.cases.milliseconds).items() if total})

    def inputs(self, topics: Topics) -> dict[str, Recount]:
        """By topic."""
        return {topics.responses: self.responses, topics.touchpoints: self.touchpoints}


@dataclass(frozen=True)
class Compared:
    """One thing that was compared.

    Attributes:
        what: its name.
        expected: how many there should be.
        lost: how many of these are missing.
        doubled: how many there are that should not be.
        examples: some of the differences.
    """

    what: str
    expected: int
    lost: int
    doubled: int
    examples: tuple[str, ...] = ()


def compared(what: str, expected: Mapping[Any, int], found: Mapping[Any, int]) -> Compared:
    """Counts, key by key."""
    wrong = {k: (expected.get(k, 0), found.get(k, 0)) for k in expected.keys() | found.keys()}
    wrong = {k: (e, f) for k, (e, f) in wrong.items() if e != f}
    lost, doubled = (sum(max(0, s * (e - f)) for e, f in wrong.values()) for s in (1, -1))
    examples = tuple(f"{k}: {f}, not {e}" for k, (e, f) in list(wrong.items())[:5])
    return Compared(what, sum(abs(n) for n in expected.values()), lost, doubled, examples)


def rows_compared(what: str, expected: Iterable[Hashable], found: Iterable[Hashable]) -> Compared:
    """Things that are there once, or not."""
    return compared(what, Counter(expected), Counter(found))


async def recount(bootstrap: str, topics: Topics, horizon_ms: int) -> Truth:
    """Read both inputs from their beginning, and count."""
    inputs = {topic: await read_topic(bootstrap, topic) for topic in (topics.responses, topics.touchpoints)}
    raw = {
        topic: {(p, offset): value or b"" for p, rows in partitions.items() for offset, _, value in rows}
        for topic, partitions in inputs.items()
    }
    touchpoints = recounted(inputs[topics.touchpoints], horizon_ms, TOUCHPOINTS)
    responses = recounted(inputs[topics.responses], horizon_ms, RESPONSES)
    return Truth(responses, touchpoints, recount_cases(touchpoints), raw)


async def compare_topics(bootstrap: str, topics: Topics, truth: Truth) -> list[Compared]:
    """What stands in the topics that we write."""
    found: list[Compared] = []
    for topic, one in truth.inputs(topics).items():
        told = await published_outcomes(bootstrap, topics.outcomes, topic)
        found.append(compared(f"outcomes of {topic} in Kafka", one.outcomes, told))
    n, total = await _cells(bootstrap, topics.cells)
    found += [
        compared("cells in Kafka", truth.cells, n),
        compared("their totals in Kafka", truth.totals, total),
    ]
    dead = {
        (one["topic"], one["partition"], one["offset"]): one["raw"]
        for one in await _decoded(bootstrap, topics.dead_letters, "dead_letter.avsc")
    }
    found.append(rows_compared("dead letters in Kafka", _dead(truth, topics), dead.items()))
    newest: dict[str, dict[str, Any]] = {}
    for one in await _decoded(bootstrap, topics.resolutions, "resolution.avsc"):
        if one["case_id"] not in newest or one["revision"] >= newest[one["case_id"]]["revision"]:
            newest[one["case_id"]] = one
    return [*found, rows_compared("resolutions in Kafka", *_resolutions(truth, newest))]


def compare_tables(client: Client, topics: Topics, truth: Truth) -> list[Compared]:
    """What stands in ClickHouse, and what its views make of it."""
    found: list[Compared] = []
    for topic, one in truth.inputs(topics).items():
        table = topic.rpartition(".")[2]
        rows = _rows(
            client,
            "SELECT partition, toUInt32(day), outcome, n FROM outcomes WHERE topic = {topic:String}",
            topic=topic,
        )
        found.append(compared(f"view outcomes of {topic}", one.outcomes, {row[:-1]: row[-1] for row in rows}))
        name = "response_id" if table == "responses" else "event_id"
        positions = _rows(client, f"SELECT kafka_partition, kafka_offset, {name} FROM {table} FINAL")
        kept = ((*place, record[name]) for place, (record, _) in one.kept.items())
        found.append(rows_compared(f"raw rows of {table}", kept, positions))
    rows = _rows(
        client,
        f"SELECT {CELL}, sum(n) AS answers, toInt64(round(sum(total) * if(metric = 'resolution', 1000, 1))) "
        "FROM cells FINAL WHERE origin = 'live' GROUP BY ALL HAVING answers != 0",
    )
    found.append(compared("cells in ClickHouse", truth.cells, {row[:-2]: row[-2] for row in rows}))
    totals = {row[:-2]: row[-1] for row in rows if row[-1]}
    found.append(compared("their totals in ClickHouse", truth.totals, totals))
    dead = _rows(client, "SELECT topic, partition, offset, hex(raw) FROM dead_letters FINAL")
    letters = (((*row[:3],), bytes.fromhex(row[3])) for row in dead)
    found.append(rows_compared("dead letters in ClickHouse", _dead(truth, topics), letters))
    return [*found, *_views(client, truth)]


def _views(client: Client, truth: Truth) -> list[Compared]:
    found = []
    key = "instrument, touchpoint, channel, segment, intDiv(toUnixTimestamp(bucket), 60)"
    views = {"nps": "nps", "csat": "csat", "ces": "ces", "resolution_times": "resolution"}
    for view, metric in views.items():
        told = {row[:-1]: row[-1] for row in _rows(client, f"SELECT {key}, n FROM {view}")}
        should: Counter[Any] = Counter()
        for cell, n in truth.cells.items():
            if cell[0] == metric:
                should[cell[1:6]] += n
        found.append(compared(f"view {view}", should, told))
    scores = {row[:-1]: row[-1] for row in _rows(client, f"SELECT {key}, round(value * n, 6) FROM nps")}
    groups: Counter[Any] = Counter()
    for cell, n in truth.cells.items():
        if cell[0] == "nps":
            groups[cell[1:6]] += n * (100 if cell[6] >= 9 else -100 if cell[6] <= 6 else 0)
    found.append(compared("values of view nps", groups, scores))
    current = _rows(client, "SELECT response_id, revision, score FROM current_responses")
    found.append(rows_compared("view current_responses", _current(truth.responses), current))
    newest = _rows(client, "SELECT case_id, reopens FROM current_resolutions")
    cases = ((k, one["reopens"]) for k, one in truth.cases.resolutions.items())
    found.append(rows_compared("view current_resolutions", cases, newest))
    calls = _rows(client, "SELECT response_id FROM current_follow_ups WHERE response_id IS NOT NULL")
    calls = [call for call in calls if call[0] not in truth.responses.forgotten]
    called = ((name,) for name in waiting(truth.responses))
    return [*found, rows_compared("follow-ups of answers", called, calls)]


def _current(responses: Recount) -> Iterable[tuple[str, int, int]]:
    """The newest version of each response; a retracted one is not there."""
    best: dict[str, dict[str, Any]] = {}
    for record, _ in responses.kept.values():
        old = best.get(record["response_id"])
        if old is None or RESPONSES.version(record) > RESPONSES.version(old):
            best[record["response_id"]] = record
    return ((k, one["revision"], one["score"]) for k, one in best.items() if not one["retracted"])


def compare_metrics(urls: Iterable[str], truth: Truth) -> list[Compared]:
    """The longest window of Prometheus, of all workers together, beside the cells, whose minutes lie within it."""
    names = {
        "feedback_nps_window_responses",
        "feedback_csat_window_responses",
        "feedback_ces_window_responses",
    }
    shown: Counter[tuple[str, str, str, str]] = Counter()
    for url in urls:
        with urllib.request.urlopen(url, timeout=10) as page:
            for family in text_string_to_metric_families(page.read().decode()):
                for sample in family.samples:
                    if sample.name in names and sample.labels["window"] == "30d":
                        of = (sample.labels[x] for x in ("instrument", "touchpoint", "channel", "segment"))
                        shown[tuple(of)] += round(sample.value)  # type: ignore[index]  # four of them
    should: Counter[tuple[str, str, str, str]] = Counter()
    for cell, n in truth.responses.cells.items():
        should[cell[1:5]] += n
    return [compared("answers in Prometheus", should, {k: n for k, n in shown.items() if n})]


def _dead(truth: Truth, topics: Topics) -> Iterable[Hashable]:
    for topic, one in truth.inputs(topics).items():
        for place in one.dead:
            yield ((topic, *place), truth.raw[topic][place])


def _resolutions(truth: Truth, newest: Mapping[str, dict[str, Any]]) -> tuple[Iterable[Any], Iterable[Any]]:
    """Both sides with the fields that the recount knows."""
    should = {k: tuple(sorted(one.items())) for k, one in truth.cases.resolutions.items()}
    names = sorted(next(iter(truth.cases.resolutions.values()), {}))
    told = {
        k: tuple(
            (name, ms(one[name]) if name in ("occurred_at", "opened_at") else one[name]) for name in names
        )
        for k, one in newest.items()
    }
    return map(str, should.items()), map(str, told.items())


async def _cells(bootstrap: str, topic: str) -> tuple[dict[Cell, int], dict[Cell, int]]:
    """The highest version of each (cell, part), parts added up: n, and totals in thousandths or milliseconds."""
    best: dict[tuple[Cell, int], dict[str, Any]] = {}
    for one in await _decoded(bootstrap, topic, "cell.avsc"):
        names = (one["metric"], one["instrument"], one["touchpoint"], one["channel"], one["segment"])
        cell: Cell = (*names, ms(one["bucket"]) // 60_000, one["bin"])
        old = best.get((cell, one["part"]))
        if old is not None and old["version"] == one["version"]:
            assert old["n"] == one["n"], f"two values of {cell} in one version"
        if old is None or one["version"] > old["version"]:
            best[cell, one["part"]] = one
    n: Counter[Cell] = Counter()
    total: Counter[Cell] = Counter()
    for (cell, _), one in best.items():
        n[cell] += one["n"]
        total[cell] += round(one["total"] * (1000 if cell[0] == "resolution" else 1))
    return {k: v for k, v in n.items() if v}, {k: v for k, v in total.items() if v}


async def _decoded(bootstrap: str, topic: str, file: str) -> list[dict[str, Any]]:
    parsed, rows = schema_of(file), []
    for records in (await read_topic(bootstrap, topic)).values():
        for offset, _, value in records:
            row = decode(value, file, parsed)
            assert row is not None, f"{topic} has something else at {offset}"
            rows.append(row)
    return rows


def _rows(client: Client, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in client.query(sql, parameters=parameters).result_rows]
