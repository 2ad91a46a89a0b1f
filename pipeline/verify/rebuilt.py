"""After a rebuild: live and rebuild cells together must be what all raw rows give, by their ids.

Since the rebuild the stream has moved on, so what later rows touched is not judged but told: late records that wait for
the next rebuild, and ids that a rebuild added and that were revised live since, which count twice until then.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl
from clickhouse_connect.driver.client import Client

from pipeline.verify import told
from pipeline.verify.ask import frame
from pipeline.verify.raw import ASIDE, KINDS, LEAF, Kind
from pipeline.verify.told import Place

_CELL = ["leaf", "minute", "bin"]
_MINUTE = "intDiv(toUnixTimestamp64Milli(occurred_at), 60000) AS minute"
_ORDER = "kafka_time, kafka_partition, kafka_offset"
_NEWEST = {
    "responses": "current_responses",
    "touchpoints": f"(SELECT * FROM touchpoints ORDER BY {_ORDER} LIMIT 1 BY event_id)",  # noqa: S608 - names of ours
}
_ID = {"responses": "response_id", "touchpoints": "event_id"}
_BIN = {"responses": "toInt64(score) AS bin", "touchpoints": "toInt64(0) AS bin"}


class Run(NamedTuple):
    """The newest rebuild: which minutes, and up to which source offsets."""

    first: int
    stop: int
    positions: dict[Place, int]


class Rebuilt(NamedTuple):
    """What was found.

    Attributes:
        wrong: cell -> (recounted, stored), untouched since the rebuild and different all the same.
        waiting: records that the next rebuild will add.
        twice: records that count once too often until then.
    """

    wrong: dict[tuple[str, int, int, int], tuple[int, int]]
    waiting: int
    twice: int


def newest_run(client: Client) -> Run | None:
    """None where there was no rebuild, or a reset came after it."""
    rows = frame(
        client,
        "SELECT first_minute, stop_minute, mapKeys(positions), mapValues(positions) FROM rebuilds FINAL "
        "ORDER BY version DESC LIMIT 1",
    )
    if rows.is_empty():
        return None
    first, stop, keys, values = rows.row(0)
    places = [key.rpartition("/") for key in keys]
    return Run(
        first, stop, {(topic, int(p)): last for (topic, _, p), last in zip(places, values, strict=True)}
    )


def rebuilt(client: Client, prefix: str, run: Run, begins: int) -> Rebuilt:
    """Compare; one look.

    Args:
        client: of the store.
        prefix: of the topics.
        run: the rebuild that is judged.
        begins: the first minute of which all raw rows are held.
    """
    metrics = told.metrics_of_instruments(client)
    names: dict[str, Any] = {"names": list(metrics), "metrics": list(metrics.values())}
    given = {"responses": names, "touchpoints": dict[str, Any]()}
    first = max(run.first, begins)
    full = pl.concat([_full(client, kind, given[kind]) for kind in KINDS])
    touched = pl.concat([_touched(client, kind, prefix, run, given[kind]) for kind in KINDS])
    stored = told.cells(client, first, run.stop - 1, origins=("live", "rebuild"), mapped=True)
    mine = [
        leaf
        for leaf, one in told.leaves_told(client, mapped=True).items()
        if one.metric in {*metrics.values(), "touchpoints"}
    ]
    stored = stored.filter(pl.col("leaf").is_in(pl.Series(mine, dtype=pl.UInt64).implode()))
    both = full.filter(pl.col("minute").is_between(first, run.stop, closed="left")).join(
        stored, on=_CELL, how="full", coalesce=True, suffix="_stored"
    )
    both = both.with_columns(pl.col("n", "n_stored").fill_null(0)).filter(pl.col("n") != pl.col("n_stored"))
    later = both.join(touched, on=_CELL, how="semi")
    more = later["n_stored"] - later["n"]
    wrong = {
        ("rebuilt", leaf, minute, bin_): (n, n_stored)
        for leaf, minute, bin_, n, n_stored in both.join(touched, on=_CELL, how="anti")
        .select(*_CELL, "n", "n_stored")
        .iter_rows()
    }
    return Rebuilt(wrong, int(-more.clip(upper_bound=0).sum()), int(more.clip(lower_bound=0).sum()))


def _full(client: Client, kind: Kind, given: dict[str, Any]) -> pl.DataFrame:
    return frame(
        client,
        f"SELECT {LEAF[kind]} AS leaf, {_MINUTE}, {_BIN[kind]}, toInt64(count()) AS n "  # noqa: S608 - ours
        f"FROM {_NEWEST[kind]} GROUP BY leaf, minute, bin",
        **given,
    )


def _touched(client: Client, kind: Kind, prefix: str, run: Run, given: dict[str, Any]) -> pl.DataFrame:
    """The cells of every version of an id that has a row behind the rebuild."""
    known = {p: last for (topic, p), last in run.positions.items() if topic == f"{prefix}.{kind}"} | {-1: -1}
    after = (
        f"kafka_partition < {ASIDE} AND kafka_offset > "
        "transform(toInt64(kafka_partition), {partitions:Array(Int64)}, {offsets:Array(Int64)}, toInt64(-1))"
    )
    parameters: dict[str, Any] = {"partitions": list(known), "offsets": list(known.values()), **given}
    return frame(
        client,
        f"SELECT DISTINCT {LEAF[kind]} AS leaf, {_MINUTE}, {_BIN[kind]} FROM {kind} "  # noqa: S608 - names of ours
        f"WHERE {_ID[kind]} IN (SELECT {_ID[kind]} FROM {kind} WHERE {after})",
        **parameters,
    )
