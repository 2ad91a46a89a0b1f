"""How fast the store answers a dashboard over 30 days and 10,000,000 cells: `python -m bench.views`.

The cells are those of 20 touchpoints over 4 channels and 4 segments, each with CSAT and with NPS or CES, with
resolution times and plain touchpoint counts. Each day goes in as some big inserts, the last hours as many small
ones, and one cell in fifty once more with a higher version, so that the parts are what a running worker leaves.
CELLS and REPEATS of the environment are the defaults of the options.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median, quantiles
from typing import NamedTuple

import clickhouse_connect
import numpy as np
import polars as pl
from clickhouse_connect.driver.client import Client
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.meter import Meter
from bench.place import BUILD
from grafana.overview import OUTCOMES_SQL, RESPONSES_SQL
from pipeline.embedded.process import free_port
from pipeline.embedded.store import EmbeddedStore
from pipeline.measures.catalogue import SHIPPED
from pipeline.measures.windows import DEFAULT, Window
from pipeline.page.trends import QUESTION
from pipeline.stores.door.access import WRITER, read_token
from pipeline.stores.migrate import configure, migrate
from pipeline.stores.report import report
from pipeline.stores.sink import Sink

DAYS = 30
MINUTES = 1440
SMALL = 200  # inserts of the last hours
EDITED = 50  # one cell in so many
CHANNELS, SEGMENTS = ("web", "app", "phone", "store"), ("none", "new", "regular", "business")
ACTIONS = ("visited", "survey_sent", "case_opened", "case_resolved")
CLOCKS = ("first_reply", "first_resolution", "full_resolution")
out = Console(width=132, highlight=False, markup=False)


class Timing(NamedTuple):
    """What a question took: wall seconds, and CPU seconds of the store on all cores, each run."""

    wall: list[float]
    cpu: float
    rows: int


def main() -> int:
    """The command line."""
    given = _options()
    folder = BUILD / "views"
    shutil.rmtree(folder, ignore_errors=True)
    store = EmbeddedStore(folder, port=free_port())
    child = store.start()
    try:
        child.wait_ready()
        token = read_token(folder)
        client = clickhouse_connect.get_client(
            host=store.host, port=store.port, username=WRITER, password=token, compress=False
        )
        migrate(client, "feedback")
        configure(client, "feedback", SHIPPED, 400 * 86_400.0)
        end = datetime.now(UTC).replace(second=0, microsecond=0)
        _fill(client, given.cells, end)
        _show(_ask(client, child.pid, given.repeats, end), client)
    finally:
        store.stop()
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.views", description=__doc__)
    parser.add_argument("--cells", type=int, default=int(os.environ.get("CELLS", "10000000")))
    parser.add_argument("--repeats", type=int, default=int(os.environ.get("REPEATS", "20")))
    parser.add_argument("--keep", action="store_true", help="leave the store's folder")
    return parser.parse_args()


def _leaves() -> pl.DataFrame:
    """Every (metric, instrument, touchpoint, channel, segment), with its lowest and highest bin and how busy it is."""
    asked = [("csat", "csat_1_5", 1, 5), ("nps", "nps_0_10", 0, 10), ("ces", "ces_1_7", 1, 7)]
    rows = []
    for k in range(20):
        kinds = [asked[0], asked[1 + k % 2]]
        kinds += [("touchpoints", action, 0, 0) for action in ACTIONS]
        if k % 5 == 0:
            kinds += [("resolution", clock, 0, 140) for clock in CLOCKS]
        rows += [
            (*kind[:2], f"touchpoint {k:02}", channel, segment, *kind[2:], 1 / (1 + k % 7))
            for kind in kinds
            for channel in CHANNELS
            for segment in SEGMENTS
        ]
    names = ["metric", "instrument", "touchpoint", "channel", "segment", "low", "high", "weight"]
    return pl.DataFrame(rows, schema=names, orient="row")


def _day(rng: np.random.Generator, leaves: pl.DataFrame, first: datetime, cells: int) -> pl.DataFrame:
    """About so many distinct cells of one day, in the order of time."""
    weight = leaves["weight"].to_numpy()
    leaf = rng.choice(len(leaves), cells, p=weight / weight.sum())
    low, high = (leaves[name].to_numpy()[leaf] for name in ("low", "high"))
    bins = (low + np.sqrt(rng.random(cells)) * (high - low + 1)).astype(np.int64)
    minutes = pl.Series("bucket", rng.integers(0, MINUTES, cells)) * 60_000 + int(first.timestamp()) * 1000
    drawn = pl.DataFrame({"leaf": leaf, "bucket": minutes, "bin": bins})
    counted = drawn.group_by("leaf", "bucket", "bin").agg(n=pl.len().cast(pl.Int64)).sort("bucket")
    names = leaves.select(leaves.columns[:5]).with_row_index("leaf").cast({"leaf": pl.Int64})
    return (
        counted.join(names, on="leaf", maintain_order="left")
        .with_columns(
            total=(pl.col("bin") * pl.col("n")).cast(pl.Float64),
            origin=pl.lit("live"),
            part=pl.col("leaf") % 7,
            version=pl.lit(1, pl.UInt64),
        )
        .drop("leaf")
    )


def _inserts(cells: int, end: datetime) -> Iterator[pl.DataFrame]:
    rng, leaves = np.random.default_rng(7), _leaves()
    for day in range(DAYS, 0, -1):
        frame = _day(rng, leaves, end - timedelta(days=day), cells // DAYS)
        last = len(frame) // 8 if day == 1 else 0  # the last three hours
        yield from frame.head(len(frame) - last).iter_slices(100_000)
        if last:
            yield from frame.tail(last).iter_slices(last // SMALL + 1)
        edited = frame.gather_every(EDITED).with_columns(n=pl.col("n") + 1, version=pl.lit(2, pl.UInt64))
        yield edited


def _fill(client: Client, cells: int, end: datetime) -> None:
    sink = Sink(client, compress=False)
    for frame in track(_inserts(cells, end), "filling the store", total=DAYS * 5 + SMALL, console=out):
        sink.insert("cells", frame)


def questions(end: datetime) -> Mapping[str, str]:
    """Name -> SQL, over 30 days up to `end` unless the name says otherwise."""
    since, until = (f"toDateTime({int(at.timestamp())})" for at in (end - timedelta(days=DAYS), end))
    span = f"bucket >= {since} AND bucket < {until}"
    month = f"(at = {until}, seconds = {DAYS * 86_400})"
    busy = "touchpoint = 'touchpoint 00'"
    responses = (
        RESPONSES_SQL.replace("$__timeInterval(bucket)", "toStartOfInterval(bucket, INTERVAL 3600 second)")
        .replace("$__timeFilter(bucket)", span)
        .replace("$__conditionalAll(touchpoint = ${touchpoint:singlequote}, $touchpoint)", "1=1")
    )
    outcomes = OUTCOMES_SQL.replace("$__fromTime", since).replace("$__toTime", until)
    day = "SELECT toStartOfDay(bucket) AS day, touchpoint"
    by_day = "GROUP BY day, touchpoint ORDER BY day, touchpoint"
    return {
        "dashboard: responses by touchpoint": responses,
        "dashboard: outcomes of records": outcomes,
        "the page's lines (24 hours)": QUESTION,
        "csat by day and touchpoint": f"{day}, sum(satisfied) / sum(n) FROM csat WHERE {span} {by_day}",
        "nps by day and touchpoint": (
            f"{day}, 100 * (sum(promoters) - sum(detractors)) / sum(n) FROM nps WHERE {span} {by_day}"
        ),
        "answers: csat by day and touchpoint": (
            f"{day}, sum(good) / sum(n) FROM answers WHERE metric = 'csat' AND {span} {by_day}"
        ),
        "csat by hour of one touchpoint": (
            "SELECT toStartOfHour(bucket) AS hour, sum(satisfied) / sum(n) FROM csat "
            f"WHERE {busy} AND {span} GROUP BY hour ORDER BY hour"
        ),
        "csat_at: every marginal": f"SELECT * FROM csat_at{month}",
        "nps_at: every marginal": f"SELECT * FROM nps_at{month}",
        "ces_at: every marginal": f"SELECT * FROM ces_at{month}",
        "resolution_times_at: every marginal": f"SELECT * FROM resolution_times_at{month}",
        "csat_at: one touchpoint": f"SELECT * FROM csat_at{month} WHERE {busy}",
    }


def _ask(client: Client, pid: int, repeats: int, end: datetime) -> dict[str, Timing]:
    client.database = "feedback"
    found = {}
    with Meter({"store": pid}) as meter:
        for name, sql in questions(end).items():
            found[name] = _timed(meter, repeats, partial(_rows, client, sql))
        for name, windows in (("30d", DEFAULT[-1:]), ("all windows", DEFAULT)):
            ask = partial(_lines, client, windows, end)
            found[f"feedback report, {name}"] = _timed(meter, repeats, ask)
    return found


def _rows(client: Client, sql: str) -> int:
    return len(client.query(sql).result_rows)


def _lines(client: Client, windows: tuple[Window, ...], end: datetime) -> int:
    return len(report(client, SHIPPED, windows, at=end))


def _timed(meter: Meter, repeats: int, ask: Callable[[], int]) -> Timing:
    ask()
    wall, began = [], time.time()
    for _ in range(repeats):
        start = time.perf_counter()
        rows = ask()
        wall.append(time.perf_counter() - start)
    ended = time.time()
    time.sleep(0.05)
    return Timing(wall, meter.cpu("store", began, ended) / repeats, rows)


def _show(found: Mapping[str, Timing], client: Client) -> None:
    ((cells, parts, size),) = client.query(
        "SELECT sum(rows), count(), sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'cells'"
    ).result_rows
    table = Table("question", title=f"{cells:,} rows of cells in {parts} parts, {size / 2**20:,.0f} MB")
    for head in ("rows", "p50 ms", "p95 ms", "CPU ms"):
        table.add_column(head, justify="right")
    for name, one in found.items():
        slow = quantiles(one.wall, n=20)[-1]
        table.add_row(
            name,
            f"{one.rows:,}",
            f"{1000 * median(one.wall):,.0f}",
            f"{1000 * slow:,.0f}",
            f"{1000 * one.cpu:,.0f}",
        )
    out.print(table)


if __name__ == "__main__":
    sys.exit(main())
