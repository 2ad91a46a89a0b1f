"""What things weigh: `python -m bench.sizes`, the constants of docs/operations.md.

First without a broker, by the functions that write the records: bytes of the journal, deltas and sealed ids a record,
by how many records a batch holds, and the memory of an id. Then on Apache Kafka and the store: the same responses are
drained, and the files of every topic and table are weighed.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import topics
from bench.place import BUILD, ROOT, Place, broker, place
from bench.responses import Responses, responses
from pipeline.embedded.store import EmbeddedStore
from pipeline.events.records import Records
from pipeline.journal.decide import DecideResponses
from pipeline.journal.deltas import Delta, pack_delta, unpack_delta
from pipeline.journal.effect import pack_effect
from pipeline.journal.index import Ids, Index
from pipeline.journal.rollup import Rollup
from pipeline.journal.segments import seal
from pipeline.journal.snapshot import chunks_of
from pipeline.journal.state import State
from pipeline.measures.instruments import SHIPPED
from pipeline.stores.client import connect
from pipeline.streams.topics import Topics

BATCHES = (1, 10, 100, 1_000, 16_000)
PARTITIONS = 4
_HORIZON_MS = 7 * 86_400_000
_FIRST_MS = 1_800_000_000_000
_INDEXED = 1_500_000  # between two doublings of the table


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of internal records, without what Kafka adds to each.

    Attributes:
        batch: records in a batch.
        journal: of the journal, a record of the input.
        deltas: of the deltas, a record of the input.
        ids: of sealed ids, an id.
        snapshot: of a snapshot of the state, without ids; 50,000 records of one partition.
    """

    batch: int
    journal: float
    deltas: float
    ids: float
    snapshot: float


def weigh(sent: Responses, batch: int) -> Weights:
    """What a source partition writes for these responses when they come in such batches."""
    decide, state = DecideResponses("feedback.responses", SHIPPED, _HORIZON_MS, PARTITIONS), State()
    journal = deltas = 0
    mine = np.flatnonzero(sent.partition == 0)
    for records in _cut([sent.values[k] for k in mine.tolist()], batch):
        effect = decide(state, 0, records).effect
        journal += len(pack_effect(effect))
        for number, cells in effect.deltas.values():
            deltas += len(pack_delta(Delta("responses", 0, number, effect.watermark, cells)))
        state.fold(effect)
        state.mark_published(effect.sequence)
    counting = Counting()
    asyncio.run(seal(counting, state.changed_ids(), "a" * 34))
    snapshot = sum(map(len, chunks_of(state, (), "a" * 34)))
    n = len(mine)
    return Weights(batch, journal / n, deltas / n, counting.size / len(state.index), snapshot)


class Counting:
    """A log that only weighs what it is given."""

    def __init__(self) -> None:
        self.size = 0
        self.next = 0

    async def append(self, value: bytes) -> int:
        self.size += len(value)
        self.next += 1
        return self.next - 1

    async def identity(self) -> str:
        return ""

    async def bounds(self) -> tuple[int, int]:
        return 0, self.next

    async def read(self, start: int, stop: int) -> tuple[list[Any], int]:
        return [], stop

    async def truncate(self, before: int) -> None:
        pass


def _cut(values: list[bytes], size: int) -> Iterator[Records]:
    """Batches as a broker would hand them out now."""
    now = 1_900_000_000_000  # after every answer
    for start in range(0, len(values), size):
        part = values[start : start + size]
        yield Records.of(part, range(start, start + len(part)), [now] * len(part))


def memory_of_an_id(n: int = _INDEXED) -> float:
    """Bytes of the index an id."""
    index, rng = Index(), np.random.default_rng(7)
    for start in range(0, n, 16_384):
        k = min(16_384, n - start)
        a, b = (rng.integers(0, 1 << 64, k, dtype=np.uint64) for _ in "ab")
        ids = Ids.unknown(a, b)
        small, at = ids.minute, rng.integers(_FIRST_MS, _FIRST_MS + _HORIZON_MS, k)
        minute = (at // 60_000).astype(np.int32)
        index.put(Ids(a, b, until=at, version=ids.version + 1, series=small, minute=minute, bin=small))
    return index.nbytes / n


def memory_of_a_cell(sent: Responses) -> float:
    """Bytes of the roll's table an open cell, everything around it included."""
    decide, state, deltas = DecideResponses("feedback.responses", SHIPPED, _HORIZON_MS, 1), State(), []
    for records in _cut(list(sent.values), 16_000):
        effect = decide(state, 0, records).effect
        deltas += [pack_delta(Delta("responses", 0, n, 0, cells)) for n, cells in effect.deltas.values()]
        state.fold(effect)
    tracemalloc.start()
    rollup = Rollup()
    for offset, delta in enumerate(deltas):
        rollup.fold(offset, unpack_delta(delta))
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / len(rollup)


def drained(sent: Responses) -> Iterator[tuple[str, int, int]]:
    """(what, bytes, rows or records) of the worker and of every topic and table that is not empty, after a drain."""
    with broker(BUILD / "sizes") as kafka:
        at = place(kafka, "sizes")
        at.environment["FEEDBACK_WORKER__SNAPSHOT_MB"] = "100000"  # so that the journal is whole
        asyncio.run(topics.fill(at.settings, sent))
        folder, listen = at.settings.store.folder, at.settings.store.http
        assert folder is not None, "the bench runs on the embedded store"
        store = EmbeddedStore(folder, listen.host, listen.port)
        store.start().wait_ready()
        try:
            _feedback(at, "setup")
            yield "worker's memory, at most", _feedback(at, "worker", "--drain"), 1
            yield from _tables(at)
        finally:
            store.stop()
        yield from _topics(at, BUILD / "sizes", len(sent))


def _feedback(at: Place, *arguments: str) -> int:
    """Run a command; its highest resident memory in bytes."""
    with (at.folder / "log").open("ab") as out:
        command = [sys.executable, "-m", "pipeline", *arguments]
        process = subprocess.Popen(command, env=at.environment, cwd=ROOT, stdout=out, stderr=out)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"feedback {arguments[0]} failed, see {at.folder / 'log'}"
    return used.ru_maxrss * 1024


def _tables(at: Place) -> Iterator[tuple[str, int, int]]:
    asked = (
        "SELECT table, sum(bytes_on_disk), sum(rows) FROM system.parts "
        "WHERE active AND database = 'feedback' GROUP BY table ORDER BY table"
    )
    with connect(at.settings, write=True) as client:
        for table in ("responses", "cells", "scores", "outcome_counts"):
            client.command(f"OPTIMIZE TABLE {table} FINAL")
        rows = client.query(asked).result_rows
    yield from ((f"table {table}", size, n) for table, size, n in rows if n)


def _topics(at: Place, folder: Path, n: int) -> Iterator[tuple[str, int, int]]:
    for topic in Topics(at.settings.kafka.prefix).all_topics():
        logs = folder.glob(f"**/{topic.name}-*/*.log")
        size = sum(path.stat().st_size for path in logs)
        if size:
            yield f"topic {topic.name.partition('.')[2]}", size, n


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.sizes", description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rate", type=float, default=70.0, help="answers a second: how many share a cell")
    parser.add_argument("--no-kafka", action="store_true", help="only what needs no broker")
    given = parser.parse_args()
    # it tells of each moment in which a new topic has no leader yet; what does not pass is raised
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    sent = responses(given.records, rate=given.rate)
    print(f"{given.records:,} responses of {sent.bytes_each:.0f} bytes at {given.rate:g} a second")
    print(
        f"\nmemory of an id: {memory_of_an_id():.0f} bytes, of an open cell: {memory_of_a_cell(sent):.0f}\n"
    )
    print("records a batch   journal/record   deltas/record   sealed/id   snapshot")
    for batch in BATCHES:
        w = weigh(sent.first(min(len(sent), max(4_000, batch * 12))), batch)
        print(f"{w.batch:15,} {w.journal:16.1f} {w.deltas:15.1f} {w.ids:11.1f} {w.snapshot:10,.0f}")
    if not given.no_kafka:
        print(f"\n{'after a drain':24} {'MB':>8} {'rows':>10} {'bytes each':>11} {'bytes/response':>15}")
        for what, size, n in drained(sent):
            if n == 1:
                print(f"{what:24} {size / 1e6:8.1f}")
                continue
            each = size / n
            print(f"{what:24} {size / 1e6:8.1f} {n:10,} {each:11.1f} {size / len(sent):15.1f}", flush=True)


if __name__ == "__main__":
    main()
