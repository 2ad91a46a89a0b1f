"""How long a worker needs until it knows again what it knew: `python -m bench.recovery`, on Apache Kafka.

The topics are filled with what a worker of the horizon's length would have left behind: journals with their snapshots
and sealed ids, and deltas. Then a worker is started twice, the first time to roll the deltas and write what it owes.
RECORDS and SERIES of the environment are the defaults of the options.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from bench import topics
from bench.contenders import FEEDBACK
from bench.meter import Meter
from bench.place import Broker as BrokerProcess
from bench.place import Place, broker, place
from bench.running import finish, start
from pipeline.events.records import Records
from pipeline.journal.effect import Effect
from pipeline.journal.grouping import Changes
from pipeline.journal.index import Ids
from pipeline.journal.journal import Journal
from pipeline.journal.leaves import Leaves
from pipeline.journal.outcomes import Outcome
from pipeline.journal.partition import Decision, SourcePartition
from pipeline.journal.state import State
from pipeline.measures.cells import Series
from pipeline.streams.connection import client_options
from pipeline.streams.kafka_log import Broker, KafkaLog, KafkaOutputs
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics

AT_ONCE = 40_000  # ids of an effect
HORIZON_MS = 7 * 86_400_000
CELLS_A_LEAF = 2
_SNAPSHOT_FLOOR = 16 << 20
_PATIENCE = 300.0
out = Console(width=132, highlight=False, markup=False)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a start took. Seconds from the assignment of the partitions, memory in MB, CPU in seconds.

    Attributes:
        ids: that it knew at the end.
        ids_mb: what they take.
        leaves: that occur.
        cells: open in the roll.
        seconds: until it knew everything.
        start: of the process, until its partitions were assigned.
        cpu: of all of it.
        resident: memory once it knew everything.
        peak: the most until then.
    """

    ids: int
    ids_mb: float
    leaves: int
    cells: int
    seconds: float
    start: float
    cpu: float
    resident: float
    peak: float


class Filler:
    """Decides effects as busy source partitions would: new ids of the whole horizon, and a share of the cells.

    Args:
        partition: of the source; each has ids of its own.
        ids: how many it gets in all.
        series: how many leaves there are; every one occurs in every source partition.
    """

    max_records = 1
    horizon = HORIZON_MS

    def __init__(self, partition: int, ids: int, series: int) -> None:
        self.effects = -(-ids // AT_ONCE)
        self._sizes = np.diff(np.linspace(0, ids, self.effects + 1).astype(np.int64))
        self._leaves = np.array_split(np.arange(series), self.effects)
        self._series = series
        self._rng = np.random.default_rng(partition)
        self._end = int(time.time() * 1000)

    def __call__(self, state: State, partition: int, records: Records) -> Decision:
        """One effect, whatever the records are."""
        k = state.sequence
        n, leaves, changes = int(self._sizes[k]), Leaves(state), Changes()
        numbers = np.array([leaves.number(_leaf(int(j))) for j in self._leaves[k]], np.int64)
        watermark = self._end - HORIZON_MS + (k + 1) * HORIZON_MS // self.effects
        for bin_ in range(CELLS_A_LEAF):
            bins = np.full(len(numbers), 4 + bin_)
            changes.add(numbers, np.full(len(numbers), self._end // 60_000), bins, 20, bins * 20_000)
        effect = Effect(
            sequence=k + 1,
            last=records.last,
            time=int(records.times[-1]),
            watermark=watermark,
            published=state.published,
            outcomes={(watermark // 86_400_000, Outcome.COUNTED): n},
            ids=self._ids(n, watermark),
            leaves=leaves.new,
            deltas={
                q: (state.numbers[q] + 1, cells) for q, cells in changes.by_partition(leaves.leaf, 4).items()
            },
        )
        return Decision(effect, 0, (), ())

    def _ids(self, n: int, watermark: int) -> Ids:
        rng = self._rng
        a, b = (rng.integers(1, 1 << 64, n, dtype=np.uint64) for _ in range(2))
        until = watermark - rng.integers(0, HORIZON_MS // self.effects, n)
        series = rng.integers(0, self._series, n).astype(np.int32)
        scores = rng.integers(0, 11, n).astype(np.int32)
        return Ids(a, b, until, np.zeros(n, np.int64), series, (until // 60_000).astype(np.int32), scores)


def _leaf(k: int) -> Series:
    instruments = (("csat", "csat_1_5"), ("nps", "nps_0_10"), ("ces", "ces_1_7"), ("csat", "csat_1_7"))
    k, kind = divmod(k, len(instruments))
    k, channel = divmod(k, 3)
    return Series(*instruments[kind], f"touchpoint_{k}", ("web", "app", "phone")[channel], "none")


async def fill(at: Place, records: int, series: int, progress: Progress) -> None:
    """Write journals, ids and deltas as the worker does, through its own pieces."""
    settings = at.settings
    await ensure(settings)
    names, connection = Topics(settings.kafka.prefix), Broker(client_options(settings))
    await connection.start()
    partitions = settings.kafka.partitions
    task = progress.add_task("filling the journals", total=records)
    try:
        for p in range(partitions):
            filler = Filler(p, records // partitions, series)
            partition = SourcePartition(
                "responses",
                p,
                partitions,
                journal=Journal(
                    KafkaLog(connection, names.journal_responses, p),
                    KafkaLog(connection, names.ids_responses, p),
                    f"{names.journal_responses}/{p}",
                    secrets.token_hex(8),
                ),
                inputs=KafkaLog(connection, names.responses, p),
                outputs=KafkaOutputs(connection, settings.kafka.prefix),
                decide=filler,
                snapshot_floor=_SNAPSHOT_FLOOR,
            )
            await partition.recover()
            for _ in range(filler.effects):
                sent = await connection.producer.send_and_wait(names.responses, b"", partition=p)
                await partition.apply(Records.of([b""], [sent.offset], [sent.timestamp]))
                await partition.publish()
                await partition.tidy()
                progress.advance(task, records / partitions / filler.effects)
    finally:
        await connection.stop()


def recovered(at: Place, log: Path) -> Recovery:
    """Start a worker, wait until it is ready, end it."""
    process = start([FEEDBACK, "--log-json", "worker", "--only", "tally,roll"], at, {}, log)
    with Meter({"it": process.pid}) as meter:
        try:
            _wait(lambda: _get(at, "/readyz")[0] == 200, log)
            ready, (resident, peak) = time.time(), _memory(process.pid)
            _wait(lambda: _sum(_metrics(at), "feedback_ids_memory_bytes") > 0, log)  # told now and then
            memory = _sum(_metrics(at), "feedback_ids_memory_bytes")
        finally:
            process.send_signal(signal.SIGTERM)
            finish(process, log)
    said = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assigned = next(_time(line) for line in said if line["message"] == "assigned")
    parts = [line for line in said if line["message"] == "recovered a partition"]
    return Recovery(
        ids=sum(int(line.get("ids", 0)) for line in parts),
        ids_mb=memory / 1e6,
        leaves=max(int(line.get("leaves", 0)) for line in parts),
        cells=sum(int(line.get("cells", 0)) for line in parts),
        seconds=max(map(_time, parts)) - assigned,
        start=assigned - meter.begin,
        cpu=meter.cpu("it", meter.begin, ready),
        resident=resident,
        peak=peak,
    )


def _wait(done: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while not done():
        if time.monotonic() > end:
            msg = f"the worker is not ready after {_PATIENCE:g} s; its log: {log}"
            raise TimeoutError(msg)
        time.sleep(0.05)


def _get(at: Place, path: str) -> tuple[int, str]:
    """Status 0: it does not listen."""
    listen = at.settings.metrics.listen
    connection = http.client.HTTPConnection(listen.host, listen.port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def _metrics(at: Place) -> list[tuple[str, float]]:
    lines = [line.rpartition(" ") for line in _get(at, "/metrics")[1].splitlines() if line[:1] != "#"]
    return [(name, float(value)) for name, _, value in lines]


def _sum(metrics: list[tuple[str, float]], name: str) -> float:
    return sum(value for sample, value in metrics if sample.partition("{")[0] == name)


def _memory(pid: int) -> tuple[float, float]:
    """MB that a process has now, and had at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {
        name: int(rest.split()[0]) / 1024
        for name, rest in (line.split(":") for line in lines)
        if "kB" in rest
    }
    return found["VmRSS"], found["VmHWM"]


def _time(line: Mapping[str, str]) -> float:
    return datetime.fromisoformat(line["time"]).timestamp()


def show(told: Recovery) -> None:
    """As text."""
    out.print(f"{told.ids:,} ids, {told.leaves:,} series, {told.cells:,} open cells")
    out.print(
        f"recovered in {told.seconds:.2f} s, {told.start:.2f} s after the process began; {told.cpu:.1f} CPU s"
    )
    each = told.ids_mb * 1e6 / max(told.ids, 1)
    out.print(f"memory: {told.resident:,.0f} MB, {told.peak:,.0f} MB at most")
    out.print(f"of that ids: {told.ids_mb:,.0f} MB, {each:.1f} bytes each")


def measure(kafka: BrokerProcess, records: int, series: int) -> Recovery:
    """Fill, let a worker settle, recover another."""
    at = place(kafka, "recovery")
    try:
        with Progress(console=Console(stderr=True)) as progress:
            asyncio.run(fill(at, records, series, progress))
        drain = at.folder / "drain.log"
        finish(start([FEEDBACK, "worker", "--drain", "--only", "tally,roll"], at, {}, drain), drain)
        return recovered(at, at.folder / "log")
    finally:
        asyncio.run(topics.drop(at.settings))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--records", type=int, default=int(os.environ.get("RECORDS", "10000000")))
    parser.add_argument("--series", type=int, default=int(os.environ.get("SERIES", "50000")))
    given = parser.parse_args()
    with broker() as kafka:
        show(measure(kafka, given.records, given.series))
    return 0


if __name__ == "__main__":
    sys.exit(main())
