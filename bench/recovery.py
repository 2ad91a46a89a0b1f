"""How long a worker needs until it knows again what it knew: `python -m bench.recovery`, on Apache Kafka.

The topics are filled with what a worker of the horizon's length would have left behind: journals with their snapshots
and sealed ids, deltas, and snapshots of the roll that hold three quarters of them. Then a worker is started: once to
publish what it owes, then to be measured. RECORDS and SERIES of the environment are the defaults of the options.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from bench import topics
from bench.contenders import FEEDBACK
from bench.left_behind import fill
from bench.meter import Meter
from bench.place import Broker as BrokerProcess
from bench.place import Place, broker, place
from bench.running import finish, start

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
        roll: seconds until the roll knew everything.
        seconds: until all did.
        cpu: within `seconds`.
        start: of the process, until its partitions were assigned.
        start_cpu: within `start`.
        resident: memory once it knew everything.
        peak: the most until then.
    """

    ids: int
    ids_mb: float
    leaves: int
    cells: int
    roll: float
    seconds: float
    cpu: float
    start: float
    start_cpu: float
    resident: float
    peak: float


def recovered(at: Place, log: Path) -> Recovery:
    """Start a worker, wait until it is ready, end it."""
    process = start([FEEDBACK, "--log-json", "worker", "--only", "tally,roll"], at, {}, log)
    with Meter({"it": process.pid}) as meter:
        try:
            _wait(lambda: _get(at, "/readyz")[0] == 200, log)
            resident, peak = _memory(process.pid)
            _wait(lambda: _sum(_metrics(at), "feedback_ids_memory_bytes") > 0, log)  # told now and then
            memory = _sum(_metrics(at), "feedback_ids_memory_bytes")
        finally:
            process.send_signal(signal.SIGTERM)
            finish(process, log)
    said = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assigned = next(_time(line) for line in said if line["message"] == "assigned")
    parts = [line for line in said if line["message"] == "recovered a partition"]
    ready = max(map(_time, parts))
    return Recovery(
        ids=sum(int(line.get("ids", 0)) for line in parts),
        ids_mb=memory / 1e6,
        leaves=max(int(line.get("leaves", 0)) for line in parts),
        cells=sum(int(line.get("cells", 0)) for line in parts),
        roll=max(_time(line) for line in parts if "cells" in line) - assigned,
        seconds=ready - assigned,
        cpu=meter.cpu("it", assigned, ready),
        start=assigned - meter.begin,
        start_cpu=meter.cpu("it", meter.begin, assigned),
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


def show(told: Sequence[Recovery]) -> None:
    """As text: the median of all times, then each."""
    middle = sorted(told, key=lambda one: one.seconds)[len(told) // 2]
    out.print(f"{middle.ids:,} ids, {middle.leaves:,} series, {middle.cells:,} open cells")
    for one in (middle, *told) if len(told) > 1 else told:
        out.print(
            f"{'median: ' if one is middle and len(told) > 1 else ''}recovered in {one.seconds:.2f} s with "
            f"{one.cpu:.1f} CPU s, the roll in {one.roll:.2f} s; {one.start:.2f} s after the process began "
            f"({one.start_cpu:.1f} CPU s)"
        )
    each = middle.ids_mb * 1e6 / max(middle.ids, 1)
    out.print(f"memory: {middle.resident:,.0f} MB, {middle.peak:,.0f} MB at most")
    out.print(f"of that ids: {middle.ids_mb:,.0f} MB, {each:.1f} bytes each")


def measure(kafka: BrokerProcess, records: int, series: int, repeats: int = 1) -> list[Recovery]:
    """Fill, let a worker settle, recover others."""
    at = place(kafka, "recovery")
    try:
        with Progress(console=Console(stderr=True)) as progress:
            asyncio.run(fill(at, records, series, progress))
        drain = at.folder / "drain.log"
        finish(start([FEEDBACK, "worker", "--drain", "--only", "tally,roll"], at, {}, drain), drain)
        return [recovered(at, at.folder / "log") for _ in range(repeats)]
    finally:
        asyncio.run(topics.drop(at.settings))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--records", type=int, default=int(os.environ.get("RECORDS", "10000000")))
    parser.add_argument("--series", type=int, default=int(os.environ.get("SERIES", "50000")))
    parser.add_argument("--repeats", type=int, default=3, help="workers to recover one after another")
    given = parser.parse_args()
    with broker() as kafka:
        show(measure(kafka, given.records, given.series, given.repeats))
    return 0


if __name__ == "__main__":
    sys.exit(main())
