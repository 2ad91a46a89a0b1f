"""What many series cost: `python -m bench.series`, a worker on Apache Kafka under answers to 50,000 leaves.

A leaf is a (metric, instrument, touchpoint, channel, segment); each has seven marginals beside it, and all of them
every window. Touchpoints are asked as often as 1 / rank, so the rare ones are seldom heard of. Told are the ticks of
the roll, the worker's memory, and what a scrape costs. CPU times say the same beside others on the machine; a tick
holds the event loop in pieces, and the longest of them by the clock is told, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from bench import report, topics
from bench.door import get, samples, wait
from bench.live import Load, tails
from bench.meter import Meter
from bench.place import Broker, Place, broker, place
from bench.running import finish, start
from pipeline.measures.instruments import SHIPPED
from pipeline.streams.setup import ensure

INSTRUMENTS = ("csat_1_5", "nps_0_10", "ces_1_7", "csat_1_7")
CHANNELS = {"web": 0.55, "app": 0.35, "phone": 0.10}
SEGMENTS = {None: 0.30, "consumer": 0.45, "business": 0.20, "partner": 0.05}
LEAVES = len(INSTRUMENTS) * len(CHANNELS) * len(SEGMENTS)  # of a touchpoint
out = Console(width=132, highlight=False, markup=False)


@dataclass(slots=True)
class Told:
    """What a run came to.

    Attributes:
        leaves: that there are.
        seconds: that it took, the warming up not counted.
        sent: answers in them.
        behind: seconds that the sender was late at most.
        cells: distinct cells a minute.
        cpu: of the ticks, milliseconds each.
        longest: of the ticks, milliseconds that each held the loop at once.
        garbage: of `cpu`, what went into collections of garbage.
        collections: of each (generation, CPU milliseconds).
        cores: CPU seconds a second of the worker.
        peak: its highest memory, MB.
        ids: memory of the ids, MB.
        scrapes: of each (seconds, MB, samples).
    """

    leaves: int
    seconds: float = 0.0
    sent: int = 0
    behind: float = 0.0
    cells: float = 0.0
    cpu: list[float] = field(default_factory=list)
    longest: list[float] = field(default_factory=list)
    garbage: list[float] = field(default_factory=list)
    collections: list[tuple[int, float]] = field(default_factory=list)
    cores: float = 0.0
    peak: float = 0.0
    ids: float = 0.0
    scrapes: list[tuple[float, float, int]] = field(default_factory=list)


def answers(touchpoints: int) -> tuple[list[bytes], list[float]]:
    """Every answer that can be given about so many touchpoints, and how often each is."""
    rows, shares = [], []
    for touchpoint in range(touchpoints):
        for name in INSTRUMENTS:
            scale = SHIPPED[name]
            for channel, c in CHANNELS.items():
                for segment, s in SEGMENTS.items():
                    leaf = {"instrument": name, "touchpoint": f"touchpoint_{touchpoint}", "channel": channel}
                    for score in scale.answers:
                        liking = 1 + 2 * (score - scale.low) / (scale.high - scale.low)  # most are content
                        rows.append({**leaf, "segment": segment, "score": score})
                        shares.append(c * s * liking / len(scale.answers) / (touchpoint + 1))
    return tails(rows), shares


async def watch(
    at: Place, told: Told, load: Load, warm: float, seconds: float, every: float
) -> tuple[float, float]:
    """Let the load run and scrape as Prometheus does; from when to when it was measured."""
    stop = asyncio.Event()
    sending = asyncio.create_task(load.run(stop))
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("sending", total=warm + seconds)
        begin, first = time.time(), 0.0
        while (passed := time.time() - begin) < warm + seconds and not sending.done():
            took = time.monotonic()
            _, body = await asyncio.to_thread(get, at.settings, "/metrics")
            took = time.monotonic() - took
            opened = sum(n for _, n in samples(body, "feedback_open_cells"))
            told.ids = sum(n for _, n in samples(body, "feedback_ids_memory_bytes")) / 1e6
            if passed >= warm:
                told.scrapes.append((took, len(body) / 1e6, body.count(b"\n")))
                if not first:
                    first, before, load.behind = time.time(), opened, 0.0
                    told.sent = -load.sent
                else:
                    told.cells = (opened - before) / (time.time() - first) * 60
            progress.update(task, completed=passed)
            await asyncio.sleep(max(0.1, every - took))
    told.sent, told.behind = told.sent + load.sent, load.behind
    end = time.time()
    stop.set()
    await sending
    return first, end


def measure(kafka: Broker, given: argparse.Namespace) -> Told:
    """One run."""
    at = place(kafka, "series")
    at.environment.update(
        {"FEEDBACK_HORIZON": given.horizon, "FEEDBACK_METRICS__MAX_SERIES": str(given.max_series)}
    )
    asyncio.run(ensure(at.settings))
    touchpoints = -(-given.series // LEAVES)
    load, told = Load(at.settings, *answers(touchpoints), given.rate), Told(touchpoints * LEAVES)
    ticks, log = at.folder / "ticks", at.folder / "log"
    command = [
        sys.executable,
        "-m",
        "bench.timed_worker",
        str(ticks),
        "--log-json",
        "worker",
        "--only",
        "tally,roll",
    ]
    process = start(command, at, {}, log)
    try:
        with Meter({"it": process.pid}) as meter:
            wait(lambda: get(at.settings, "/readyz")[0] == 200, log)
            first, end = asyncio.run(watch(at, told, load, given.warm, given.seconds, given.scrape))
            told.seconds, told.peak = end - first, meter.peak("it")
            told.cores = meter.cpu("it", first, end) / told.seconds
    finally:
        process.send_signal(signal.SIGTERM)
        finish(process, log)
        asyncio.run(topics.drop(at.settings))
    _ticks(ticks, told, first, end)
    return told


def _ticks(path: Path, told: Told, first: float, end: float) -> None:
    for line in path.read_text().splitlines():
        said = json.loads(line)
        if not first <= said["at"] < end:
            continue
        if "generation" in said:
            told.collections.append((said["generation"], said["cpu"]))
            continue
        told.cpu.append(said["cpu"])
        told.longest.append(said["longest"])
        told.garbage.append(said["garbage"])


def show(told: Told) -> None:
    """As text."""
    out.print(f"{told.leaves:,} leaves, {told.sent / told.seconds:,.0f} answers/s for {told.seconds:,.0f} s")
    out.print(f"distinct cells a minute: {told.cells:,.0f}; the sender was at most {told.behind:.2f} s late")
    out.print(f"{len(told.cpu)} ticks, ms of the event loop (CPU):  {_spread(told.cpu)}")
    out.print(f"of that in collections of garbage:            {_spread(told.garbage)}")
    out.print(f"longest hold of the loop in a tick, ms (clock): {_spread(told.longest)}")
    for generation in sorted({generation for generation, _ in told.collections}):
        took = [cpu for one, cpu in told.collections if one == generation]
        out.print(f"{len(took)} collections of generation {generation}, ms (CPU): {_spread(took)}")
    out.print(
        f"worker: {told.cores:.2f} cores; memory at most {told.peak:,.0f} MB, of that ids {told.ids:,.0f} MB"
    )
    seconds, size, lines = zip(*told.scrapes, strict=True)
    out.print(
        f"{len(seconds)} scrapes of {max(size):,.1f} MB, {max(lines):,} lines: at most {max(seconds):.2f} s"
    )


def _spread(values: list[float]) -> str:
    p50, p99, most = np.percentile(values, [50, 99, 100])
    return f"p50 {p50:.1f}, p99 {p99:.1f}, at most {most:.1f}"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.series", description=__doc__)
    parser.add_argument("--series", type=int, default=50_000, help="leaves")
    parser.add_argument("--rate", type=float, default=10_000, help="answers a second")
    parser.add_argument("--warm", type=float, default=60, help="seconds before it is measured")
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--scrape", type=float, default=15, help="seconds from one scrape to the next")
    parser.add_argument(
        "--horizon", default="10m", help="of the ids: 35 bytes x rate x horizon is their memory"
    )
    parser.add_argument("--max-series", type=int, default=3_000_000, help="metrics.max_series")
    given = parser.parse_args()
    on = report.machine()
    out.print(
        f"{on['processor']}, {on['cores']} cores, load before {on['load_before']:.1f}, commit {on['commit']}"
    )
    with broker() as kafka:
        show(measure(kafka, given))
    return 0


if __name__ == "__main__":
    sys.exit(main())
